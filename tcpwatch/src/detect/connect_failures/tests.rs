//! Services that refuse, are silent or out of reach, and single failures.

use super::*;
use crate::detect::scenes::{destination, remotes};
use crate::detect::testing::{PID, PORT, assert_told, evidence};
use crate::sample::NetCounters;

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
