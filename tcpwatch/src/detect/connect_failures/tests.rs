//! Services that refuse, are silent or out of reach, and single failures.

use super::*;
use crate::detect::scenes::{destination, remotes};
use crate::detect::testing::{PID, PORT, assert_told, evidence};
use crate::sample::{FoldedSample, NetCounters, RemoteSample};

fn failed(reason: ConnectFailure, count: u64) -> RemoteCounts {
    let mut counts = RemoteCounts::default();
    counts.failures[reason as usize] = count;
    counts
}

fn opened(count: u64) -> NetCounters {
    let mut counters = NetCounters::default();
    counters.snmp.active_opens = count;
    counters
}

#[test]
fn each_reason_is_a_verdict() {
    for reason in ConnectFailure::ALL {
        let window = remotes(&opened(100), vec![destination(failed(reason, 20))]);
        let found = detect(&window, &Limits::default());
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert_told(one);
        assert_eq!((one.key.as_str(), one.verdict), ("7:10.0.0.9:443", Some(reason.name())));
        assert_eq!(one.severity, Severity::Warning);
        assert_eq!(one.subject.destination.map(|to| to.to_string()).as_deref(), Some("10.0.0.9:443"));
        assert_eq!(one.subject.owner.as_ref().map(|owner| owner.pid), Some(PID));
        assert_eq!(evidence(one, reason.name()), &Evidence::Count(20));
        assert_eq!(evidence(one, "failures_per_second"), &Evidence::Number(4.0));
    }
    let many = remotes(&opened(100), vec![destination(failed(ConnectFailure::Refused, 100))]);
    assert_eq!(detect(&many, &Limits::default())[0].severity, Severity::Critical);
}

#[test]
fn a_few_are_none() {
    use ConnectFailure::Refused;
    for (window, why) in [
        (remotes(&opened(1), vec![destination(failed(Refused, 1))]), "a single refused connect"),
        (remotes(&opened(50_000), vec![destination(failed(Refused, 20))]), "of very many"),
        (many(49, 49, 0), "of many services"),
        (
            remotes(&opened(9), vec![destination(RemoteCounts { syn: 90, ..RemoteCounts::default() })]),
            "not yet",
        ),
        (remotes(&opened(9), vec![]), "nothing"),
    ] {
        assert_eq!(detect(&window, &Limits::default()), [], "{why}");
    }
}

#[test]
fn old_failures_are_not_told_again() {
    let mut window = remotes(&opened(50), vec![destination(failed(ConnectFailure::Refused, 50))]);
    let mut sample = window.now().clone();
    for _ in 0..12 {
        sample.elapsed += Duration::from_secs(1);
        window.push(std::sync::Arc::new(sample.clone()));
    }
    assert_eq!(detect(&window, &Limits::default()), []);
}

#[test]
fn a_service_of_this_host_is_named_as_one() {
    let mut failing = destination(failed(ConnectFailure::Local, 20));
    (failing.address, failing.port) = (std::net::Ipv4Addr::LOCALHOST.into(), PORT);
    let found = detect(&remotes(&opened(100), vec![failing]), &Limits::default());
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(one.key, format!("7:127.0.0.1:{PORT}"));
    assert!(one.summary.contains(&format!("connects to 127.0.0.1:{PORT} failed")), "{}", one.summary);
}

/// `apart` services failed once each, and `beyond` connects to others, in five seconds with `opened` connects.
fn many(opens: u64, apart: u8, beyond: u64) -> Window {
    let one = |last| RemoteSample {
        address: std::net::Ipv4Addr::new(10, 0, 1, last).into(),
        ..destination(failed(ConnectFailure::Refused, 1))
    };
    let window = remotes(&opened(opens), (0..apart).map(one).collect());
    let mut now = window.now().clone();
    now.elapsed += Duration::from_millis(10);
    let counts = failed(ConnectFailure::Refused, beyond);
    now.folded = vec![FoldedSample { netns: 7, service: None, pid: Some(PID), counts }];
    let mut window = window;
    window.push(std::sync::Arc::new(now));
    window
}

#[test]
fn connects_that_succeed_beside_them_hide_nothing() {
    let window = remotes(&opened(1_000_000), vec![destination(failed(ConnectFailure::Refused, 40))]);
    let found = detect(&window, &Limits::default());
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.key.as_str(), one.severity), ("7:10.0.0.9:443", Severity::Warning));
    let strict = Limits { rate: 9.0, ..Limits::default() };
    assert_eq!(detect(&window, &strict), []);
}

#[test]
fn failures_spread_over_many_services_are_told_together() {
    for (window, services, beyond) in [(many(100, 60, 0), 60, 0), (many(9_000_000, 10, 900_000), 10, 900_000)]
    {
        let found = detect(&window, &Limits::default());
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert_told(one);
        assert_eq!((one.key.as_str(), one.verdict), ("7:many:web", Some("refused")));
        assert_eq!((one.subject.destination, one.subject.netns), (None, Some(7)));
        assert_eq!(one.subject.owner.as_ref().map(|owner| owner.pid), Some(PID));
        assert_eq!(evidence(one, "services_told_apart"), &Evidence::Count(services));
        assert_eq!(evidence(one, "failures_of_others"), &Evidence::Count(beyond));
    }
    // A crawler meets some that are gone.
    assert_eq!(detect(&many(10_000, 0, 400), &Limits::default()), []);
}
