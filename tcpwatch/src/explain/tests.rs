//! Every page is whole, every value it names exists, and everything that tcpwatch shows has its page.

use std::collections::BTreeSet;

use tcpwatch_common::cause::Cause;
use tcpwatch_common::failure::ConnectFailure;
use tcpwatch_common::host::Retransmit;
use tcpwatch_common::machine::{EDGES, Verdict};
use tcpwatch_common::{TcpState, judge};

use super::*;
use crate::finding::Kind;
use crate::sample::counters::NetCounters;
use crate::sample::{HostLimits, Sysctls};

mod filled;

const METRICS: &str = include_str!("../../../docs/metrics.md");

fn pages() -> &'static [Page] {
    &library::get().pages
}

/// The page that a name leads to.
fn topic(name: &str) -> &'static Page {
    find(name).unwrap_or_else(|unknown| panic!("{unknown}")).page
}

#[test]
fn files_are_read_and_no_two_pages_claim_one_name() {
    let library = library::get();
    assert!(library.faults.is_empty(), "{:#?}", library.faults);
    assert!(library.clashes.is_empty(), "{:#?}", library.clashes);
    assert!(library.pages.len() > 150 && library.count_names() > 300, "{}", library.count_names());
}

#[test]
fn every_file_of_the_folder_is_in_the_program() {
    for (folder, known) in [
        ("pages", library::FILES.iter().map(|file| file.name).collect::<BTreeSet<_>>()),
        ("templates", BTreeSet::from(["transition", "cause", "sysctl", "counter", "sockstat"])),
    ] {
        let path = format!("{}/src/explain/{folder}", env!("CARGO_MANIFEST_DIR"));
        // Where the tests run in another kernel's guest they came alone.
        let Ok(entries) = std::fs::read_dir(path) else { continue };
        let names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        let names: BTreeSet<&str> =
            names.iter().map(|name| name.strip_suffix(".md").expect("Markdown")).collect();
        assert_eq!(names, known, "{folder}");
    }
}

#[test]
fn every_page_has_all_its_parts() {
    for page in pages() {
        let name = &page.topic;
        assert!(page.opening.split_whitespace().count() >= 10, "{name}: the opening says too little");
        let mut wanted = vec![page::VERIFY, page::DO];
        if page.is_live {
            wanted.push(page::LIVE);
        }
        if !page.is_short {
            wanted.extend([page::HOW, page::DO_NOT]);
        }
        for part in wanted {
            assert!(page.part(part).is_some_and(|text| text.len() > 5), "{name} has no {part:?}");
        }
        assert!(page.part(page::VERIFY).is_some_and(|text| text.contains("    ")), "{name}: no command");
        assert!(!page.related.is_empty(), "{name} leads nowhere");
        for variable in ["%name%", "%column%", "%from%", "%to%", "%reason%", "%verdict%"] {
            assert!(!page.markdown().contains(variable), "{name}: {variable}");
        }
    }
}

#[test]
fn links_lead_to_other_pages() {
    for page in pages() {
        for related in &page.related {
            let found = find(related).unwrap_or_else(|unknown| panic!("{}: {unknown}", page.topic));
            assert_ne!(found.page.topic, page.topic, "{related} is the page itself");
        }
    }
}

#[test]
fn pages_name_only_topics_that_exist() {
    let topics: BTreeSet<&str> = pages().iter().map(|page| page.topic.as_str()).collect();
    for page in pages() {
        let text = page.markdown();
        for (at, _) in text.match_indices("see `").chain(text.match_indices("See `")) {
            let name = text[at + 5..].split('`').next().expect("a name");
            assert!(topics.contains(topic(name).topic.as_str()), "{}: {name}", page.topic);
        }
    }
}

#[test]
fn every_state_transition_and_reason_has_its_page() {
    for state in TcpState::ALL {
        assert_eq!(topic(state.name()).topic, state.name());
        assert_eq!(topic(&state.name().to_uppercase().replace('_', "-")).topic, state.name());
    }
    for edge in EDGES {
        let page = topic(&format!("{}->{}", edge.from.name(), edge.to.name()));
        assert_eq!(page.pair, Some((edge.from, edge.to)));
        let text = page.markdown();
        assert!(text.contains(edge.reason) && text.contains(edge.verdict.name()), "{text}");
    }
    let illegal = topic("illegal_transition");
    for (from, to) in TcpState::ALL.into_iter().flat_map(|from| TcpState::ALL.map(|to| (from, to))) {
        let found = find(&format!("{} to {}", from.name(), to.name())).expect("every pair is explained");
        let judgement = judge(from, to);
        assert_eq!(judgement.verdict == Verdict::Illegal, found.page == illegal);
        if found.page == illegal {
            assert!(illegal.markdown().contains(judgement.reason), "{}", judgement.reason);
            let text = render(found, &Facts::default()).markdown;
            assert!(text.contains(&format!("is illegal: {}", judgement.reason)), "{text}");
        }
    }
    for verdict in Verdict::ALL {
        topic(verdict.name());
    }
}

