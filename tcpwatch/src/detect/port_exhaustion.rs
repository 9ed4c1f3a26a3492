//! `port_exhaustion`: nearly all local ports toward one destination are in use.
//!
//! A connection needs a pair of addresses and ports that is not in use. Toward one destination only the local port
//! differs, and TIME_WAIT keeps it for a minute. When none is left `connect()` fails with EADDRNOTAVAIL.

use std::time::Duration;

use tcpwatch_common::TcpState;
use tcpwatch_common::failure::ConnectFailure;

use super::tell::{self, percent, whom};
use crate::finding::{Candidate, Evidence, Kind, Severity, Subject};
use crate::model::Window;
use crate::sample::{NamespaceSample, RemoteSample, Sample, Tuple};

/// Failures of this time count as going on.
const RECENT: Duration = Duration::from_secs(15);
/// `ip_local_port_range` of a kernel that was not told otherwise.
pub(super) const PORT_RANGE: (u16, u16) = (32_768, 60_999);

/// What it is measured by.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Share of the ephemeral ports in use toward one destination.
    pub share: f64,
    /// Share from which it is critical even if no connect has failed yet.
    pub critical_share: f64,
    /// Below so many ports nothing is told.
    pub min_used: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { share: 0.8, critical_share: 0.95, min_used: 500 }
    }
}

pub(super) fn detect(window: &Window, limits: &Limits) -> Vec<Candidate> {
    let mut found = Vec::new();
    for namespace in &window.now().namespaces {
        let Some(survey) = &namespace.survey else { continue };
        let range = namespace.sysctls.as_ref().and_then(|sysctls| sysctls.port_range);
        let (first, last) = range.unwrap_or(PORT_RANGE);
        let ports = u64::from(last.saturating_sub(first)) + 1;
        let at_most = sockets_with_ports(namespace);
        for tuple in &survey.tuples {
            // The survey may be older than their end.
            let tuple = &Tuple { used: tuple.used.min(at_most), ..tuple.clone() };
            let share = tell::share(tuple.used, ports);
            if tuple.used >= limits.min_used && share >= limits.share {
                let (failures, pid) = failures(window, namespace, tuple);
                let is_critical = failures > 0 || share >= limits.critical_share;
                let severity = if is_critical { Severity::Critical } else { Severity::Warning };
                let shortage = Shortage { sample: window.now(), namespace, tuple, ports, failures, pid };
                found.push(shortage.candidate(severity, (first, last)));
            }
        }
    }
    found
}

/// Sockets that may hold a local port, by the exact counts of now.
fn sockets_with_ports(namespace: &NamespaceSample) -> u64 {
    let without = [TcpState::Listen, TcpState::SynRecv, TcpState::Close];
    let with = TcpState::RFC.into_iter().filter(|state| !without.contains(state));
    with.fold(0, |sum, state| sum.saturating_add(tell::count_now(namespace, state)))
}

/// Connects to the destination that failed here lately, and the process that tried last.
fn failures(window: &Window, namespace: &NamespaceSample, tuple: &Tuple) -> (u64, Option<u32>) {
    let of = |sample: &Sample| find(&sample.remotes, namespace.inode, tuple).map(local_failures);
    let Some(now) = find(&window.now().remotes, namespace.inode, tuple) else { return (0, None) };
    // A remote that was not remembered yet had no failures; with no earlier sample nothing is known of when.
    let grown = window.within(RECENT).map_or(0, |then| tell::growth(local_failures(now), of(then)));
    (grown, now.pid)
}

fn find<'a>(remotes: &'a [RemoteSample], netns: u64, tuple: &Tuple) -> Option<&'a RemoteSample> {
    remotes.iter().find(|remote| {
        remote.netns == netns
            && !remote.is_client
            && remote.address == tuple.remote.ip()
            && remote.port == tuple.remote.port()
    })
}

fn local_failures(remote: &RemoteSample) -> u64 {
    remote.counts.failures[ConnectFailure::Local as usize]
}

struct Shortage<'a> {
    sample: &'a Sample,
    namespace: &'a NamespaceSample,
    tuple: &'a Tuple,
    ports: u64,
    failures: u64,
    pid: Option<u32>,
}

