//! Hand-made surveys and windows for the tests of the detectors.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tcpwatch_common::TcpState;
use tcpwatch_common::host::Role;

use crate::finding::{Candidate, Evidence};
use crate::model::Window;
use crate::model::testing::{listener_at, sample_at};
use crate::process::Process;
use crate::sample::{Example, Group, ListenerSample, Sample, Survey, Sysctls, Trouble};

pub(crate) const NETNS: u64 = 7;
pub(crate) const PID: u32 = 4711;
pub(crate) const PORT: u16 = 8080;

pub(crate) fn process(command: &str) -> Process {
    Process { pid: PID, command: Some(command.into()), ..Process::default() }
}

/// What a Linux host has by default.
pub(crate) fn sysctls() -> Sysctls {
    Sysctls {
        retries2: Some(15),
        orphan_retries: Some(0),
        fin_timeout: Some(60),
        max_tw_buckets: Some(10_000),
        tw_reuse: Some(2),
        port_range: Some((32_768, 60_999)),
        keepalive_time: Some(7_200),
        ..Sysctls::default()
    }
}

/// A host whose own namespace has the server `web` listening on [`PORT`].
pub(crate) fn host(seconds: f64) -> Sample {
    let mut sample = sample_at(seconds, NETNS);
    sample.namespaces[0].is_own = true;
    sample.namespaces[0].sysctls = Some(Arc::new(sysctls()));
    sample.listeners = vec![ListenerSample { pid: Some(PID), ..listener_at(NETNS, PORT) }];
    sample.processes.insert(PID, Arc::new(process("web")));
    sample
}

/// Sockets of `web` on [`PORT`]: `count` of them, `aged` for at least `oldest` seconds.
pub(crate) fn group(state: TcpState, count: u64, aged: u64, oldest: u64) -> Group {
    Group {
        state,
        pid: Some(PID),
        cgroup: None,
        role: Some(Role::Passive),
        port: PORT,
        never_accepted: false,
        orphan: false,
        trouble: Trouble::None,
        count,
        aged,
        unknown_age: 0,
        oldest: Duration::from_secs(oldest),
        unread_bytes: 0,
        unread: 0,
        unsent_bytes: 0,
        memory: None,
        example: Example { local: address(1, PORT), remote: address(2, 40_000) },
    }
}

pub(crate) fn address(last: u8, port: u16) -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, last), port).into()
}

/// The host with a survey of this instant.
pub(crate) fn surveyed(seconds: f64, groups: Vec<Group>) -> Sample {
    let mut sample = host(seconds);
    let elapsed = sample.elapsed;
    for group in &groups {
        // As if they had all been there before the programs.
        sample.namespaces[0].adopted[group.state.index()] += group.count;
    }
    sample.namespaces[0].survey = Some(Arc::new(Survey { elapsed, groups, ..Survey::default() }));
    sample
}

pub(crate) fn window(samples: impl IntoIterator<Item = Sample>) -> Window {
    let mut samples = samples.into_iter().map(Arc::new);
    let mut window = Window::new(samples.next().expect("at least one sample"));
    samples.for_each(|sample| window.push(sample));
    window
}

/// A window in which every second had the same survey.
pub(crate) fn lasting(groups: &[Group]) -> Window {
    window((600..=660).map(|second| surveyed(f64::from(second), groups.to_vec())))
}

pub(crate) fn evidence<'a>(candidate: &'a Candidate, name: &str) -> &'a Evidence {
    let found = candidate.evidence.iter().find(|(known, _)| *known == name);
    &found.unwrap_or_else(|| panic!("no {name} in {:?}", candidate.evidence)).1
}

/// Everything a person reads is there.
pub(crate) fn assert_told(candidate: &Candidate) {
    assert!(!candidate.key.is_empty() && !candidate.key.contains(' '), "{}", candidate.key);
    assert!((0.0..=1.0).contains(&candidate.confidence) && candidate.confidence > 0.0);
    assert!(candidate.summary.len() > 20 && candidate.meaning.len() > 40, "{candidate:?}");
    assert!(!candidate.advice.is_empty() && !candidate.verify.is_empty(), "{candidate:?}");
    assert!(!candidate.evidence.is_empty());
}