#[test]
fn every_finding_and_cause_has_its_page() {
    for kind in Kind::ALL {
        let page = topic(kind.name());
        assert_eq!(page.topic, kind.name());
        assert!(page.markdown().contains(&format!("{{findings {}}}", kind.name())), "{}", kind.name());
    }
    for cause in Cause::ALL {
        assert_eq!(topic(&format!("cause_{}", cause.name())).topic, format!("cause_{}", cause.name()));
    }
    let failures = topic("connect_failures").markdown();
    for failure in ConnectFailure::ALL {
        assert!(failures.contains(&format!("`{}`", failure.name())), "{}", failure.name());
    }
    let retransmits = topic("tcpwatch_retransmits_total").markdown();
    for kind in Retransmit::ALL {
        assert!(retransmits.contains(&format!("`{}`", kind.name())), "{}", kind.name());
    }
}

#[test]
fn every_counter_and_sysctl_has_its_page_which_shows_it() {
    let counters = NetCounters::default();
    let sock = counters.sock.columns().map(|(name, _)| (name, format!("sockstat_{name}")));
    let others =
        counters.snmp.columns().chain(counters.ext.columns()).map(|(name, _)| (name, name.to_owned()));
    for (name, typed) in others.chain(sock) {
        let page = topic(&typed);
        assert!(page.markdown().contains(&format!("{{counter {name}}}")), "{name}: {}", page.topic);
    }
    for (name, _) in NetCounters::default().snmp.columns() {
        assert_eq!(topic(&format!("Tcp{name}")).topic, name);
    }
    for (name, _) in NetCounters::default().ext.columns() {
        assert_eq!(topic(&format!("TcpExt{name}")).topic, name);
    }
    let HostLimits { memory_limits: _, memory: _, orphans: _, max_orphans: _ } = HostLimits::default();
    let limits = ["net.ipv4.tcp_mem", "net.ipv4.tcp_max_orphans"].map(str::to_owned);
    let sampled = live::named_settings(&Sysctls::default()).into_iter().map(|(name, _)| name.to_owned());
    for name in settings().map(str::to_owned).chain(limits).chain(sampled) {
        for typed in [name.as_str(), name.rsplit('.').next().expect("a name"), &name.replace('.', "/")] {
            let page = topic(typed);
            assert!(page.markdown().contains(&format!("{{sysctl {name}}}")), "{typed}: {}", page.topic);
        }
    }
}

#[test]
fn every_metric_has_its_page_which_names_it() {
    let names: BTreeSet<&str> = METRICS
        .split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_')
        .filter(|word| word.starts_with("tcpwatch_") && !word.ends_with('_'))
        .collect();
    assert!(names.len() > 25, "{names:?}");
    for name in names {
        assert!(topic(name).also.iter().any(|also| also == name), "{name}");
    }
    assert_eq!(topic("tcpwatch_handshake_seconds_bucket"), topic("tcpwatch_handshake_seconds"));
}

#[test]
fn near_misses_are_suggested() {
    for (asked, expected) in [
        ("clsoe_wait", "close_wait"),
        ("ListenOverflow", "ListenOverflows"),
        ("tcp_tw_resue", "net.ipv4.tcp_tw_reuse"),
        ("synflod", "syn_flood"),
        ("keepalives", "keepalive"),
        ("time_wiat_storm", "time_wait_storm"),
    ] {
        let unknown = find(asked).expect_err(asked);
        assert_eq!(unknown.suggestions.first(), Some(&expected), "{unknown}");
        assert!(unknown.to_string().contains("did you mean"), "{unknown}");
    }
    assert_eq!(topic("accept_queue_overflow:4026531840:0.0.0.0:8080").topic, "accept_queue_overflow");
    let unknown = find("xyzzyplugh").expect_err("nothing like it");
    assert_eq!(unknown.to_string(), "there is no page about \"xyzzyplugh\"");
    assert!(find("").is_err() && find("  ").is_err() && find("->").is_err());
}
