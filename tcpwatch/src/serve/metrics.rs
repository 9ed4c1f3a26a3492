//! `/metrics`: one report and its findings in the text format of Prometheus.
//!
//! Everything is built from the report at the scrape; no state is kept between scrapes. What the source cannot know
//! is absent, never 0. What can happen and did not is 0, so that rates and alerts work from the first event on.

mod bounds;
mod family;
mod findings;
mod listeners;
mod own;
mod owner;
mod segments;
mod sockets;
#[cfg(test)]
mod tests;
mod trust;
mod workloads;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;

use super::failure::Failure;
use super::{App, PodsKnown, SelfUsage, health};
use crate::detect::Findings;
use crate::model::Report;
use family::Family;

/// What [`TextEncoder`] writes.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `/metrics`
pub(super) async fn scrape(State(app): State<App>) -> Result<impl IntoResponse, Failure> {
    let report = app.feed.fresh().await.ok_or_else(Failure::no_report)?;
    // Old figures would look like a host at rest; a failed scrape shows as `up == 0`.
    health::check_fresh(&app, Some(&report))?;
    let findings = app.feed.findings().ok_or_else(Failure::no_report)?;
    let tick_seconds = app.feed.took().map(|took| took.as_secs_f64());
    let pods = app.own.roster.as_ref().map(|roster| {
        let (generation, directory) = roster.latest();
        let running = (generation > 0).then_some(directory.running() as u64);
        PodsKnown { up: roster.status().up, running }
    });
    let config = app.own.config.condition().map(Into::into);
    let usage = SelfUsage { tick_seconds, config, pods, ..(app.own.usage)() };
    let page = page(&report, &findings, usage).map_err(|error| Failure::internal(error.to_string()))?;
    Ok(([(CONTENT_TYPE, FORMAT)], page))
}

/// The page as it was at a moment of a recording, when what tcpwatch itself used was not recorded.
pub fn page_of(report: &Report, findings: &Findings) -> Result<String, String> {
    page(report, findings, SelfUsage::default()).map_err(|error| error.to_string())
}

fn page(report: &Report, findings: &Findings, usage: SelfUsage) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(&families(report, findings, usage))
}

/// Every metric of the page; a family without series is left out.
fn families(report: &Report, findings: &Findings, usage: SelfUsage) -> Vec<MetricFamily> {
    let mut families = Vec::new();
    sockets::add(&mut families, report);
    workloads::add(&mut families, &report.sample);
    segments::add(&mut families, report);
    listeners::add(&mut families, report);
    findings::add(&mut families, findings);
    trust::add(&mut families, report);
    own::add(&mut families, &report.sample, usage);
    families.retain(|family| family.series() > 0);
    families.push(own::series(&families));
    families.into_iter().map(Family::into_proto).collect()
}
