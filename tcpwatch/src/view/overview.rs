//! All that a screen shows at once, of one instant, in one answer.

use serde::Serialize;

use super::findings::{self, Choice, Finding};
use super::listeners::{self, Listener};
use super::owners::{self, Owned};
use super::remotes::{self, Remotes};
use super::shortages;
use super::states::{self, States};
use super::transitions::{self, Row};
use crate::detect::Findings;
use crate::model::Report;
use crate::sample::{Sample, SourceKind, What};

/// Listeners that are told: a screen does not show thousands.
const MOST: usize = 500;

/// `/api/v1/overview`, and what `tcpwatch top` shows.
#[derive(Debug, Serialize)]
pub struct Overview {
    pub at: String,
    pub host: Option<String>,
    /// `ebpf`, or `netlink` where eBPF cannot be had.
    pub source: &'static str,
    pub uptime: f64,
    /// As `/api/v1/states` has them.
    #[serde(flatten)]
    pub states: Inner,
    /// As `/api/v1/transitions` has them; `null` where the source sees none.
    pub transitions: Option<Vec<Row>>,
    /// The open ones; `null` where the source cannot find any.
    pub findings: Option<Vec<Finding>>,
    /// Those with the fullest queues and the most drops; `null` where the source cannot tell.
    pub listeners: Option<Vec<Listener>>,
    /// All of them, told or not.
    pub listeners_total: usize,
    /// The worst first.
    pub owners: Vec<Owned>,
    /// As `/api/v1/remotes` has them.
    pub remotes: Remotes,
    /// Open sockets that the table has no place for: their ages are not known.
    pub untracked: u64,
    pub problems: Vec<String>,
}

/// [`States`] without its time, which is the overview's.
#[derive(Debug, Serialize)]
pub struct Inner {
    pub states: states::Counts,
    pub detail: states::Detail,
    pub netns: Vec<Name>,
}

/// A network namespace.
#[derive(Debug, Serialize)]
pub struct Name {
    pub netns: u64,
    pub name: Option<String>,
}

/// Of all namespaces, or of one.
pub fn overview(report: &Report, found: &Findings, netns: Option<u64>, host: Option<String>) -> Overview {
    let sample = &report.sample;
    let is_ebpf = sample.source == SourceKind::Ebpf;
    let choice = Choice { netns, ..Choice::default() };
    let mut all = listeners::listeners(report, netns).listeners;
    let listeners_total = all.len();
    all.sort_by_key(|one| std::cmp::Reverse(pressure(one)));
    all.truncate(MOST);
    let States { states, detail, netns: namespaces, .. } = states::states(report, netns);
    let names = namespaces.into_iter().map(|one| Name { netns: one.netns, name: one.name });
    Overview {
        at: super::timestamp(sample.at),
        host,
        source: sample.source.name(),
        uptime: sample.elapsed.as_secs_f64(),
        states: Inner { states, detail, netns: names.collect() },
        transitions: transitions::transitions(report, netns).transitions,
        findings: is_ebpf.then(|| findings::findings(found, sample.at, choice).findings),
        listeners: is_ebpf.then_some(all),
        listeners_total,
        owners: owners::owners(report, found, netns),
        remotes: remotes::remotes(report, netns),
        untracked: placeless(sample),
        problems: shortages::problems(sample),
    }
}

fn placeless(sample: &Sample) -> u64 {
    sample.shortages.iter().find(|one| one.what == What::Sockets).map_or(0, |one| one.count)
}

/// How full its fuller queue is in thousandths, and what it dropped.
fn pressure(one: &Listener) -> (u64, u64) {
    let full = |length: Option<u64>, limit: Option<u64>| {
        length.zip(limit).map_or(0, |(length, limit)| length.saturating_mul(1000) / limit.max(1))
    };
    let accept = full(one.accept_queue.length, one.accept_queue.limit);
    let syn = full(one.syn_queue.queue.length, one.syn_queue.queue.limit);
    (accept.max(syn), one.drops.total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use crate::model::testing::{listener_at, sample_at};
    use crate::sample::ListenerSample;

    #[test]
    fn it_has_all_parts_and_the_fullest_listener_first() {
        let mut sample = sample_at(2.0, 7);
        let full = ListenerSample { accept_queue: 9, accept_limit: 8, ..listener_at(7, 81) };
        sample.listeners = vec![listener_at(7, 80), full, listener_at(8, 82)];
        let report = Model::default().apply(sample);
        let told = overview(&report, &Findings::default(), None, Some("db1".into()));
        let told = serde_json::to_value(told).expect("JSON");
        assert_eq!((&told["host"], &told["uptime"]), (&"db1".into(), &2.0.into()));
        assert_eq!(told["listeners"][0]["local"], "0.0.0.0:81");
        assert_eq!((&told["listeners_total"], &told["netns"][0]["netns"]), (&3.into(), &7.into()));
        assert_eq!(told["states"]["close_wait"], 0);
        for name in ["transitions", "findings", "owners", "problems"] {
            assert!(told[name].is_array(), "{name}");
        }
        assert!(told["remotes"]["top"].is_array());
        let one = overview(&report, &Findings::default(), Some(8), None);
        assert_eq!(one.listeners_total, 1);
    }

    #[test]
    fn without_ebpf_there_is_nothing_to_be_found() {
        let mut sample = sample_at(1.0, 7);
        sample.source = SourceKind::Netlink;
        let told = overview(&Model::default().apply(sample), &Findings::default(), None, None);
        assert!(told.findings.is_none() && told.transitions.is_none() && told.listeners.is_none());
    }
}
