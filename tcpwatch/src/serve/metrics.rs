//! `/metrics`: one report and its findings in the text format of Prometheus.
//!
//! Everything is built from the report at the scrape; between scrapes only the [`Ledger`] is kept, so that no counter
//! falls. What the source cannot know is absent, never 0. What can happen and did not is 0, so that rates and alerts
//! work from the first event on.

mod family;
mod findings;
mod ledger;
mod listeners;
mod own;
mod owner;
mod room;
mod segments;
mod sockets;
#[cfg(test)]
mod tests;
mod trust;
mod workloads;

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;

use super::failure::Failure;
use super::{App, PodsKnown, SelfUsage, health};
use crate::config::Budget;
use crate::detect::Findings;
use crate::model::Report;
use crate::sample::SourceKind;
use family::Family;
use ledger::Ledger;
use room::Subjects;

/// What is kept from one scrape to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<Mutex<Ledger>>);

/// What [`TextEncoder`] writes.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `/metrics`
pub(super) async fn scrape(State(app): State<App>) -> Result<impl IntoResponse, Failure> {
    let fresh = app.feed.fresh().await.ok_or_else(Failure::no_report)?;
    // Old figures would look like a host at rest; a failed scrape shows as `up == 0`.
    health::check_fresh(&app, Some(&fresh))?;
    let findings = app.feed.findings().ok_or_else(Failure::no_report)?;
    let tick_seconds = app.feed.tick().map(|tick| tick.as_secs_f64());
    let pods = app.own.roster.as_ref().map(|roster| {
        let (generation, directory) = roster.latest();
        let running = (generation > 0).then_some(directory.running() as u64);
        PodsKnown { up: roster.status().up, running }
    });
    let config = app.own.config.condition().map(Into::into);
    let usage = SelfUsage { tick_seconds, config, pods, ..(app.own.usage)() };
    let budget = app.own.config.values().metrics;
    let families = {
        let mut ledger = app.kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Of two who ask at once the later one to come here must not bring older figures.
        let report = app.feed.latest().unwrap_or(fresh);
        families(&report, &findings, usage, budget, &mut ledger)
    };
    let page = encode(&families).map_err(|error| Failure::internal(error.to_string()))?;
    Ok(([(CONTENT_TYPE, FORMAT)], page))
}

/// The page as it was at a moment of a recording, when what tcpwatch itself used was not recorded.
pub fn page_of(report: &Report, findings: &Findings) -> Result<String, String> {
    page(report, findings, SelfUsage::default()).map_err(|error| error.to_string())
}

/// The first page of a daemon without a configuration.
fn page(report: &Report, findings: &Findings, usage: SelfUsage) -> prometheus::Result<String> {
    encode(&families(report, findings, usage, Budget::default(), &mut Ledger::default()))
}

fn encode(families: &[MetricFamily]) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(families)
}

/// Every metric of the page; a family without series is left out.
fn families(
    report: &Report,
    findings: &Findings,
    usage: SelfUsage,
    budget: Budget,
    ledger: &mut Ledger,
) -> Vec<MetricFamily> {
    let mut families = Vec::new();
    sockets::add(&mut families, report);
    segments::add(&mut families, &report.sample);
    families.push(listeners::unattributed(ledger, &report.listeners));
    // Without eBPF nothing is looked for, and that is not the same as nothing found.
    let looks = report.sample.source == SourceKind::Ebpf;
    families.extend(looks.then(|| findings::total(findings)));
    trust::add(&mut families, report);
    own::add(&mut families, &report.sample, usage);

    let owners = workloads::ranked(&report.sample);
    let found = findings::ranked(findings);
    let subjects = Subjects {
        listeners: report.listeners.services.len(),
        owners: owners.as_ref().map_or(0, Vec::len),
        findings: found.len(),
    };
    let fixed = families.iter().map(Family::series).sum::<usize>() + findings::NONE + own::OF_PAGE;
    let shown = subjects.shown(budget, fixed);
    families.extend(owners.map(|owners| workloads::sockets(owners, shown.owners)));
    families.extend(looks.then(|| findings::active(found, shown.findings)));
    let rows = listeners::rows(ledger, &report.listeners, shown.listeners);
    listeners::add(&mut families, &rows);
    if segments::counts_synacks(&report.sample) {
        families.push(listeners::synack_retransmits(&rows));
    }
    families.extend(own::folded(subjects, shown, budget));
    families.retain(|family| family.series() > 0);
    families.push(own::series(&families));
    families.into_iter().map(Family::into_proto).collect()
}
