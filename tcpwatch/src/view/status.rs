//! How tcpwatch itself is: what runs, what is lost, what it costs, and how its figures prove themselves.

use serde::Serialize;
use tcpwatch_common::event::Row;

use super::pods::Kubernetes;
use super::shortages::{self, Short};
use crate::config::Condition;
use crate::model::{Counter, Report};

/// `/api/v1/status`.
#[derive(Debug, Serialize)]
pub struct Status {
    pub at: String,
    pub version: &'static str,
    /// Tells whether the programs' numbers mean anything where they are read: they are those of this kernel, since it
    /// was booted.
    pub kernel: Kernel,
    /// `ebpf`, or `netlink` where eBPF cannot be had.
    pub source: &'static str,
    pub uptime: f64,
    pub programs: Vec<Program>,
    pub lost_fields: Vec<LostField>,
    pub namespaces: Vec<Namespace>,
    pub reconciliation: Vec<Identity>,
    pub ring: Ring,
    /// What was seen and could not be counted as it should be.
    pub losses: Losses,
    pub kernel_memory_bytes: Option<u64>,
    /// The configuration file; `null` if there is none.
    pub config: Option<ConfigFile>,
    /// Whether pods are known; `null` if nobody asks a cluster.
    pub kubernetes: Option<Kubernetes>,
    /// What there is no room for; findings may be missing, and `tcpwatch check` is not OK.
    pub shortages: Vec<Short>,
    /// What could not be read, and what there is no room for, in words.
    pub problems: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct ConfigFile {
    pub path: String,
    /// When what is in effect was read.
    pub read_at: String,
    /// Why what is in the file now is not in effect; `null` if it is.
    pub error: Option<String>,
}

impl From<Condition> for ConfigFile {
    fn from(config: Condition) -> Self {
        Self {
            path: config.path.display().to_string(),
            read_at: super::timestamp(config.read_at),
            error: config.error,
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Kernel {
    /// Its boot's id, different for each boot of each machine; `null` if it is not known.
    pub boot: Option<String>,
    /// Stands for the layout of the records that its iterators write.
    pub row_layout: u32,
}

#[derive(Debug, Serialize)]
pub struct Program {
    pub name: String,
    /// The kernel's number of it, as `bpftool prog` shows it.
    pub id: Option<u32>,
    pub hook: String,
    pub loaded: bool,
    pub error: Option<String>,
    /// What is lost without it, if it is not loaded.
    pub lost: Option<String>,
    pub runs: u64,
    pub nanoseconds: u64,
    pub missed: u64,
}

#[derive(Debug, Serialize)]
pub struct LostField {
    pub field: String,
    pub lost: String,
}

#[derive(Debug, Serialize)]
pub struct Namespace {
    pub netns: u64,
    pub name: Option<String>,
    pub own: bool,
    pub complete: bool,
    /// Seconds since all its sockets were counted; `null` if they never were.
    pub census_age: Option<f64>,
}

/// One identity with a counter of the kernel's, in one namespace.
#[derive(Debug, Serialize)]
pub struct Identity {
    pub netns: u64,
    pub counter: &'static str,
    pub drift: Option<i64>,
    pub uncertainty: u64,
    pub identity: &'static str,
}

/// `seen = delivered + filtered + lost + in_flight`.
#[derive(Debug, Serialize)]
pub struct Ring {
    pub seen: u64,
    pub delivered: u64,
    pub filtered: u64,
    pub lost: u64,
    pub in_flight: u64,
}

#[derive(Debug, Default, Serialize)]
pub struct Losses {
    /// Transitions that neither program counted.
    pub missed_transitions: u64,
    /// Transitions that the first program missed and another counted: not lost.
    pub recovered_transitions: u64,
    /// Events that did not follow from the socket's last known state.
    pub gaps: u64,
    /// Transitions of sockets for which the table had no place, so that their ages are not known.
    pub untracked: u64,
    /// Events of namespaces for which there was no row.
    pub folded: u64,
    /// Sockets that the last walks had no group for, so that findings and workloads lack them; `null` if there was no
    /// walk.
    pub ungrouped: Option<u64>,
}

/// The status at the time of `report`; of all namespaces, or of one. `boot` is the id of this boot.
pub fn status(
    report: &Report,
    netns: Option<u64>,
    boot: Option<String>,
    kubernetes: Option<Kubernetes>,
) -> Status {
    let chosen = |inode: u64| netns.is_none_or(|netns| netns == inode);
    let sample = &report.sample;
    Status {
        at: super::timestamp(sample.at),
        version: env!("CARGO_PKG_VERSION"),
        kernel: Kernel { boot, row_layout: Row::LAYOUT },
        source: sample.source.name(),
        uptime: sample.elapsed.as_secs_f64(),
        programs: programs(report),
        lost_fields: sample
            .lost_fields
            .iter()
            .map(|(field, lost)| LostField { field: field.clone(), lost: lost.clone() })
            .collect(),
        namespaces: namespaces(report, chosen),
        reconciliation: identities(report, chosen),
        ring: Ring {
            seen: sample.ring.seen,
            delivered: sample.ring.delivered,
            filtered: sample.ring.filtered,
            lost: sample.ring.lost,
            in_flight: sample.ring.in_flight(),
        },
        losses: losses(report),
        kernel_memory_bytes: sample.kernel_memory,
        config: None,
        kubernetes,
        shortages: shortages::shortages(sample),
        problems: shortages::problems(sample),
    }
}

fn programs(report: &Report) -> Vec<Program> {
    report
        .sample
        .programs
        .iter()
        .map(|program| Program {
            name: program.name.clone(),
            id: program.id,
            hook: program.hook.clone(),
            loaded: program.error.is_none(),
            error: program.error.clone(),
            lost: program.error.is_some().then(|| program.lost.clone()).flatten(),
            runs: program.runs,
            nanoseconds: program.nanoseconds,
            missed: program.missed,
        })
        .collect()
}

fn namespaces(report: &Report, chosen: impl Fn(u64) -> bool) -> Vec<Namespace> {
    let sample = &report.sample;
    sample
        .namespaces
        .iter()
        .filter(|namespace| namespace.is_alive && chosen(namespace.inode))
        .map(|namespace| Namespace {
            netns: namespace.inode,
            name: namespace.name.clone(),
            own: namespace.is_own,
            complete: namespace.is_complete,
            census_age: namespace
                .census
                .as_ref()
                .map(|census| sample.elapsed.saturating_sub(census.elapsed).as_secs_f64()),
        })
        .collect()
}

fn identities(report: &Report, chosen: impl Fn(u64) -> bool) -> Vec<Identity> {
    let drifts = report.drift.iter().flat_map(|(netns, drifts)| drifts.iter().map(|drift| (*netns, drift)));
    drifts
        .filter(|(netns, _)| chosen(*netns))
        .map(|(netns, drift)| Identity {
            netns,
            counter: drift.counter.name(),
            drift: drift.drift,
            uncertainty: drift.uncertainty,
            identity: Counter::explanation(drift.counter),
        })
        .collect()
}

fn losses(report: &Report) -> Losses {
    report.sample.host.as_ref().map_or_else(Losses::default, |host| Losses {
        missed_transitions: report.sample.missed_transitions(),
        recovered_transitions: host.nested,
        gaps: host.gaps,
        untracked: host.untracked,
        folded: host.folded,
        ungrouped: report.sample.ungrouped(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tcpwatch_common::host::HostCounters;

    use super::*;
    use crate::model::Model;
    use crate::model::testing::sample_at;
    use crate::sample::{NamespaceSample, Survey};

    #[test]
    fn sockets_without_a_group_are_told_of_all_namespaces_that_are_there() {
        let survey = |folded| Some(Arc::new(Survey { folded, ..Survey::default() }));
        let space = |is_alive, survey| NamespaceSample { is_alive, survey, ..NamespaceSample::default() };
        for (namespaces, expected) in [
            (vec![], None),
            (vec![space(true, None)], None),
            (vec![space(true, survey(0)), space(true, None)], Some(0)),
            (vec![space(true, survey(3)), space(true, survey(4)), space(false, survey(9))], Some(7)),
        ] {
            let mut sample = sample_at(1.0, 7);
            sample.host = Some(Box::new(HostCounters::from_words(&[])));
            sample.namespaces = namespaces;
            let status = status(&Model::default().apply(sample), None, None, None);
            assert_eq!(status.losses.ungrouped, expected);
        }
    }
}
