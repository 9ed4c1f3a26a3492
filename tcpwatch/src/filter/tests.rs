//! What filters let through, how they are refused, and that no text breaks them.

mod figures;
mod parameters;

use std::time::Duration;

use proptest::prelude::*;
use tcpwatch_common::TcpState;
use tcpwatch_common::host::Role;

use super::*;
use crate::sample::Vitals;

fn filter(text: &str) -> Filter {
    Filter::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn facts() -> SocketFacts<'static> {
    SocketFacts {
        state: TcpState::CloseWait,
        local: "10.0.0.1:8080".parse().expect("an address"),
        remote: Some("192.0.2.7:40000".parse().expect("an address")),
        netns: 4_026_531_840,
        age: Some(Duration::from_secs(90)),
        role: Some(Role::Passive),
        pid: Some(42),
        process: Some("nginx-worker"),
        container: Some("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
        container_name: Some("web"),
        pod: Some("web-7d9f-abcde"),
        pod_uid: Some("0d6f2a3e-6f0b-4c5e-9c6d-0b6f2c1d7a11"),
        namespace: Some("shop"),
        workload: Some("web"),
        uid: Some(33),
        user: Some("www-data"),
        is_kernels: false,
        retransmits: Some(4),
        rtt: Some(Duration::from_millis(30)),
        vitals: Vitals {
            rwnd_limited: Some(Duration::from_secs(11)),
            backoff: Some(6),
            probes: Some(3),
            soft_error: Some(113),
            bytes_acked: Some(1_000_000),
            ..Vitals::default()
        },
    }
}

fn unknown() -> SocketFacts<'static> {
    SocketFacts {
        remote: None,
        age: None,
        role: None,
        pid: None,
        process: None,
        container: None,
        container_name: None,
        pod: None,
        pod_uid: None,
        namespace: None,
        workload: None,
        uid: None,
        user: None,
        retransmits: None,
        rtt: None,
        vitals: Vitals::default(),
        ..facts()
    }
}

#[test]
fn sockets_pass_or_do_not() {
    for text in [
        "state=close_wait",
        "state close-wait,fin-wait-1",
        "STATE = CLOSE-WAIT",
        "port 8080",
        "port=40000",
        "sport=8080 dport=40000",
        "port=:8080",
        "port 1,2, 8000-8100",
        "port>39999",
        "sport<8081 sport>=8080 sport<=8080",
        "port!=80",
        "peer 192.0.2.0/24",
        "peer=192.0.2.7",
        "peer=::ffff:192.0.2.7",
        "peer ::ffff:192.0.2.0/120",
        "peer 0.0.0.0/0",
        "local 10.0.0.1,10.0.0.2",
        "not peer ::/0",
        "process=nginx-worker",
        "process nginx*",
        "process=*work?r",
        "process=\"nginx-worker\"",
        "pid=42",
        "pid 1-41,42",
        "container=0123456789ab",
        "container web",
        "container=w*",
        "pod=web-7d9f-abcde",
        "pod web-*",
        "pod=shop/web-*",
        "pod=*/web-7d9f-abcde",
        "pod=0d6f2a3e-6f0b-4c5e-9c6d-0b6f2c1d7a11",
        "namespace=kube-system,shop",
        "not namespace=kube-*",
        "workload=web",
        "netns=4026531840",
        "older-than 30s",
        "older_than=1m29s999ms",
        "role=passive",
        "user=www-data",
        "user 33,0",
        "state=listen or port=8080",
        "state=listen and port=1 or pid=42",
        "pid=42 or state=listen and port=1",
        "not (state=listen or port=1)",
        "! state=listen && pid=42 || pid=1",
        "(((pid=42)))",
        "not not pid=42",
    ] {
        assert!(filter(text).matches(&facts()), "{text}");
        let not = format!("not ({text})");
        assert!(!filter(&not).matches(&facts()), "{not}");
    }
}

#[test]
fn unknown_facts_pass_no_test() {
    for text in [
        "dport<65535",
        "peer 0.0.0.0/0,::/0",
        "process=*",
        "pid>=0",
        "container=0",
        "pod=*",
        "pod=*/*",
        "namespace=*",
        "workload=*",
        "older-than=0ms",
        "role=active,passive",
        "user=0",
        "user=root",
    ] {
        assert!(!filter(text).matches(&unknown()), "{text}");
        assert!(filter(&format!("not {text}")).matches(&unknown()), "not {text}");
    }
    assert!(Filter::everything().matches(&unknown()));
}

#[test]
fn half_open_requests_are_syn_recv() {
    let request = SocketFacts { state: TcpState::NewSynRecv, ..unknown() };
    let whole = SocketFacts { state: TcpState::SynRecv, ..unknown() };
    let (all, some) = (filter("state=syn-recv"), filter("state=new_syn_recv"));
    assert!(all.matches(&request) && all.matches(&whole));
    assert!(some.matches(&request) && !some.matches(&whole));
}

