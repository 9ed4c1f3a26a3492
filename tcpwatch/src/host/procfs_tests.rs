//! Tests of the counter parsers, on text as kernels write it and on broken text.

use super::*;

const SNMP_TEXT: &str = "\
Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors
Tcp: 1 200 120000 -1 24 2 3 10 4 8112 5006 7 0 17 0
";

fn problem(error: ProcError) -> (usize, String) {
    match error {
        ProcError::Format { line, problem, .. } => (line, problem),
        ProcError::Read { .. } => panic!("not a format error: {error}"),
    }
}

#[test]
fn snmp_by_name() {
    let snmp = Snmp::parse(SNMP_TEXT).unwrap();
    assert_eq!((snmp.active_opens, snmp.passive_opens), (24, 2));
    assert_eq!((snmp.attempt_fails, snmp.estab_resets), (3, 10));
    assert_eq!((snmp.curr_estab, snmp.retrans_segs), (4, 7));
    assert_eq!(snmp.out_rsts, 17);
    // The same columns in another order, with one nobody knows.
    let shuffled = "Tcp: OutRsts New CurrEstab EstabResets AttemptFails PassiveOpens ActiveOpens \
                    RetransSegs OutSegs InSegs\nTcp: 17 -5 4 10 3 2 24 7 5006 8112\n";
    assert_eq!(Snmp::parse(shuffled).unwrap(), snmp);
}

#[test]
fn snmp_broken() {
    let cut = SNMP_TEXT.trim_end().trim_end_matches(" 0");
    assert_eq!(problem(Snmp::parse(cut).unwrap_err()), (4, "no value for column InCsumErrors".into()));
    let more = format!("{} 9", SNMP_TEXT.trim_end());
    assert_eq!(problem(Snmp::parse(&more).unwrap_err()).0, 4);
    let headers_only = SNMP_TEXT.lines().take(3).collect::<Vec<_>>().join("\n");
    assert_eq!(
        problem(Snmp::parse(&headers_only).unwrap_err()),
        (3, "group Tcp has no line of values".into())
    );
    let other = SNMP_TEXT.replace("Tcp: 1", "Udp: 1");
    assert_eq!(problem(Snmp::parse(&other).unwrap_err()).0, 4);
    let word = SNMP_TEXT.replace(" 5006", " x");
    assert!(problem(Snmp::parse(&word).unwrap_err()).1.contains("OutSegs"));
    assert_eq!(problem(Snmp::parse("").unwrap_err()).0, 0);
    assert_eq!(problem(Snmp::parse("garbage").unwrap_err()).0, 1);
    let lacking = SNMP_TEXT.replace("OutRsts", "OutRats");
    let error = Snmp::parse(&lacking).unwrap_err().to_string();
    assert!(error.contains("/proc/net/snmp, line 4"), "{error}");
    assert!(error.contains("OutRsts is missing"), "{error}");
}

#[test]
fn every_cut_of_snmp_is_an_error_or_a_value() {
    for end in 0..SNMP_TEXT.len() {
        let _ = Snmp::parse(&SNMP_TEXT[..end]);
        let _ = TcpExt::parse(&SNMP_TEXT[..end]);
        let _ = SockStat::parse(&SNMP_TEXT[..end]);
    }
}

#[test]
fn netstat_knows_which_columns_the_kernel_lacks() {
    let text = "TcpExt: SyncookiesSent TW TWKilled ListenDrops TCPAbortOnData\n\
                TcpExt: 1 2 3 18446744073709551615 5\n\
                IpExt: InNoRoutes\nIpExt: 0\n";
    let ext = TcpExt::parse(text).unwrap();
    assert_eq!((ext.syncookies_sent, ext.tw), (Some(1), Some(2)));
    assert_eq!(ext.listen_drops, Some(u64::MAX));
    assert_eq!((ext.beyond_window, ext.tw_overflow), (None, None));
    assert_eq!(ext.columns().filter(|(_, v)| v.is_some()).count(), 5);
    assert!(ext.columns().any(|c| c == ("TCPAbortOnData", Some(5))));
    assert!(TcpExt::parse("TcpExt: TW\nTcpExt: -1\n").is_err());
}

#[test]
fn sockstat_lines() {
    let text = "sockets: used 13\nTCP: inuse 5 orphan 1 tw 2 alloc 7 mem 310\nUDP: inuse 0 mem 0\n";
    let sock = SockStat::parse(text).unwrap();
    assert_eq!((sock.inuse, sock.orphan, sock.tw), (5, 1, 2));
    assert_eq!((sock.alloc, sock.mem), (7, 310));
    assert_eq!(
        problem(SockStat::parse("TCP: inuse 5 orphan").unwrap_err()),
        (1, "orphan is \"\", not a count".into())
    );
    assert_eq!(
        problem(SockStat::parse("sockets: used 1\nTCP: inuse 5 orphan 0\n").unwrap_err()),
        (2, "column tw is missing".into())
    );
    assert_eq!(SockStat::parse_inuse6("TCP6: inuse 4\n").unwrap(), 4);
    assert!(SockStat::parse_inuse6("UDP6: inuse 4\n").is_err());
}

#[test]
fn this_host() {
    let mut buffer = String::new();
    let now = NetCounters::read(Path::new("/proc/thread-self/net"), &mut buffer).unwrap();
    assert!(now.ext.listen_drops.is_some() && now.ext.tw.is_some());
    let error = NetCounters::read(Path::new("/nowhere"), &mut buffer).unwrap_err().to_string();
    assert!(error.contains("/nowhere/snmp"), "{error}");
}
