//! Silent peers, lossy paths, and the losses of every day.

use super::*;
use crate::detect::scenes::{client, destination, remotes};
use crate::detect::testing::{assert_told, evidence};
use crate::sample::NetCounters;

fn sent(segments: u64) -> NetCounters {
    let mut counters = NetCounters::default();
    counters.snmp.out_segs = segments;
    counters
}

fn again(timeout: u64, fast: u64, probe: u64) -> RemoteCounts {
    RemoteCounts { timeout, fast, probe, ..RemoteCounts::default() }
}

#[test]
fn causes_are_told_by_how_it_was_sent_again() {
    for (counts, verdict, severity) in [
        (again(90, 5, 8), "peer_silent", Severity::Critical),
        (again(5, 90, 8), "loss", Severity::Warning),
        (again(5, 8, 90), "probes", Severity::Warning),
        (RemoteCounts { other: 90, ..again(5, 0, 0) }, "unknown", Severity::Warning),
    ] {
        let found = detect(&remotes(&sent(1_000), vec![destination(counts)]), &Limits::default());
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert_told(one);
        assert_eq!((one.verdict, one.severity), (Some(verdict), severity));
        assert_eq!(evidence(one, "retransmits"), &Evidence::Count(counts.data()));
    }
}

#[test]
fn clients_of_one_service_are_added_up() {
    let clients = (1..=20).map(|last| client(last, again(1, 9, 0))).collect();
    let found = detect(&remotes(&sent(10_000), clients), &Limits::default());
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.key.as_str(), one.subject.remote), ("7:clients-of-8080", None));
    assert_eq!(evidence(one, "remotes"), &Evidence::Count(20));
    assert!(one.subject.listener.is_some());
    assert!(one.advice.iter().any(|text| text.contains("20 remotes have it at once")));
}

#[test]
fn everyday_losses_are_not_flagged() {
    for (segments, counts) in [
        (1_000, again(9, 30, 5)),
        // One in a thousand.
        (1_000_000, again(10, 900, 90)),
        // SYNs are another matter.
        (100, RemoteCounts { syn: 900, synack: 900, ..RemoteCounts::default() }),
    ] {
        let found = detect(&remotes(&sent(segments), vec![destination(counts)]), &Limits::default());
        assert_eq!(found, [], "{counts:?}");
    }
}

#[test]
fn segments_sent_beside_them_hide_nothing() {
    let window = |again| remotes(&sent(1_000_000_000), vec![destination(again)]);
    let found = detect(&window(again(0, 5_500, 0)), &Limits::default());
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.verdict, one.severity), (Some("loss"), Severity::Warning));
    assert_eq!(detect(&window(again(0, 4_500, 0)), &Limits::default()), []);
}
