//! Metrics of sockets by who owns them, as the last surveys found them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use tcpwatch_common::TcpState;

use super::family::{Family, number};
use super::owner::{OTHER, Owner, UNKNOWN};
use crate::sample::{Group, Sample, StateCounts};

/// Nobody owns them any more, or they never were whole sockets.
const KERNEL: &str = "kernel";

/// Sockets by state of each owner, those with the most first; `None` before the first survey.
pub(super) fn ranked(sample: &Sample) -> Option<Vec<(Owner, StateCounts)>> {
    let surveys: Vec<_> =
        sample.namespaces.iter().filter_map(|namespace| namespace.survey.as_ref()).collect();
    if surveys.is_empty() {
        return None;
    }
    let mut by_owner: BTreeMap<Owner, StateCounts> = BTreeMap::new();
    for group in surveys.iter().flat_map(|survey| &survey.groups) {
        let counts = by_owner.entry(owner(sample, group)).or_default();
        counts[shown(group.state).index()] += group.count;
    }
    let mut ranked: Vec<_> = by_owner.into_iter().collect();
    ranked.sort_by_key(|(_, counts)| Reverse(counts.iter().sum::<u64>()));
    Some(ranked)
}

/// The first `room` of them, and the others in one.
pub(super) fn sockets(mut ranked: Vec<(Owner, StateCounts)>, room: usize) -> Family {
    let folded = ranked.split_off(ranked.len().min(room));
    if !folded.is_empty() {
        let sum = |state: usize| folded.iter().map(|(_, counts)| counts[state]).sum();
        ranked.push((Owner::only(OTHER), std::array::from_fn(sum)));
    }
    let mut family = Family::gauge(
        "tcpwatch_workload_sockets",
        "TCP sockets by the command name of their process, its container and pod, and by state, listeners not \
         included, as they were when they were last walked. Process kernel: nobody has them any more (orphans, \
         TIME_WAIT) or yet (half-open requests); unknown: it is not known who; other: owners with few sockets",
    );
    for (owner, counts) in ranked {
        for state in TcpState::RFC.into_iter().filter(|state| *state != TcpState::Listen) {
            family.add(&owner.labels(&[], &[("state", state.name())]), number(counts[state.index()]));
        }
    }
    family
}

fn owner(sample: &Sample, group: &Group) -> Owner {
    let is_mini = matches!(group.state, TcpState::TimeWait | TcpState::NewSynRecv);
    if group.orphan || is_mini {
        return Owner::only(KERNEL);
    }
    match sample.owner(group) {
        // One of which only the container is known has no command.
        Some(process) => Owner::of(process).or_unknown(),
        None if group.pid.is_some() => Owner::only(UNKNOWN),
        // A mini-socket that stands for FIN_WAIT2 is nobody's, a whole one somebody's.
        None if group.state == TcpState::FinWait2 && group.memory.is_none() => Owner::only(KERNEL),
        None => Owner::only(UNKNOWN),
    }
}

/// `ss` shows half-open requests in SYN_RECV.
fn shown(state: TcpState) -> TcpState {
    if state == TcpState::NewSynRecv { TcpState::SynRecv } else { state }
}