#[test]
fn prefixes_keep_families_apart() {
    let from = |peer: &str| SocketFacts { remote: Some(peer.parse().expect("an address")), ..facts() };
    assert!(filter("peer ::/0").matches(&from("[2001:db8::1]:1")));
    assert!(filter("peer 2001:db8::/33").matches(&from("[2001:db8:7fff::1]:1")));
    assert!(!filter("peer 2001:db8::/33").matches(&from("[2001:db8:8000::1]:1")));
    assert!(filter("peer 10.0.0.0/8").matches(&from("[::ffff:10.1.2.3]:1")));
    assert!(!filter("peer 10.0.0.0/8").matches(&from("11.0.0.1:1")));
    assert!(!filter("peer 0.0.0.0/0").matches(&from("[::a00:1]:1")));
}

#[test]
fn errors_point_at_the_place() {
    for (text, column, caret, told) in [
        ("", 1, "  ^\n", "a test is missing"),
        ("state=", 7, "        ^\n", "state has no value"),
        ("stat=close", 1, "  ^^^^\n", "did you mean state?"),
        ("dst 10.0.0.1", 1, "  ^^^\n", "did you mean peer?"),
        ("bananas 7", 1, "  ^^^^^^^\n", "the words are state, port,"),
        ("port 80 state=close_wit", 15, "^^^^^^^^^\n", "did you mean close_wait?"),
        ("state=opened", 7, "^^^^^^\n", "they are established, syn_sent"),
        ("port=70000", 6, "^^^^^\n", "70000 is above 65535"),
        ("port=http", 6, "^^^^\n", "is no number"),
        ("port=90-80", 6, "^^^^^\n", "write 80-90"),
        ("port>80,90", 8, "^\n", "takes one number"),
        ("user>5", 5, "^\n", "user is no number to compare with"),
        ("peer=host.example", 6, "^^^^^^^^^^^^\n", "names are not resolved"),
        ("peer=10.0.0.1:443", 6, "^^^^^^^^^^^^\n", "ask for it by dport"),
        ("peer=10.0.0.0/33", 6, "^\n", "from 0 to 32"),
        ("older-than 30", 12, "^^\n", "is it 30s, 30m or 30h?"),
        ("older-than 5 minutes", 12, "^\n", "5 has no unit"),
        ("older-than=1s,2s", 15, "^^\n", "one time is enough"),
        ("role=client", 6, "^^^^^^\n", "active (opened here)"),
        ("process and port 80", 9, "^^^\n", "put it in quotes"),
        ("(port 80", 1, "  ^\n", "never closed"),
        ("port 80)", 8, "^\n", "closes nothing"),
        ("port 80 or", 11, "^\n", "a test is missing"),
        ("process=\"nginx", 9, "^\n", "quote is never closed"),
        ("process=a&b", 10, "^\n", "has no meaning here"),
        ("process=\"\"", 9, "^^\n", "matches nothing"),
        ("größe=1", 1, "  ^^^^^\n", "there is no word \"größe\""),
        ("process=größe port=x", 20, "                     ^\n", "is no number"),
    ] {
        let error = Filter::parse(text).expect_err(text);
        let shown = error.to_string();
        assert_eq!(error.column(), column, "{shown}");
        assert!(shown.contains(caret) && shown.contains(told), "{shown}");
        assert!(shown.contains(&format!("\n  {text}\n")), "{shown}");
    }
}

#[test]
fn a_whole_error_reads_well() {
    let error = Filter::parse("state=close_wait port=http").expect_err("no port");
    assert_eq!(
        error.to_string(),
        "bad filter, column 23: \"http\" is no number\n  \
         state=close_wait port=http\n                        ^^^^\n\
         expected a port from 0 to 65535, several (80,443), or a range (8000-8099)"
    );
}

#[test]
fn the_manual_tells_of_every_word_and_of_errors_as_they_are() {
    let manual = include_str!("../../../docs/sockets.md");
    for word in Word::ALL {
        assert!(manual.contains(&format!("`{word}`")), "docs/sockets.md says nothing of {word}");
    }
    let error = Filter::parse("state=close_wit").expect_err("no state").to_string();
    assert!(manual.contains(&error), "docs/sockets.md does not show:\n{error}");
}

#[test]
fn it_is_known_what_has_to_be_looked_for() {
    assert!(filter("port 80 (not process=x or pid=1)").needs_owner());
    for text in ["container=abc", "pod=web-1", "namespace=shop", "workload=web"] {
        assert!(filter(text).needs_owner(), "{text}");
    }
    assert!(!filter("port 80 user=root older-than 5m").needs_owner());
    let seven = |text| (filter(text).admits_netns(7), filter(text).admits_netns(8));
    assert_eq!(seven("netns=7 port=1"), (true, false));
    assert_eq!(seven("netns=7 or port=1"), (true, true));
    assert_eq!(seven("not netns=7"), (true, true));
}

