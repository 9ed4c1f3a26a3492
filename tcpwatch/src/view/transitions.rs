//! The transition matrix with its verdicts, and how far it drifts from the kernel's counters.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Counter, Drift, Report, Transition, rates};
use crate::sample::SourceKind;

/// `/api/v1/transitions`.
#[derive(Debug, Serialize)]
pub struct Transitions {
    pub at: String,
    /// `null` where the source sees none (no eBPF).
    pub transitions: Option<Vec<Row>>,
    /// Kernel's count less ours, by the kernel's name for the counter.
    pub drift: BTreeMap<&'static str, Option<i64>>,
}

#[derive(Debug, Serialize)]
pub struct Row {
    pub from: &'static str,
    pub to: &'static str,
    pub verdict: &'static str,
    pub reason: &'static str,
    pub count: u64,
    pub rate: Option<f64>,
}

/// The transitions of all namespaces, or of one.
pub fn transitions(report: &Report, netns: Option<u64>) -> Transitions {
    let transitions = match netns {
        None => rates::total(&report.transitions),
        Some(netns) => report.transitions.get(&netns).cloned().unwrap_or_default(),
    };
    Transitions {
        at: super::timestamp(report.sample.at),
        transitions: (report.sample.source == SourceKind::Ebpf)
            .then(|| transitions.iter().map(row).collect()),
        drift: drift(report, netns),
    }
}

/// Drift by counter, distances of all namespaces added up so that they cannot cancel each other out.
pub fn drift(report: &Report, netns: Option<u64>) -> BTreeMap<&'static str, Option<i64>> {
    let mut sums: BTreeMap<_, Option<i64>> = BTreeMap::new();
    for (inode, drifts) in &report.drift {
        if netns.is_some_and(|netns| netns != *inode) {
            continue;
        }
        for Drift { counter, drift, .. } in drifts {
            let sum = sums.entry(counter.name()).or_default();
            if let Some(drift) = drift {
                let drift = if netns.is_some() { *drift } else { drift.abs() };
                *sum = Some(sum.unwrap_or(0) + drift);
            }
        }
    }
    for counter in Counter::ALL {
        sums.entry(counter.name()).or_default();
    }
    sums
}

fn row(transition: &Transition) -> Row {
    Row {
        from: transition.from.name(),
        to: transition.to.name(),
        verdict: transition.judgement.verdict.name(),
        reason: transition.judgement.reason,
        count: transition.count,
        rate: transition.rate,
    }
}
