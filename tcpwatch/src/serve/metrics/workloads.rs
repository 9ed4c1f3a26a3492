//! Metrics of sockets by who owns them, as the last surveys found them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use tcpwatch_common::TcpState;

use super::bounds;
use super::family::{Family, number};
use super::owner::{OTHER, Owner, UNKNOWN};
use crate::sample::{Group, Sample, StateCounts};

/// Nobody owns them any more, or they never were whole sockets.
const KERNEL: &str = "kernel";

pub(super) fn add(families: &mut Vec<Family>, sample: &Sample) {
    let surveys: Vec<_> =
        sample.namespaces.iter().filter_map(|namespace| namespace.survey.as_ref()).collect();
    if surveys.is_empty() {
        return;
    }
    let mut by_owner: BTreeMap<Owner, StateCounts> = BTreeMap::new();
    for group in surveys.iter().flat_map(|survey| &survey.groups) {
        let counts = by_owner.entry(owner(sample, group)).or_default();
        counts[shown(group.state).index()] += group.count;
    }
    let mut ranked: Vec<_> = by_owner.into_iter().collect();
    ranked.sort_by_key(|(_, counts)| Reverse(counts.iter().sum::<u64>()));
    let folded = ranked.split_off(ranked.len().min(bounds::WORKLOADS));
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
    families.push(family);
}

fn owner(sample: &Sample, group: &Group) -> Owner {
    let is_mini = matches!(group.state, TcpState::TimeWait | TcpState::NewSynRecv);
    match group.pid {
        _ if group.orphan || is_mini => Owner::only(KERNEL),
        Some(pid) => {
            let process = sample.processes.get(&pid);
            process.map(|process| Owner::of(process)).unwrap_or_default().or_unknown()
        }
        // A mini-socket that stands for FIN_WAIT2 is nobody's, a whole one somebody's.
        None if group.state == TcpState::FinWait2 => Owner::only(KERNEL),
        None => Owner::only(UNKNOWN),
    }
}

/// `ss` shows half-open requests in SYN_RECV.
fn shown(state: TcpState) -> TcpState {
    if state == TcpState::NewSynRecv { TcpState::SynRecv } else { state }
}
