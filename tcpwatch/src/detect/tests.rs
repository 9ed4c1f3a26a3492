//! All detectors together, over hosts that are well and hosts that are not.

use std::time::Duration;

use tcpwatch_common::TcpState;

use super::testing::{group, sysctls};
use super::*;
use crate::finding::Kind;
use crate::sample::{Group, HostLimits, KernelCounters, Trouble};

/// A busy host at a second of its life; `held` sockets have been in CLOSE_WAIT since the beginning.
fn at(second: u32, held: u64) -> Arc<Sample> {
    let established = |trouble, count| Group { trouble, ..group(TcpState::Established, count, 0, 900) };
    let mut sample = testing::surveyed(
        f64::from(second),
        vec![
            established(Trouble::None, 5_000),
            established(Trouble::Unacknowledged, 20),
            established(Trouble::PeerWindowZero, 3),
            established(Trouble::NoKeepalive, 9),
            group(TcpState::CloseWait, 300 + held, held, second.into()),
            Group { orphan: true, ..group(TcpState::FinWait1, 40, 0, 100) },
            group(TcpState::LastAck, 200, 0, 1),
            Group { pid: None, ..group(TcpState::TimeWait, 4_000, 0, 60) },
        ],
    );
    let kernel = KernelCounters { time_wait: 4_000, ..KernelCounters::default() };
    sample.namespaces[0].kernel = Some((kernel, kernel));
    sample.namespaces[0].sysctls = Some(Arc::new(sysctls()));
    sample.limits = HostLimits {
        memory_limits: Some([750, 1_000, 1_500]),
        memory: Some(600),
        orphans: Some(40),
        max_orphans: Some(8_192),
    };
    Arc::new(sample)
}

#[test]
fn a_busy_host_that_is_well_has_no_findings() {
    let mut detectors = Detectors::default();
    for second in 0..150 {
        let findings = detectors.apply(&at(second, 0), &Thresholds::default());
        assert_eq!(findings, Findings::default(), "at {second}");
    }
}

#[test]
fn a_finding_lives_from_the_first_sample_that_shows_it_to_ten_seconds_after_the_last() {
    let mut detectors = Detectors::default();
    let mut log = Vec::new();
    for second in 0..120 {
        let held = if (20..60).contains(&second) { 12 } else { 0 };
        let findings = detectors.apply(&at(second, held), &Thresholds::default());
        log.extend(findings.opened_now.iter().map(|one| (second, "opened", one.id.clone())));
        log.extend(findings.closed_now.iter().map(|one| (second, "closed", one.id.clone())));
    }
    let id = String::from("close_wait_buildup:7:pid-4711");
    assert_eq!(log, [(20, "opened", id.clone()), (70, "closed", id)]);
}

#[test]
fn thresholds_are_those_given() {
    let mut strict = Thresholds::default();
    strict.silent_peer.min_share = 0.0;
    strict.silent_peer.idle_count = 9;
    strict.memory_pressure.pressure_share = 0.5;
    strict.findings.close_after = Duration::ZERO;
    let mut detectors = Detectors::default();
    let mut last = Findings::default();
    for second in 0..20 {
        last = detectors.apply(&at(second, 0), &strict);
    }
    let kinds: Vec<_> = last.open.iter().map(|one| (one.seen.kind, one.seen.verdict)).collect();
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    assert!(kinds.contains(&(Kind::SilentPeer, Some("unacknowledged"))));
    assert!(kinds.contains(&(Kind::SilentPeer, Some("no_keepalive"))));
    assert!(kinds.contains(&(Kind::MemoryPressure, Some("memory"))));
    assert!(detectors.apply(&at(21, 0), &Thresholds::default()).open.len() == 3, "missing since now");
    assert!(detectors.apply(&at(40, 0), &Thresholds::default()).open.is_empty());
}
