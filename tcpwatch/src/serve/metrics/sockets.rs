//! Metrics of sockets: their states, transitions and ends.

use std::collections::BTreeMap;

use tcpwatch_common::failure::ConnectFailure;
use tcpwatch_common::host::{HostCounters, Role};
use tcpwatch_common::machine::EDGES;
use tcpwatch_common::{Cause, TcpState, cell};

use super::family::{Family, number};
use crate::model::{Report, rates, remotes, states};
use crate::sample::{Sample, SourceKind};

pub(super) fn add(families: &mut Vec<Family>, report: &Report) {
    families.push(by_state(report));
    if report.sample.source == SourceKind::Ebpf {
        families.push(transitions(report));
    }
    if let Some(host) = &report.sample.host {
        families.extend([
            illegal(host),
            time_in_state(host),
            unknown_age(host),
            handshake(host),
            lifetime(host),
            ends(host),
            connect_failures(host),
        ]);
    }
    families.extend([time_wait_entered(&report.sample), fin_wait2_orphaned(&report.sample)]);
    families.extend(report.sample.host.as_deref().map(mptcp));
}

fn by_state(report: &Report) -> Family {
    let mut family = Family::gauge(
        "tcpwatch_sockets",
        "TCP sockets of the host by state, as ss counts them, all network namespaces together",
    );
    let total = states::total(&report.states);
    for state in TcpState::RFC {
        if let Some(count) = total.counts[state.index()] {
            family.add(&[("state", state.name())], number(count));
        }
    }
    family
}

fn transitions(report: &Report) -> Family {
    let mut family = Family::counter(
        "tcpwatch_transitions_total",
        "Transitions of TCP sockets from one state to another. Verdict: rfc (RFC 9293 has it), linux (Linux' own, \
         legal), unusual (legal and rare) or illegal (no TCP may do it)",
    );
    let happened = rates::total(&report.transitions);
    let mut counts: BTreeMap<_, _> = happened.iter().map(|one| ((one.from, one.to), one.count)).collect();
    let mut add = |from: TcpState, to: TcpState, verdict, count| {
        family.add(&[("from", from.name()), ("to", to.name()), ("verdict", verdict)], number(count));
    };
    for edge in &EDGES {
        let count = counts.remove(&(edge.from, edge.to)).unwrap_or(0);
        add(edge.from, edge.to, edge.verdict.name(), count);
    }
    // What is left are pairs that the machine does not have: shown once they happen.
    for ((from, to), count) in counts {
        add(from, to, tcpwatch_common::judge(from, to).verdict.name(), count);
    }
    family
}

fn illegal(host: &HostCounters) -> Family {
    Family::counter("tcpwatch_illegal_transitions_total", "Transitions that no TCP may make")
        .only(Some(number(host.illegal)))
}

fn time_in_state(host: &HostCounters) -> Family {
    let mut family = Family::histogram(
        "tcpwatch_time_in_state_seconds",
        "How long sockets stayed in a state, observed when they left it. TIME_WAIT is kept outside of sockets, so \
         that its time is not observed",
    );
    for state in TcpState::RFC {
        family.add_histogram(&[("state", state.name())], &host.time_in_state[state.index()]);
    }
    family
}

fn unknown_age(host: &HostCounters) -> Family {
    let mut family = Family::counter(
        "tcpwatch_time_in_state_unknown_total",
        "Sockets that left a state and are not in tcpwatch_time_in_state_seconds, as it was not seen when they \
         entered it",
    );
    for state in TcpState::RFC {
        family.add(&[("state", state.name())], number(host.unknown_age[state.index()]));
    }
    family
}

fn handshake(host: &HostCounters) -> Family {
    let mut family = Family::histogram(
        "tcpwatch_handshake_seconds",
        "How long handshakes took. Role active: connections that this host opened, from SYN to SYN-ACK; passive: \
         connections that it accepted, from SYN-ACK to ACK",
    );
    for role in Role::ALL {
        family.add_histogram(&[("role", role.name())], &host.handshake[role as usize]);
    }
    family
}

fn lifetime(host: &HostCounters) -> Family {
    let mut family = Family::histogram(
        "tcpwatch_connection_lifetime_seconds",
        "How long connections that have ended had lived, without TIME_WAIT. Role active: this host opened them; \
         passive: it accepted them",
    );
    for role in Role::ALL {
        family.add_histogram(&[("role", role.name())], &host.lifetime[role as usize]);
    }
    family
}

fn ends(host: &HostCounters) -> Family {
    let mut family = Family::counter(
        "tcpwatch_connection_ends_total",
        "Sockets that were closed, by their last state and why. State listen: listeners. Cause closed is the \
         regular end",
    );
    for state in TcpState::ALL {
        for cause in Cause::ALL {
            let count = host.endings[state.index()][cause as usize];
            if can_end(state) || (count > 0 && state != TcpState::Close) {
                family.add(&[("state", state.name()), ("cause", cause.name())], number(count));
            }
        }
    }
    family
}

fn connect_failures(host: &HostCounters) -> Family {
    let mut family = Family::counter(
        "tcpwatch_connect_failures_total",
        "Connects that led to no connection. Reason: refused (nobody listens), timeout (no answer), unreachable (by ICMP), \
         local (given up or never sent), other",
    );
    for (reason, count) in ConnectFailure::ALL.into_iter().zip(remotes::connect_failures(host)) {
        family.add(&[("reason", reason.name())], number(count));
    }
    family
}

/// Whether a socket in `state` can go to CLOSE. What is closed already does not end again.
fn can_end(state: TcpState) -> bool {
    state != TcpState::Close && EDGES.iter().any(|edge| edge.from == state && edge.to == TcpState::Close)
}

fn time_wait_entered(sample: &Sample) -> Family {
    Family::counter("tcpwatch_time_wait_entered_total", "Connections that went to TIME_WAIT")
        .only(cells(sample, cell::TIME_WAIT_ENTERED))
}

fn fin_wait2_orphaned(sample: &Sample) -> Family {
    Family::counter(
        "tcpwatch_fin_wait2_orphaned_total",
        "Connections that this host closed while the peer did not, and that nobody owns any more",
    )
    .only(cells(sample, cell::FIN_WAIT2_ORPHANED))
}

/// One cell of all namespaces together.
fn cells(sample: &Sample, cell: usize) -> Option<f64> {
    let sum = sample.namespaces.iter().flat_map(|namespace| &namespace.cells).map(|cells| cells[cell]).sum();
    (sample.source == SourceKind::Ebpf).then(|| number(sum))
}

fn mptcp(host: &HostCounters) -> Family {
    let mut family = Family::counter(
        "tcpwatch_mptcp_transitions_total",
        "Transitions of MPTCP connections as a whole, by the new state; their subflows are TCP sockets and counted \
         as such",
    );
    for state in TcpState::RFC {
        family.add(&[("to", state.name())], number(host.mptcp[state.index()]));
    }
    family
}
