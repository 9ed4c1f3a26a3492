//! Remote ends with which something goes wrong.

use serde::Serialize;

use super::owner::Owner;
use crate::model::Report;
use crate::model::remotes::Top as Ranked;
use crate::sample::{RemoteCounts, RemoteSample, Sample};
use tcpwatch_common::failure::ConnectFailure;

/// `/api/v1/remotes`.
#[derive(Debug, Serialize)]
pub struct Remotes {
    pub at: String,
    /// The time in which `count` happened.
    pub seconds: f64,
    /// By kind: `data`, `syn`, `synack` (segments sent again), `resets_sent`, `resets_received`, `connect_failures`.
    pub top: Vec<Top>,
}

/// The remotes with the most of one kind.
#[derive(Debug, Serialize)]
pub struct Top {
    pub kind: &'static str,
    pub remotes: Vec<Remote>,
    /// What the host had beyond these; `null` if it is not known, or for a single namespace.
    pub other: Option<u64>,
}

#[derive(Debug, Serialize)]
pub struct Remote {
    pub remote: String,
    /// The service's: the remote's own, or that of the listener it came to.
    pub port: u16,
    /// `client` of a service here, or `destination`.
    pub role: &'static str,
    pub netns: u64,
    pub owner: Owner,
    pub count: u64,
    pub rate: Option<f64>,
    pub totals: Totals,
}

/// Since the remote is remembered.
#[derive(Debug, Serialize)]
pub struct Totals {
    pub data: Data,
    pub syn: u64,
    pub synack: u64,
    pub resets_sent: u64,
    pub resets_received: u64,
    pub connect_failures: serde_json::Map<String, serde_json::Value>,
}

/// Data segments sent again, by why.
#[derive(Debug, Serialize)]
pub struct Data {
    pub timeout: u64,
    pub fast: u64,
    pub probe: u64,
    pub unknown: u64,
}

/// The worst remotes of all namespaces, or those of one among them.
pub fn remotes(report: &Report, netns: Option<u64>) -> Remotes {
    let remotes = &report.remotes;
    let seconds = remotes.span.as_secs_f64();
    Remotes {
        at: super::timestamp(report.sample.at),
        seconds,
        top: remotes.top.iter().map(|ranked| top(&report.sample, ranked, netns, seconds)).collect(),
    }
}

fn top(sample: &Sample, ranked: &Ranked, netns: Option<u64>, seconds: f64) -> Top {
    let chosen = ranked.remotes.iter().filter(|(one, _)| netns.is_none_or(|netns| netns == one.netns));
    Top {
        kind: ranked.kind.name(),
        remotes: chosen.map(|(one, count)| remote(sample, one, *count, seconds)).collect(),
        other: ranked.other.filter(|_| netns.is_none()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
fn remote(sample: &Sample, one: &RemoteSample, count: u64, seconds: f64) -> Remote {
    Remote {
        remote: one.address.to_canonical().to_string(),
        port: one.port,
        role: if one.is_client { "client" } else { "destination" },
        netns: one.netns,
        owner: Owner::of(one.pid.and_then(|pid| sample.processes.get(&pid))),
        count,
        rate: (seconds > 0.0).then(|| count as f64 / seconds),
        totals: totals(&one.counts),
    }
}

fn totals(counts: &RemoteCounts) -> Totals {
    let failure =
        |reason: ConnectFailure| (reason.name().to_owned(), counts.failures[reason as usize].into());
    Totals {
        data: Data { timeout: counts.timeout, fast: counts.fast, probe: counts.probe, unknown: counts.other },
        syn: counts.syn,
        synack: counts.synack,
        resets_sent: counts.resets_sent,
        resets_received: counts.resets_received,
        connect_failures: ConnectFailure::ALL.map(failure).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use crate::model::testing::sample_at;

    #[test]
    fn the_worst_are_shown_by_kind_with_rates() {
        let mut model = Model::default();
        let mut first = sample_at(1.0, 7);
        first.host = Some(Box::new(tcpwatch_common::host::HostCounters::from_words(&[])));
        let mut second = first.clone();
        second.elapsed *= 3;
        if let Some(host) = &mut second.host {
            host.resets_sent = 9;
        }
        let mut counts = RemoteCounts { resets_sent: 4, ..RemoteCounts::default() };
        counts.failures[ConnectFailure::Timeout as usize] = 2;
        second.remotes = vec![RemoteSample {
            netns: 7,
            address: "::ffff:10.0.0.9".parse().expect("an address"),
            port: 443,
            is_client: false,
            pid: None,
            counts,
        }];
        model.apply(first);
        let report = model.apply(second);
        let shown = serde_json::to_value(remotes(&report, None)).expect("JSON");
        let kinds: Vec<_> = shown["top"].as_array().expect("a list").iter().map(|top| &top["kind"]).collect();
        assert_eq!(kinds, ["data", "syn", "synack", "resets_sent", "resets_received", "connect_failures"]);
        let resets = &shown["top"][3];
        assert_eq!((&resets["other"], &resets["remotes"][0]["rate"]), (&5.into(), &2.0.into()));
        assert_eq!(resets["remotes"][0]["remote"], "10.0.0.9");
        assert_eq!(resets["remotes"][0]["role"], "destination");
        assert_eq!(resets["remotes"][0]["totals"]["connect_failures"]["timeout"], 2);
        assert_eq!(shown["top"][0]["remotes"], serde_json::json!([]));
        let other = serde_json::to_value(remotes(&report, Some(8))).expect("JSON");
        assert_eq!(other["top"][3]["remotes"], serde_json::json!([]));
        assert!(other["top"][3]["other"].is_null());
    }
}
