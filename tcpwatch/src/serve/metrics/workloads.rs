//! Metrics of sockets by the process that owns them, as the last surveys found them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use tcpwatch_common::TcpState;

use super::family::{Family, number};
use crate::sample::{Group, Sample, StateCounts};

/// Processes with series of their own; the rest is one.
const PROCESSES: usize = 20;

/// Nobody owns them any more, or they never were whole sockets.
const KERNEL: &str = "kernel";
/// Somebody owns them, and it is not known who.
const UNKNOWN: &str = "unknown";
const OTHER: &str = "other";

pub(super) fn add(families: &mut Vec<Family>, sample: &Sample) {
    let surveys: Vec<_> =
        sample.namespaces.iter().filter_map(|namespace| namespace.survey.as_ref()).collect();
    if surveys.is_empty() {
        return;
    }
    let mut by_process: BTreeMap<&str, StateCounts> = BTreeMap::new();
    for group in surveys.iter().flat_map(|survey| &survey.groups) {
        let counts = by_process.entry(owner(sample, group)).or_default();
        counts[shown(group.state).index()] += group.count;
    }
    let mut ranked: Vec<_> = by_process.into_iter().collect();
    ranked.sort_by_key(|(_, counts)| Reverse(counts.iter().sum::<u64>()));
    let folded = ranked.split_off(ranked.len().min(PROCESSES));
    if !folded.is_empty() {
        let sum = |state: usize| folded.iter().map(|(_, counts)| counts[state]).sum();
        ranked.push((OTHER, std::array::from_fn(sum)));
    }
    let mut family = Family::gauge(
        "tcpwatch_workload_sockets",
        "TCP sockets by the command name of their process and by state, listeners not included, as they were when \
         they were last walked. Process kernel: nobody has them any more (orphans, TIME_WAIT) or yet (half-open \
         requests); unknown: it is not known who; other: processes with few sockets",
    );
    for (process, counts) in ranked {
        for state in TcpState::RFC.into_iter().filter(|state| *state != TcpState::Listen) {
            family.add(&[("process", process), ("state", state.name())], number(counts[state.index()]));
        }
    }
    families.push(family);
}

fn owner<'a>(sample: &'a Sample, group: &Group) -> &'a str {
    let is_mini = matches!(group.state, TcpState::TimeWait | TcpState::NewSynRecv);
    match group.pid {
        _ if group.orphan || is_mini => KERNEL,
        Some(pid) => {
            let process = sample.processes.get(&pid);
            process.and_then(|process| process.command.as_deref()).unwrap_or(UNKNOWN)
        }
        // A mini-socket that stands for FIN_WAIT2 is nobody's, a whole one somebody's.
        None if group.state == TcpState::FinWait2 => KERNEL,
        None => UNKNOWN,
    }
}

/// `ss` shows half-open requests in SYN_RECV.
fn shown(state: TcpState) -> TcpState {
    if state == TcpState::NewSynRecv { TcpState::SynRecv } else { state }
}
