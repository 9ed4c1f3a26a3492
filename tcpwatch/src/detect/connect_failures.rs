//! `connect_failures`: connections to a service elsewhere cannot be opened.

mod many;

use std::collections::BTreeSet;
use std::time::Duration;

use tcpwatch_common::failure::ConnectFailure;

use super::remote_ends::{Ends, Lately};
use super::tell;
use crate::finding::{Candidate, Evidence, Kind, Severity};
use crate::model::Window;
use crate::sample::RemoteCounts;

/// What it is measured by.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Fewest failed connects to one service.
    pub failures: u64,
    /// Within so much time.
    pub within: Duration,
    /// Least share of all connects of the namespace.
    pub share: f64,
    /// Failures a second that are told whatever their share: connects that succeed beside them hide nothing.
    pub rate: f64,
    /// Failures a second from which it is critical.
    pub critical_rate: f64,
    /// Fewest failed connects of one program to services of which none has enough to be told by itself.
    pub many: u64,
    /// Least share of these of all connects of the namespace.
    pub many_share: f64,
    /// How many of these a second are told whatever their share.
    pub many_rate: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            failures: 5,
            within: Duration::from_secs(10),
            share: 0.02,
            rate: 5.0,
            critical_rate: 10.0,
            many: 50,
            many_share: 0.1,
            many_rate: 100.0,
        }
    }
}

pub(super) fn detect(window: &Window, limits: &Limits) -> Vec<Candidate> {
    let Some(lately) = Lately::new(window, limits.within) else { return Vec::new() };
    let services = lately.by_destination(failures);
    let mut found: Vec<Candidate> = services.iter().filter_map(|ends| flag(&lately, ends, limits)).collect();
    let told: BTreeSet<_> = found.iter().map(|one| (one.subject.netns, one.subject.destination)).collect();
    let rest: Vec<_> =
        services.iter().filter(|ends| !told.contains(&(Some(ends.netns), ends.destination))).collect();
    found.extend(many::detect(&lately, &rest, limits));
    found
}

fn failures(counts: &RemoteCounts) -> u64 {
    counts.failures.iter().sum()
}

fn flag(lately: &Lately<'_>, ends: &Ends<'_>, limits: &Limits) -> Option<Candidate> {
    let failed = failures(&ends.counts);
    let opened = lately.growth(ends.netns, |counters| Some(counters.snmp.active_opens));
    let rate = tell::number(failed) / lately.seconds();
    // Some failures are a matter of course where very many connections are opened.
    let is_few = rate < limits.rate
        && opened.is_some_and(|opened| tell::share(failed, opened.max(failed)) < limits.share);
    if failed < limits.failures.max(2) || is_few {
        return None;
    }
    let most = ConnectFailure::ALL.into_iter().max_by_key(|reason| ends.counts.failures[*reason as usize])?;
    let subject = ends.subject(lately.now);
    let who = tell::who(subject.owner.as_deref());
    let name = ends.name();
    let mut evidence = ends.evidence();
    evidence.extend(
        ConnectFailure::ALL
            .map(|reason| (reason.name(), Evidence::Count(ends.counts.failures[reason as usize]))),
    );
    evidence.push(("syn_retransmits", Evidence::Count(ends.counts.syn)));
    evidence.push(("failures", Evidence::Count(failed)));
    evidence.push(("failures_per_second", Evidence::Number(rate)));
    evidence.extend(opened.map(|opened| ("connects_of_the_namespace", Evidence::Count(opened))));
    evidence.push(("seconds", Evidence::Number(lately.seconds())));
    let (meaning, advice) = explain(most, &name, &who);
    Some(Candidate {
        kind: Kind::ConnectFailures,
        key: ends.key(),
        earlier: Vec::new(),
        severity: if rate >= limits.critical_rate { Severity::Critical } else { Severity::Warning },
        verdict: Some(most.name()),
        confidence: 0.9,
        evidence,
        summary: format!(
            "{failed} connects to {name} failed in {:.0} s, most of them {}; {who} tried",
            lately.seconds().max(1.0),
            reads(most)
        ),
        meaning,
        advice,
        verify: vec![
            ends.inside(lately.now, &format!("ss -tanpo state syn-sent '{}'", ends.filter())),
            ends.inside(lately.now, "nstat -asz TcpActiveOpens TcpAttemptFails TcpExtTCPSynRetrans"),
        ],
        subject,
    })
}

const fn reads(reason: ConnectFailure) -> &'static str {
    match reason {
        ConnectFailure::Refused => "refused",
        ConnectFailure::Timeout => "without any answer",
        ConnectFailure::Unreachable => "with the host or network unreachable",
        ConnectFailure::Local => "given up here",
        ConnectFailure::Other => "for another reason",
    }
}

fn explain(reason: ConnectFailure, name: &str, who: &str) -> (String, Vec<String>) {
    let (meaning, advice): (String, Vec<String>) = match reason {
        ConnectFailure::Refused => (
            format!(
                "{name} answered each SYN with a reset: the host is up and reachable, and nobody listens at that port, or a \
                 firewall rejects it."
            ),
            vec![
                String::from("See whether the service runs there, on that address and port"),
                format!("If it is restarting, {who} should wait longer between its tries"),
            ],
        ),
        ConnectFailure::Timeout => (
            format!(
                "Nothing came back from {name} to any SYN: the host is down, a firewall drops the SYNs, the way back is \
                 broken, or its listener's queues are full."
            ),
            vec![
                String::from("See from another host whether the service answers, and what lies between"),
                String::from("On the service's host, look for accept_queue_overflow and syn_queue_overflow"),
                format!("Give {who} a connect timeout: the kernel's own takes minutes"),
            ],
        ),
        ConnectFailure::Unreachable => (
            format!("A router or this host says that there is no way to {name}."),
            vec![String::from(
                "See `ip route get` for that address, and its neighbour entry with `ip neigh`",
            )],
        ),
        ConnectFailure::Local => (
            format!(
                "{who} gave up before an answer came, or no SYN was sent at all: a timeout of its own, or no free local \
                 port (see port_exhaustion)."
            ),
            vec![
                format!(
                    "See what {who} logs: EADDRNOTAVAIL means ports, a timeout means that {name} is slow"
                ),
                String::from("SYN retransmits in the evidence say that the service did not answer"),
            ],
        ),
        ConnectFailure::Other => (
            format!("Connects to {name} failed with an error that is none of the usual ones."),
            vec![format!("See what {who} logs, or `strace -f -e trace=connect` on it")],
        ),
    };
    (meaning, advice)
}

#[cfg(test)]
mod tests;