#[test]
fn deep_and_long_texts_are_refused() {
    for text in ["(".repeat(4000), "not ".repeat(1000), "!".repeat(4000)] {
        let error = Filter::parse(&text).expect_err("too deep").to_string();
        assert!(error.contains("parentheses deep"), "{error}");
    }
    assert!(Filter::parse(&"a".repeat(5000)).expect_err("too long").to_string().contains("5000 bytes"));
    let many = vec!["port=1"; 500].join(" ");
    assert!(!filter(&many).matches(&facts()));
}

/// Pieces that filters are made of, and some that they are not.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "state",
        "port",
        "sport",
        "dport",
        "peer",
        "local",
        "process",
        "pid",
        "container",
        "pod",
        "namespace",
        "workload",
        "netns",
        "older-than",
        "role",
        "user",
        "and",
        "or",
        "not",
        "(",
        ")",
        "=",
        "!=",
        ">",
        ">=",
        "<",
        "<=",
        ",",
        "!",
        "&&",
        "||",
        "\"",
        "'",
        "\\",
        "close_wait",
        "fin-wait-1",
        "80",
        "8000-8100",
        ":443",
        "10.0.0.0/8",
        "::1",
        "::ffff:1.2.3.4/97",
        "nginx*",
        "\"a b\"",
        "'and'",
        "\"\\\"\"",
        "30s",
        "1h30m",
        "99999999999999999999",
        "active",
        "root",
        "ä",
        " ",
    ];
    proptest::sample::select(pieces.map(str::to_owned).to_vec())
}

proptest! {
    #[test]
    fn no_text_breaks_it(text in any::<String>()) {
        let read = Filter::parse(&text);
        prop_assert!(read.map_or_else(|error| !error.to_string().is_empty(), |_| true));
    }

    #[test]
    fn what_is_printed_reads_back(pieces in proptest::collection::vec(piece(), 0..14), gap in 0usize..2) {
        let text = pieces.join(&" ".repeat(gap));
        if let Ok(filter) = Filter::parse(&text) {
            let printed = filter.to_string();
            let again = Filter::parse(&printed);
            prop_assert_eq!(again.as_ref(), Ok(&filter), "{} as {}", text, printed);
            prop_assert_eq!(filter.matches(&facts()), again.expect("equal").matches(&facts()));
        }
    }

    #[test]
    fn filters_read_back(filter in tree()) {
        let printed = filter.to_string();
        prop_assert_eq!(Filter::parse(&printed), Ok(filter), "{}", printed);
    }

    #[test]
    fn stars_fit_what_was_taken_out(text in "[ab]{0,8}", from in 0usize..8, to in 0usize..8) {
        let (from, to) = (from.min(text.len()), to.min(text.len()));
        let pattern = format!("{}*{}", &text[..from.min(to)], &text[from.max(to)..]);
        prop_assert!(value::is_like(&pattern, &text), "{}", pattern);
    }
}

/// Filters that parse, put together at random.
fn tree() -> impl Strategy<Value = Filter> {
    let name = "[a-z*? ()\"'\\\\,=]{1,8}";
    let leaf = prop_oneof![
        any::<(u16, u16)>().prop_map(|(a, b)| format!("port={}-{}", a.min(b), a.max(b))),
        any::<u32>().prop_map(|pid| format!("pid<={pid}")),
        any::<u64>().prop_map(|ms| format!("older-than={ms}ms")),
        any::<(std::net::IpAddr, u8)>().prop_map(|(ip, bits)| format!("peer={ip}/{}", bits % 33)),
        name.prop_map(|name| format!("process={}", value::Text(&name))),
        name.prop_map(|name| format!("user!={}", value::Text(&name))),
        proptest::sample::select(TcpState::ALL.to_vec()).prop_map(|state| format!("state={}", state.name())),
    ]
    .prop_map(|text| filter(&text).0);
    leaf.prop_recursive(4, 32, 4, |inner| {
        let several = proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several.clone().prop_map(Expression::All),
            several.prop_map(Expression::Any),
            inner.prop_map(|inner| Expression::Not(Box::new(inner))),
        ]
    })
    .prop_map(Filter)
}

#[test]
fn fingers_that_know_ss_are_understood() {
    for (written, meant) in [
        ("established", "state=established"),
        ("close-wait last-ack port 80", "state=close_wait,last_ack port=80"),
        ("state established sport = :22", "state=established sport=22"),
        (
            "not time-wait and ( sport = :22 or dport >= :1024 )",
            "not state=time_wait and (sport=22 or dport>=1024)",
        ),
        ("CLOSE_WAIT", "state=close_wait"),
    ] {
        assert_eq!(Filter::parse(written), Filter::parse(meant), "{written}");
    }
    let filter = Filter::parse("port 80 and not (uid_is_no_word or established)");
    assert!(filter.is_err());
    let filter = Filter::parse("port 80 and not (user root or established)").expect("a filter");
    let asked: Vec<Word> = Word::ALL.into_iter().filter(|word| filter.asks_for(*word)).collect();
    assert_eq!(asked, [Word::State, Word::Port, Word::User]);
}
