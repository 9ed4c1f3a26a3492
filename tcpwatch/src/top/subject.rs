//! Something on the screen that one can look into: which sockets it has, and which page explains it.

use tcpwatch_common::TcpState;

use super::data::{Finding, Listener, Owner, Remote, Snapshot};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Subject {
    Finding(Finding),
    State(TcpState),
    Listener(Listener),
    Owner(Owner),
    Remote(Remote),
}

impl Subject {
    pub(super) fn title(&self) -> String {
        match self {
            Self::Finding(finding) => {
                let severity = if finding.is_critical { "CRITICAL" } else { "WARNING" };
                format!("{severity} {}", finding.kind)
            }
            Self::State(state) => state.name().into(),
            Self::Listener(listener) => format!("listener {}", listener.local),
            Self::Owner(owner) => format!("process {}", owner.process.name()),
            Self::Remote(remote) => format!("remote {}", remote.name()),
        }
    }

    /// As it is now; `None` if it is not there any more.
    pub(super) fn renewed(&self, snapshot: &Snapshot) -> Option<Self> {
        match self {
            Self::State(_) => Some(self.clone()),
            Self::Finding(old) => {
                let found = snapshot.findings.iter().flatten().find(|one| one.id == old.id);
                found.cloned().map(Self::Finding)
            }
            Self::Listener(old) => {
                let id = listener_id(old);
                let found = snapshot.listeners.iter().flatten().find(|one| listener_id(one) == id);
                found.cloned().map(Self::Listener)
            }
            Self::Owner(old) => {
                let found = snapshot.owners.iter().find(|one| owner_id(one) == owner_id(old));
                found.cloned().map(Self::Owner)
            }
            Self::Remote(old) => {
                let found = snapshot.remotes.iter().find(|one| remote_id(one) == remote_id(old));
                found.cloned().map(Self::Remote)
            }
        }
    }

    /// Its sockets, in the language of filters; `None` if it has none of its own.
    pub(super) fn filter(&self) -> Option<String> {
        match self {
            Self::State(state) => Some(format!("state={}", state.name())),
            Self::Owner(owner) => owner.process.pid.map(|pid| format!("pid={pid}")),
            Self::Listener(one) => Some(format!("netns={} {}", one.netns, local(&one.local))),
            Self::Remote(one) => {
                let port = if one.is_client { "sport" } else { "dport" };
                Some(format!("netns={} peer={} {port}={}", one.netns, one.address, one.port))
            }
            Self::Finding(finding) => of_finding(finding),
        }
    }

    /// The page that explains it.
    pub(super) fn topic(&self, snapshot: &Snapshot) -> Option<String> {
        match self {
            Self::State(state) => Some(state.name().into()),
            Self::Finding(finding) => Some(finding.kind.clone()),
            Self::Listener(_) => Some("listener_queues".into()),
            Self::Remote(_) => Some("retransmission".into()),
            Self::Owner(owner) => {
                let findings = snapshot.findings.iter().flatten();
                let mut own = findings.filter(|finding| finding.owner.pid == owner.process.pid);
                own.next().map(|finding| finding.kind.clone())
            }
        }
    }

    /// The network namespace that its figures are of.
    pub(super) fn netns(&self) -> Option<u64> {
        match self {
            Self::Finding(finding) => finding.netns,
            Self::Listener(listener) => Some(listener.netns),
            Self::Remote(remote) => Some(remote.netns),
            Self::State(_) | Self::Owner(_) => None,
        }
    }
}

pub(super) fn listener_id(one: &Listener) -> String {
    format!("{} {}", one.netns, one.local)
}

pub(super) fn owner_id(one: &Owner) -> String {
    one.process.pid.map_or_else(|| one.process.long_name(), |pid| pid.to_string())
}

pub(super) fn remote_id(one: &Remote) -> String {
    format!("{} {} {}", one.netns, one.name(), one.port)
}

/// The states in which a kind of finding shows.
pub(super) fn states_of(kind: &str) -> &'static [TcpState] {
    match kind {
        "close_wait_buildup" => &[TcpState::CloseWait],
        "time_wait_storm" => &[TcpState::TimeWait],
        "closing_stuck" => &[TcpState::FinWait1, TcpState::Closing, TcpState::LastAck],
        "syn_flood" | "syn_queue_overflow" => &[TcpState::SynRecv],
        "accept_queue_overflow" => &[TcpState::Listen],
        "connect_failures" => &[TcpState::SynSent],
        "silent_peer" | "zero_window_stall" | "retransmit_burst" => &[TcpState::Established],
        _ => &[],
    }
}

fn of_finding(finding: &Finding) -> Option<String> {
    let mut tests = Vec::new();
    tests.extend(finding.netns.map(|netns| format!("netns={netns}")));
    tests.extend(finding.listener.as_deref().map(local));
    tests.extend(finding.destination.as_deref().and_then(remote));
    tests.extend(finding.remote.as_ref().map(|remote| format!("peer={remote}")));
    let states = states_of(&finding.kind);
    // The sockets that a full queue keeps out never were; those that wait in it tell more than the listener.
    let of_listener = finding.kind == "accept_queue_overflow";
    if !states.is_empty() && !of_listener {
        let names: Vec<_> = states.iter().map(|state| state.name()).collect();
        tests.push(format!("state={}", names.join(",")));
    }
    // Nobody owns half-open requests and TIME_WAIT; a listener's sockets are found by its port.
    let is_owned = !matches!(
        finding.kind.as_str(),
        "syn_flood" | "syn_queue_overflow" | "time_wait_storm" | "closing_stuck"
    );
    if finding.listener.is_none() && is_owned {
        tests.extend(finding.owner.pid.map(|pid| format!("pid={pid}")));
    }
    (!tests.is_empty()).then(|| tests.join(" "))
}

/// `127.0.0.1:80` as a local end.
fn local(address: &str) -> String {
    let Some((ip, port)) = split(address) else { return "state=listen".into() };
    if matches!(ip, "0.0.0.0" | "::") { format!("sport={port}") } else { format!("local={ip} sport={port}") }
}

fn remote(address: &str) -> Option<String> {
    split(address).map(|(ip, port)| format!("peer={ip} dport={port}"))
}

fn split(address: &str) -> Option<(&str, &str)> {
    let (ip, port) = address.rsplit_once(':')?;
    Some((ip.trim_start_matches('[').trim_end_matches(']'), port))
}
