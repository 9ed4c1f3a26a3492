//! Sockets by state.

use std::collections::BTreeMap;

use serde::Serialize;
use tcpwatch_common::TcpState;

use crate::model::states::total;
use crate::model::{NamespaceStates, Report};

/// `/api/v1/states` and `tcpwatch netstat -s --json`.
#[derive(Debug, Serialize)]
pub struct States {
    pub at: String,
    pub states: Counts,
    pub detail: Detail,
    pub netns: Vec<Namespace>,
    /// Why something is missing, as `/api/v1/status` has it.
    pub problems: Vec<String>,
}

/// Numbers by state, all eleven of them.
pub type Counts = serde_json::Map<String, serde_json::Value>;

#[derive(Debug, Serialize)]
pub struct Namespace {
    pub netns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub states: Counts,
    pub detail: Detail,
}

/// What the eleven numbers hide.
#[derive(Debug, Serialize)]
pub struct Detail {
    /// The part of `syn_recv` that are half-open requests.
    pub half_open: Option<u64>,
    /// The part of `fin_wait2` that are mini-sockets, owned by nobody.
    pub fin_wait2_orphaned: Option<u64>,
    /// Whether all sockets older than tcpwatch are in the numbers.
    pub complete: bool,
}

/// The states of all namespaces, or of one.
pub fn states(report: &Report, netns: Option<u64>) -> States {
    let chosen: BTreeMap<u64, NamespaceStates> = report
        .states
        .iter()
        .filter(|(inode, _)| netns.is_none_or(|netns| netns == **inode))
        .map(|(inode, states)| (*inode, states.clone()))
        .collect();
    let sum = total(&chosen);
    States {
        at: super::timestamp(report.sample.at),
        states: counts(&sum),
        detail: detail(&sum),
        problems: super::shortages::problems(&report.sample),
        netns: chosen
            .into_iter()
            .map(|(netns, states)| Namespace {
                netns,
                states: counts(&states),
                detail: detail(&states),
                name: states.name,
            })
            .collect(),
    }
}

fn counts(states: &NamespaceStates) -> Counts {
    TcpState::RFC.iter().map(|state| (state.name().into(), states.counts[state.index()].into())).collect()
}

fn detail(states: &NamespaceStates) -> Detail {
    Detail {
        half_open: states.half_open,
        fin_wait2_orphaned: states.fin_wait2_minis,
        complete: states.is_complete,
    }
}
