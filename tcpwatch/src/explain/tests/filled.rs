//! Values in pages: all there with a daemon's data, all with a reason without.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tcpwatch_common::TcpState;
use tcpwatch_common::host::HostCounters;

use super::super::*;
use super::pages;
use crate::explain::fill::Piece;
use crate::finding::{Candidate, Finding, Kind, Severity, Subject};
use crate::process::Process;
use crate::sample::counters::NetCounters;
use crate::sample::*;

fn end() -> SocketAddr {
    "192.0.2.7:443".parse().expect("an address")
}

/// A group in every state and with every trouble.
fn survey() -> Survey {
    let group = |state, trouble| Group {
        state,
        pid: Some(7),
        cgroup: None,
        role: None,
        port: 8080,
        never_accepted: true,
        orphan: false,
        trouble,
        count: 12,
        aged: 3,
        unknown_age: 1,
        oldest: Duration::from_secs(90),
        unread_bytes: 2048,
        unread: 2,
        unsent_bytes: 0,
        memory: None,
        example: Example { local: end(), remote: end() },
    };
    let mut groups: Vec<Group> = TcpState::ALL.map(|state| group(state, Trouble::None)).into();
    groups.extend(
        [Trouble::Unacknowledged, Trouble::NoKeepalive, Trouble::PeerWindowZero, Trouble::OwnWindowZero]
            .map(|trouble| group(TcpState::Established, trouble)),
    );
    let tuples = vec![Tuple { local: end().ip(), remote: end(), used: 900, time_wait: 800 }];
    Survey { groups, tuples, ..Survey::default() }
}

fn host() -> HostCounters {
    let mut host = HostCounters::from_words(&[]);
    for histogram in host.time_in_state.iter_mut().chain(&mut host.handshake).chain(&mut host.lifetime) {
        histogram.buckets[10] = 99;
        histogram.buckets[20] = 1;
    }
    host.endings[TcpState::Established.index()][1] = 5;
    host.retransmits = [4; 4];
    host
}

fn sample() -> Sample {
    let mut counters = NetCounters::default();
    counters.sock.tw = 100;
    let own = NamespaceSample {
        inode: 1,
        is_own: true,
        is_alive: true,
        counters: Some(counters),
        survey: Some(Arc::new(survey())),
        ..NamespaceSample::default()
    };
    let process = Process { pid: 7, command: Some("leaky".into()), ..Process::default() };
    let listener = ListenerSample {
        id: 1,
        netns: 1,
        local: end(),
        v6_only: false,
        pid: Some(7),
        uid: None,
        accept_queue: 9,
        accept_limit: 8,
        syn_queue: Some(1),
        young: None,
        stuck: None,
        drops: 41,
        synack_retransmits: 0,
    };
    let remote = RemoteSample {
        netns: 1,
        address: end().ip(),
        port: 443,
        is_client: false,
        pid: None,
        counts: RemoteCounts::default(),
    };
    let limits = HostLimits {
        memory_limits: Some([1, 2, 3]),
        memory: Some(1),
        orphans: Some(5),
        max_orphans: Some(50),
    };
    Sample {
        namespaces: vec![own],
        host: Some(Box::new(host())),
        reset_reasons: vec![("NO_SOCKET".into(), 3)],
        listeners: vec![listener],
        remotes: vec![remote],
        processes: BTreeMap::from([(7, Arc::new(process))]),
        limits,
        ..Sample::empty(SystemTime::UNIX_EPOCH, Duration::from_secs(1), SourceKind::Ebpf)
    }
}

/// Everything that a daemon can know.
fn all_facts() -> Facts {
    let numbers = |name: &str| match name {
        "net.ipv4.ip_local_port_range" => "32768 60999",
        "net.ipv4.tcp_rto_max_ms" => "120000",
        "net.ipv4.tcp_syn_retries" => "6",
        "net.ipv4.tcp_syn_linear_timeouts" => "4",
        "net.ipv4.tcp_synack_retries" => "5",
        "net.ipv4.tcp_retries2" => "15",
        "net.ipv4.tcp_orphan_retries" => "0",
        "net.ipv4.tcp_keepalive_time" => "7200",
        "net.ipv4.tcp_keepalive_intvl" => "75",
        "net.ipv4.tcp_keepalive_probes" => "9",
        _ => "1000",
    };
    let moved = Moved { from: TcpState::Established, to: TcpState::CloseWait, count: 40, rate: Some(1.5) };
    Facts {
        sample: Some(Arc::new(sample())),
        netns: None,
        counts: [Some(17); TcpState::COUNT],
        half_open: Some(2),
        fin_wait2_minis: Some(3),
        transitions: Some(vec![moved]),
        findings: Some(Kind::ALL.map(finding).into()),
        settings: settings().map(|name| (name.to_owned(), Setting::Value(numbers(name).into()))).collect(),
    }
}

fn finding(kind: Kind) -> Finding {
    Finding {
        id: format!("{}:x", kind.name()),
        since: SystemTime::UNIX_EPOCH,
        closed: None,
        seen: Candidate {
            kind,
            key: "x".into(),
            earlier: Vec::new(),
            severity: Severity::Warning,
            verdict: None,
            subject: Subject::default(),
            confidence: 1.0,
            evidence: Vec::new(),
            summary: format!("summary of {}", kind.name()),
            meaning: String::new(),
            advice: Vec::new(),
            verify: Vec::new(),
        },
    }
}