impl Shortage<'_> {
    /// Who connects there: the process that failed last, or the owner of most sockets to that port.
    fn pid(&self) -> Option<u32> {
        let survey = self.namespace.survey.as_ref();
        let groups = survey.map(|survey| survey.groups.as_slice()).unwrap_or_default();
        let is_it = |remote: std::net::SocketAddr| remote == self.tuple.remote;
        let owned = groups.iter().filter(|group| group.pid.is_some() && is_it(group.example.remote));
        self.pid.or_else(|| owned.max_by_key(|group| group.count).and_then(|group| group.pid))
    }

    fn candidate(self, severity: Severity, (first, last): (u16, u16)) -> Candidate {
        let Tuple { local, remote, used, time_wait } = *self.tuple;
        let (sample, namespace, ports, failures) = (self.sample, self.namespace, self.ports, self.failures);
        let mostly_waiting = tell::share(time_wait, used) >= 0.5;
        let pid = self.pid();
        let owner = tell::process(sample, pid);
        let name = whom(owner.as_deref());
        let free = ports.saturating_sub(used);
        let failed = if failures > 0 {
            format!("; {failures} connects failed here in the last 15 s")
        } else {
            String::new()
        };
        let list = format!(
            "ss -Htan 'src {local} dst {remote}' | awk '{{n[$1]++}} END {{for (s in n) print s, n[s]}}'"
        );
        Candidate {
            kind: Kind::PortExhaustion,
            key: format!("{}:{local}-{remote}", namespace.inode),
            earlier: Vec::new(),
            severity,
            verdict: Some(if mostly_waiting { "time_wait" } else { "open_connections" }),
            subject: Subject {
                netns: Some(namespace.inode),
                destination: Some(remote),
                owner,
                ..Subject::default()
            },
            confidence: if failures > 0 { 0.98 } else { 0.9 },
            evidence: vec![
                ("used", Evidence::Count(used)),
                ("time_wait", Evidence::Count(time_wait)),
                ("ports", Evidence::Count(ports)),
                ("share", Evidence::Number(tell::share(used, ports))),
                ("connect_failures", Evidence::Count(failures)),
            ],
            summary: format!(
                "{used} of {ports} local ports from {local} to {remote} are in use ({}), {time_wait} of them in \
                 TIME_WAIT{failed}",
                percent(tell::share(used, ports))
            ),
            meaning: format!(
                "connect() takes a local port from {first} to {last}, and toward one address and port each can be \
                 used once. {free} are free; with none left connect() fails with EADDRNOTAVAIL, \"Cannot assign \
                 requested address\". Other destinations are not affected. {}",
                if mostly_waiting {
                    "Most are not in use any more: connections that were closed here first keep theirs for 60 s."
                } else {
                    "Most are open connections, so there are too many at once, or they are not closed."
                }
            ),
            advice: advice(mostly_waiting, &name, namespace, (first, last)),
            verify: vec![
                tell::inside(sample, namespace, pid, &list),
                tell::inside(
                    sample,
                    namespace,
                    pid,
                    "sysctl net.ipv4.ip_local_port_range net.ipv4.tcp_tw_reuse",
                ),
            ],
        }
    }
}

fn advice(mostly_waiting: bool, name: &str, namespace: &NamespaceSample, range: (u16, u16)) -> Vec<String> {
    let (first, last) = range;
    let mut advice = Vec::new();
    if mostly_waiting {
        advice.push(format!("Let {name} keep connections open and use them again, by a pool or keep-alive"));
        match namespace.sysctls.as_ref().and_then(|sysctls| sysctls.tw_reuse) {
            Some(1) => {}
            now => advice.push(format!(
                "Set net.ipv4.tcp_tw_reuse=1 (now {}): ports in TIME_WAIT are then used again after a second",
                now.map_or_else(|| String::from("unknown"), |now| now.to_string())
            )),
        }
    } else {
        advice.push(format!("See why {name} holds so many connections: a pool without a limit, or a leak"));
    }
    if first > 1_024 || last < u16::MAX {
        advice.push(format!("Widen net.ipv4.ip_local_port_range (now {first} {last})"));
    }
    advice.push(String::from("More local or destination addresses give as many ports again each"));
    advice
}

#[cfg(test)]
mod tests;
