//! `zero_window_stall`: one side of a connection has stopped reading, so the other cannot send.
//!
//! The source finds sockets whose window has been closed for so long.

use std::time::Duration;

use tcpwatch_common::TcpState;
use tcpwatch_common::host::Role;

use super::silent_peer::{Service, established, keys, troubled};
use super::tell::{self, span, who, whom};
use crate::finding::{Candidate, Evidence, Kind, Severity, Subject};
use crate::model::Window;
use crate::sample::{Group, NamespaceSample, Sample, Trouble};

/// What it is measured by.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// How long the window has been closed.
    pub age: Duration,
    /// Fewest sockets of one owner and service.
    pub min_count: u64,
    /// Least share of the service's established connections.
    pub min_share: f64,
    /// So many are told whatever their share.
    pub many: u64,
    /// From this share on it is critical, if the process here is the one that does not read.
    pub critical_share: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { age: Duration::from_secs(30), min_count: 1, min_share: 0.05, many: 1_000, critical_share: 0.5 }
    }
}

pub(super) fn detect(window: &Window, limits: &Limits) -> Vec<Candidate> {
    let sample = window.now();
    let mut found = Vec::new();
    for namespace in &sample.namespaces {
        let Some(survey) = &namespace.survey else { continue };
        if tell::count_now(namespace, TcpState::Established) == 0 {
            continue;
        }
        for (service, groups) in established(&survey.groups) {
            let whole = tell::sum(groups.iter().copied(), |group| group.count);
            for trouble in [Trouble::PeerWindowZero, Trouble::OwnWindowZero] {
                let stalled = troubled(&groups, trouble);
                let count = tell::sum(stalled.iter().copied(), |group| group.count);
                let is_much = count >= limits.many || tell::share(count, whole) >= limits.min_share;
                if count >= limits.min_count.max(1) && is_much {
                    let stall = Stall { sample, namespace, service, here: trouble == Trouble::OwnWindowZero };
                    found.extend(stall.candidate(&stalled, count, whole, limits));
                }
            }
        }
    }
    found
}

struct Stall<'a> {
    sample: &'a Sample,
    namespace: &'a NamespaceSample,
    service: Service,
    /// Whether the process here is the one that does not read.
    here: bool,
}

impl Stall<'_> {
    fn candidate(self, stalled: &[&Group], count: u64, whole: u64, limits: &Limits) -> Option<Candidate> {
        let Self { sample, namespace, service, here } = self;
        let largest = tell::largest(stalled, |group| group.count)?;
        let (pid, port) = service;
        let is_active = largest.role == Some(Role::Active);
        let listener = (!is_active).then(|| tell::listener(sample, namespace.inode, port)).flatten();
        let pid = pid.or_else(|| listener.and_then(|listener| listener.pid));
        let owner = tell::process(sample, pid);
        let (name, doer) = (who(owner.as_deref()), whom(owner.as_deref()));
        let (unread, unsent) = (
            tell::sum(stalled.iter().copied(), |group| group.unread_bytes),
            tell::sum(stalled.iter().copied(), |group| group.unsent_bytes),
        );
        let is_critical = here && count > 1 && tell::share(count, whole) >= limits.critical_share;
        let verdict = if here { "not_reading" } else { "peer_not_reading" };
        let side = if is_active { "dport" } else { "sport" };
        let list = format!("ss -tnmoi state established '{side} = :{port}'");
        let (key, earlier) = keys(namespace.inode, service, verdict);
        Some(Candidate {
            kind: Kind::ZeroWindowStall,
            key,
            earlier,
            severity: if is_critical { Severity::Critical } else { Severity::Warning },
            verdict: Some(verdict),
            subject: Subject {
                netns: Some(namespace.inode),
                listener: listener.map(|listener| listener.local),
                destination: is_active.then_some(largest.example.remote),
                remote: (!here).then_some(largest.example.remote.ip()),
                owner,
            },
            confidence: 0.9,
            evidence: vec![
                ("count", Evidence::Count(count)),
                ("established", Evidence::Count(whole)),
                ("stalled_for_seconds", Evidence::Number(limits.age.as_secs_f64())),
                ("unread_bytes", Evidence::Count(unread)),
                ("unsent_bytes", Evidence::Count(unsent)),
                ("example_local", Evidence::Text(largest.example.local.to_string())),
                ("example_remote", Evidence::Text(largest.example.remote.to_string())),
            ],
            summary: if here {
                format!(
                    "{name} has not read from {} on port {port} for {} or more; {unread} bytes wait",
                    tell::sockets(count),
                    span(limits.age)
                )
            } else {
                format!(
                    "the peers of {} of {name} on port {port} have not read for {} or more; {unsent} bytes wait",
                    tell::sockets(count),
                    span(limits.age)
                )
            },
            meaning: meaning(here, &doer),
            advice: advice(here, &doer, pid, &largest.example.remote.to_string()),
            verify: vec![tell::inside(sample, namespace, pid, &list)],
        })
    }
}

