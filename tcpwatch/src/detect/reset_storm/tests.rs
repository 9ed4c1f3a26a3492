//! Resets by whoever sends them, and those that do not matter.

use super::*;
use crate::detect::scenes::{client, destination, remotes};
use crate::detect::testing::{PID, assert_told, evidence};
use crate::sample::FoldedSample;

fn counters(abort_on_data: u64, abort_on_close: u64, sent: u64) -> NetCounters {
    let mut counters = NetCounters::default();
    counters.ext.abort_on_data = Some(abort_on_data);
    counters.ext.abort_on_close = Some(abort_on_close);
    counters.snmp.out_rsts = sent;
    counters.snmp.passive_opens = 500;
    counters
}

fn resets(sent: u64, received: u64) -> RemoteCounts {
    RemoteCounts { resets_sent: sent, resets_received: received, ..RemoteCounts::default() }
}

#[test]
fn the_cause_is_told_by_the_kernels_counters() {
    for (counters, counts, verdict) in [
        (counters(90, 5, 95), resets(95, 0), "application_aborts"),
        (counters(5, 90, 95), resets(95, 0), "unread_data"),
        (counters(0, 5, 95), resets(95, 0), "nobody_listens"),
        (counters(0, 0, 0), resets(10, 85), "peer_resets"),
        (counters(0, 0, 0), resets(95, 0), "unknown"),
    ] {
        let found = detect(&remotes(&counters, vec![client(3, counts)]), &Limits::default());
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert_told(one);
        assert_eq!((one.verdict, one.key.as_str()), (Some(verdict), "7:clients-of-8080"));
        assert_eq!(one.subject.remote.map(|remote| remote.to_string()).as_deref(), Some("10.0.0.3"));
        assert_eq!(one.subject.owner.as_ref().map(|owner| owner.pid), Some(PID));
        assert_eq!(evidence(one, "resets_per_second"), &Evidence::Number(19.0));
    }
}

#[test]
fn over_loopback_both_ends_are_one_service() {
    let ends = [(true, resets(0, 60)), (false, resets(60, 0))].map(|(is_client, counts)| {
        let mut remote = client(1, counts);
        remote.address = std::net::Ipv4Addr::LOCALHOST.into();
        remote.is_client = is_client;
        remote
    });
    let found = detect(&remotes(&counters(60, 0, 60), ends.into()), &Limits::default());
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.verdict, one.key.as_str()), (Some("application_aborts"), "7:clients-of-8080"));
    // Of which only the received ones were seen.
    let mut received = client(1, resets(0, 60));
    received.address = std::net::Ipv4Addr::LOCALHOST.into();
    let found = detect(&remotes(&counters(0, 60, 60), vec![received]), &Limits::default());
    assert_eq!(found[0].verdict, Some("unread_data"));
}

#[test]
fn connections_made_beside_them_hide_nothing() {
    let mut busy = counters(1_100, 0, 1_100);
    busy.snmp.passive_opens = 1_000_000;
    let found = detect(&remotes(&busy, vec![client(3, resets(1_100, 0))]), &Limits::default());
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.key.as_str(), one.severity), ("7:clients-of-8080", Severity::Warning));
    assert_eq!(detect(&remotes(&busy, vec![client(3, resets(900, 0))]), &Limits::default()), []);
}

#[test]
fn clients_that_are_not_told_apart_count_with_the_others() {
    let window = remotes(&counters(90, 0, 90), vec![client(3, resets(1, 0))]);
    let mut now = window.now().clone();
    now.elapsed += Duration::from_millis(10);
    now.folded = vec![FoldedSample { netns: 7, service: Some(8080), pid: None, counts: resets(94, 0) }];
    let mut window = window;
    window.push(std::sync::Arc::new(now));
    let found = detect(&window, &Limits::default());
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(one.key, "7:clients-of-8080");
    assert_eq!(evidence(one, "resets_sent"), &Evidence::Count(95));
}

#[test]
fn what_is_usual_is_not_flagged() {
    let mut refused = resets(0, 300);
    refused.failures[ConnectFailure::Refused as usize] = 300;
    let mut busy = counters(90, 0, 90);
    busy.snmp.passive_opens = 50_000;
    for (counters, remote) in [
        (counters(1, 0, 1), destination(resets(1, 0))),
        (counters(20, 0, 20), destination(resets(20, 20))),
        (counters(0, 0, 0), destination(refused)),
        (busy, client(1, resets(90, 0))),
    ] {
        assert_eq!(detect(&remotes(&counters, vec![remote]), &Limits::default()), []);
    }
}
