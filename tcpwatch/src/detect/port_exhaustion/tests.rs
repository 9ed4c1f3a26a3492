//! Ports toward one destination, and toward many.

use std::sync::Arc;

use tcpwatch_common::host::Role;

use super::*;
use crate::detect::testing::{NETNS, PID, address, assert_told, evidence, group, surveyed, sysctls, window};
use crate::sample::{Example, RemoteCounts, Survey, Sysctls};

fn tuple(last: u8, used: u64, time_wait: u64) -> Tuple {
    Tuple { local: address(1, 0).ip(), remote: address(last, 443), used, time_wait }
}

/// A host with 1,000 ephemeral ports.
fn at(seconds: f64, tuples: &[Tuple], failed: Option<u64>) -> Sample {
    let mut sample = surveyed(seconds, Vec::new());
    let mut to = group(TcpState::Established, 300, 0, 9);
    to.role = Some(Role::Active);
    to.example = Example { local: address(1, 40_000), remote: address(9, 443) };
    let survey =
        Survey { elapsed: sample.elapsed, groups: vec![to], tuples: tuples.to_vec(), ..Survey::default() };
    sample.namespaces[0].survey = Some(Arc::new(survey));
    let settings = Sysctls { port_range: Some((40_000, 40_999)), ..sysctls() };
    sample.namespaces[0].sysctls = Some(Arc::new(settings));
    sample.namespaces[0].adopted[TcpState::Established.index()] = 100_000;
    sample.remotes.extend(failed.map(|failed| {
        let mut counts = RemoteCounts::default();
        counts.failures[ConnectFailure::Local as usize] = failed;
        let remote = address(9, 443);
        RemoteSample {
            netns: NETNS,
            address: remote.ip(),
            port: 443,
            is_client: false,
            pid: Some(PID),
            counts,
        }
    }));
    sample
}

fn found(tuples: &[Tuple]) -> Vec<Candidate> {
    let found = detect(&window([at(1.0, tuples, None)]), &Limits::default());
    found.iter().for_each(assert_told);
    found
}

#[test]
fn nearly_all_ports_to_one_destination_are_flagged() {
    let all = found(&[tuple(9, 850, 800), tuple(8, 10, 0)]);
    let [one] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((one.key.as_str(), one.verdict), ("7:10.0.0.1-10.0.0.9:443", Some("time_wait")));
    assert_eq!((one.severity, one.subject.destination), (Severity::Warning, Some(address(9, 443))));
    assert_eq!(one.subject.owner.as_ref().map(|owner| owner.pid), Some(PID));
    assert_eq!(evidence(one, "share"), &Evidence::Number(0.85));
    assert_eq!(
        one.summary,
        "850 of 1000 local ports from 10.0.0.1 to 10.0.0.9:443 are in use (85 %), 800 of them in TIME_WAIT"
    );
    assert!(one.advice.iter().any(|line| line.contains("tcp_tw_reuse=1 (now 2)")), "{:?}", one.advice);
    assert!(one.advice.iter().any(|line| line.contains("(now 40000 40999)")));
}

#[test]
fn open_connections_are_another_reading() {
    let one = found(&[tuple(9, 960, 100)]).remove(0);
    assert_eq!((one.verdict, one.severity), (Some("open_connections"), Severity::Critical));
    assert!(one.advice[0].starts_with("See why web (pid 4711) holds"), "{:?}", one.advice);
}

#[test]
fn many_ports_over_many_destinations_are_fine() {
    let many: Vec<Tuple> = (1..=100).map(|last| tuple(last, 700, 600)).collect();
    assert!(found(&many).is_empty());
    assert!(found(&[]).is_empty());
}

#[test]
fn a_tiny_range_that_is_full_with_few_ports_is_fine() {
    let mut sample = at(1.0, &[tuple(9, 499, 0)], None);
    sample.namespaces[0].sysctls = Some(Arc::new(Sysctls { port_range: Some((1, 500)), ..sysctls() }));
    assert!(detect(&window([sample]), &Limits::default()).is_empty());
}

#[test]
fn failed_connects_make_it_critical() {
    let severity = |before, now| {
        let tuples = [tuple(9, 850, 0)];
        let window = window([at(1.0, &tuples, before), at(5.0, &tuples, now)]);
        let one = detect(&window, &Limits::default()).remove(0);
        (one.severity, evidence(&one, "connect_failures").clone())
    };
    assert_eq!(severity(None, None), (Severity::Warning, Evidence::Count(0)));
    assert_eq!(severity(Some(7), Some(7)), (Severity::Warning, Evidence::Count(0)));
    assert_eq!(severity(Some(7), Some(9)), (Severity::Critical, Evidence::Count(2)));
    assert_eq!(severity(None, Some(3)), (Severity::Critical, Evidence::Count(3)));
}

#[test]
fn without_settings_the_kernels_own_range_is_meant() {
    let with = |used| {
        let mut sample = at(1.0, &[tuple(9, used, 0)], None);
        sample.namespaces[0].sysctls = None;
        detect(&window([sample]), &Limits::default()).len()
    };
    assert_eq!((with(20_000), with(23_000)), (0, 1));
}

#[test]
fn a_survey_that_is_older_than_their_end_is_not_believed() {
    let mut sample = at(1.0, &[tuple(9, 850, 0)], None);
    let settings = sample.clone();
    sample.namespaces[0].adopted = [0; TcpState::COUNT];
    sample.namespaces[0].adopted[TcpState::Established.index()] = 700;
    // Mini-sockets are known, and there are none.
    let minis = Some(crate::sample::Minis::default());
    let counts = [0; TcpState::COUNT];
    sample.namespaces[0].census = Some(crate::sample::Census { elapsed: sample.elapsed, counts, minis });
    assert!(detect(&window([sample]), &Limits::default()).is_empty());
    assert_eq!(detect(&window([settings]), &Limits::default()).len(), 1);
}