fn meaning(here: bool, name: &str) -> String {
    if here {
        format!(
            "The receive buffers are full because {name} does not read, so the kernel told the peers to stop \
             sending. Nothing is lost, and nothing moves: the network is not the cause."
        )
    } else {
        format!(
            "The peers told this host to stop sending: their receive buffers are full because the applications \
             there do not read. What {name} writes stays in its send buffer, and then write() blocks. The network \
             is not the cause; the kernel probes the window, and as long as probes are answered never gives up."
        )
    }
}

fn advice(here: bool, name: &str, pid: Option<u32>, remote: &str) -> Vec<String> {
    if here {
        vec![
            format!(
                "See what {name} does instead of reading, with a debugger or `cat /proc/{}/stack`: it may wait for a \
                 full disk, a lock or a queue",
                pid.map_or_else(|| String::from("PID"), |pid| pid.to_string())
            ),
            String::from("Larger receive buffers only put it off"),
        ]
    } else {
        vec![
            format!("Look at the application at {remote}: it is stuck, overloaded, or paused"),
            format!("Let {name} limit how long a write may take, or set TCP_USER_TIMEOUT"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing::{assert_told, evidence, group, lasting};

    fn stalled(trouble: Trouble, count: u64) -> Group {
        Group { trouble, unsent_bytes: 70_000, ..group(TcpState::Established, count, 0, 0) }
    }

    fn found(groups: &[Group]) -> Vec<Candidate> {
        detect(&lasting(groups), &Limits::default())
    }

    #[test]
    fn a_peer_that_does_not_read_is_flagged() {
        let all = found(&[stalled(Trouble::PeerWindowZero, 1)]);
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_told(one);
        assert_eq!((one.verdict, one.severity), (Some("peer_not_reading"), Severity::Warning));
        assert_eq!(one.key, "7:pid-4711:8080:peer_not_reading");
        assert_eq!(evidence(one, "unsent_bytes"), &Evidence::Count(70_000));
        assert!(one.subject.remote.is_some());
        assert_eq!(
            one.summary,
            "the peers of 1 socket of web (pid 4711) on port 8080 have not read for 30 s or more; 70000 bytes wait"
        );
    }

    #[test]
    fn a_process_here_that_does_not_read_is_worse() {
        let full = |count| Group { unread_bytes: 6_000, ..stalled(Trouble::OwnWindowZero, count) };
        let healthy = group(TcpState::Established, 10, 10, 500);
        let some = found(&[full(3), healthy.clone()]);
        assert_told(&some[0]);
        assert_eq!((some[0].verdict, some[0].severity), (Some("not_reading"), Severity::Warning));
        assert_eq!(some[0].subject.remote, None);
        assert_eq!(evidence(&some[0], "unread_bytes"), &Evidence::Count(6_000));
        assert_eq!(found(&[full(10), healthy])[0].severity, Severity::Critical, "half of all");
        assert_eq!(found(&[full(1)])[0].severity, Severity::Warning, "one alone");
    }

    #[test]
    fn others_beside_them_hide_nothing() {
        let healthy = group(TcpState::Established, 1_000_000, 0, 900);
        let stalls = |count| found(&[stalled(Trouble::PeerWindowZero, count), healthy.clone()]).len();
        assert_eq!([stalls(999), stalls(1_000)], [0, 1]);
    }

    #[test]
    fn few_of_many_are_left_alone() {
        for groups in [
            vec![stalled(Trouble::PeerWindowZero, 4), group(TcpState::Established, 100, 100, 900)],
            vec![stalled(Trouble::Unacknowledged, 4), stalled(Trouble::None, 4)],
        ] {
            assert!(found(&groups).is_empty(), "{groups:?}");
        }
    }
}