fn filled(topic: &str, facts: &Facts) -> String {
    render(find(topic).expect(topic), facts).markdown
}

/// Counters that the sample's default leaves out, as some kernels do.
fn may_be_unknown(value: &Filled) -> bool {
    value.placeholder.starts_with("counter ") && value.text == "unknown here (this kernel does not count it)"
}

#[test]
fn with_a_daemons_data_every_value_is_there() {
    let facts = all_facts();
    for page in pages() {
        let explanation = render(Found { page, pair: page.pair }, &facts);
        for value in &explanation.values {
            assert!(value.is_known || may_be_unknown(value), "{}: {value:?}", page.topic);
            assert!(!value.text.trim().is_empty(), "{}: {value:?}", page.topic);
        }
        assert_eq!(page.is_live, !explanation.values.is_empty(), "{}", page.topic);
    }
}

#[test]
fn without_any_data_every_value_has_a_reason_and_none_is_zero() {
    let facts = Facts::default();
    for page in pages() {
        for value in render(Found { page, pair: page.pair }, &facts).values {
            assert!(!value.is_known, "{}: {value:?} was not known", page.topic);
            assert!(
                value.text.starts_with("unknown here (") && value.text.len() > 20,
                "{}: {value:?}",
                page.topic
            );
            assert!(
                !value.text.contains("no value"),
                "{}: {} is no placeholder",
                page.topic,
                value.placeholder
            );
        }
    }
}

#[test]
fn lists_stand_alone() {
    let facts = all_facts();
    for page in pages() {
        let text = page.markdown();
        let names = fill::pieces(&text).into_iter().filter_map(|piece| match piece {
            Piece::Placeholder(name) => Some(name),
            Piece::Text(_) => None,
        });
        for name in names {
            let is_list = fill::fill(&format!("{{{name}}}"), &facts).1[0].text.starts_with("- ");
            let stands_alone = text.contains(&format!("\n\n{{{name}}}\n"));
            assert!(!is_list || stands_alone, "{}: {name} is a list", page.topic);
        }
        let (rendered, _) = fill::fill(&text, &facts);
        assert!(!rendered.contains("{count") && !rendered.contains("{{"), "{rendered}");
    }
}

#[test]
fn values_are_those_of_the_host() {
    let facts = all_facts();
    let text = filled("CLOSE_WAIT", &facts);
    assert!(text.contains("17 sockets; 1.5/s come, 0/s go"), "{text}");
    assert!(
        text.contains("- leaky[7]: 12 on port 8080, the oldest for 90 s, 1 of unknown age, never accepted"),
        "{text}"
    );
    assert!(text.contains("- close_wait_buildup (warning): summary of close_wait_buildup"), "{text}");
    let text = filled("lost_handshake_segment", &facts);
    assert!(
        text.contains(
            "A SYN from here is sent again after 1, 2, 3, 4, 5, 7, 11, 19, 35, 67 s, given up after 131 s"
        ),
        "{text}"
    );
    assert!(text.contains("sent again after 1, 3, 7, 15, 31 s, given up after 63 s"), "{text}");
    assert!(filled("tcp_retries2", &facts).contains("Here: at least 924.6 s (15 min)"));
    assert!(filled("keepalive", &facts).contains("noticed after 7875 s (2.2 h)"));
    assert!(filled("tcp_orphan_retries", &facts).contains("Here: at least 102.2 s"));
    assert!(filled("port_exhaustion", &facts).contains("28232 ports (32768 to 60999)"));
    assert!(filled("time_wait", &facts).contains("100 of 1000 (10 %)"));
    assert!(
        filled("accept_queue_overflow", &facts).contains("192.0.2.7:443 of leaky[7]: accept queue 9 of 8")
    );
}

#[test]
fn an_older_kernel_has_the_arithmetic_of_its_time() {
    let mut facts = all_facts();
    for name in ["net.ipv4.tcp_syn_linear_timeouts", "net.ipv4.tcp_rto_max_ms"] {
        facts.settings.insert(name.into(), Setting::Absent);
    }
    let text = filled("tcp_syn_retries", &facts);
    assert!(text.contains("sent again after 1, 3, 7, 15, 31, 63 s, given up after 127 s"), "{text}");
    let text = filled("tcp_rto_max_ms", &facts);
    assert!(text.contains("unknown here (this kernel or this network namespace does not have it)"), "{text}");
}

#[test]
fn the_settings_of_another_namespace_are_not_ours() {
    let mut facts = all_facts();
    facts.netns = Some(9);
    assert!(
        filled("tcp_retries2", &facts).contains("unknown here (net.ipv4.tcp_retries2: not read in other")
    );
    let mut sample = facts.sample.as_deref().cloned().expect("a sample");
    sample.namespaces.push(NamespaceSample {
        inode: 9,
        is_alive: true,
        sysctls: Some(Arc::new(Sysctls { somaxconn: Some(64), ..Sysctls::default() })),
        ..NamespaceSample::default()
    });
    facts.sample = Some(Arc::new(sample));
    let text = filled("somaxconn", &facts);
    assert!(text.contains("`net.core.somaxconn` is 64."), "{text}");
}
