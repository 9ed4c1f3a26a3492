//! The JSON API: the view types, of now or of one network namespace.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State;

use super::App;
use super::failure::Failure;
use super::query::{self, Netns};
use crate::host;
use crate::model::Report;
use crate::view::listeners::{self, Listeners};
use crate::view::overview::{self, Overview};
use crate::view::pods::{self, Pods};
use crate::view::remotes::{self, Remotes};
use crate::view::services::{self, Services};
use crate::view::sockets::{self, Sockets};
use crate::view::states::{self, States};
use crate::view::status::{self, Status};
use crate::view::transitions::{self, Transitions};

/// A report that is good enough for who looks again within a second: a daemon samples once a second, if nobody told
/// it otherwise.
const RECENT: Duration = Duration::from_millis(1500);

/// `/api/v1/status`: the latest report will do, so that it answers even if sampling is stuck.
pub(super) async fn status(State(app): State<App>, Netns(netns): Netns) -> Result<Json<Status>, Failure> {
    let report = app.feed.latest().ok_or_else(Failure::no_report)?;
    check(&report, netns, |report, netns| report.states.contains_key(&netns))?;
    let kubernetes = app.own.roster.as_ref().map(pods::kubernetes);
    let config = app.own.config.condition().map(Into::into);
    Ok(Json(Status { config, ..status::status(&report, netns, host::boot_id(), kubernetes) }))
}

/// `/api/v1/pods`: as the cluster told of them, with no sample in between.
pub(super) async fn pods(State(app): State<App>) -> Json<Pods> {
    Json(pods::pods(app.own.roster.as_ref()))
}

/// `/api/v1/states`
pub(super) async fn states(State(app): State<App>, Netns(netns): Netns) -> Result<Json<States>, Failure> {
    let report = fresh(&app, netns, |report, netns| report.states.contains_key(&netns)).await?;
    Ok(Json(states::states(&report, netns)))
}

/// `/api/v1/transitions`
pub(super) async fn transitions(
    State(app): State<App>,
    Netns(netns): Netns,
) -> Result<Json<Transitions>, Failure> {
    let report = fresh(&app, netns, |report, netns| report.transitions.contains_key(&netns)).await?;
    Ok(Json(transitions::transitions(&report, netns)))
}

/// `/api/v1/sockets`
pub(super) async fn sockets(
    State(app): State<App>,
    query::Sockets { question, netns }: query::Sockets,
) -> Result<Json<Sockets>, Failure> {
    let report = app.feed.latest().ok_or_else(Failure::no_report)?;
    check(&report, netns, |report, netns| report.states.contains_key(&netns))?;
    let answer = app.feed.ask(question).await.map_err(|error| Failure::unavailable(error.to_string()))?;
    Ok(Json(sockets::sockets(&answer)))
}

/// `/api/v1/listeners`
pub(super) async fn listeners(
    State(app): State<App>,
    Netns(netns): Netns,
) -> Result<Json<Listeners>, Failure> {
    let report = fresh(&app, netns, |report, netns| report.states.contains_key(&netns)).await?;
    Ok(Json(listeners::listeners(&report, netns)))
}

/// `/api/v1/remotes`
pub(super) async fn remotes(State(app): State<App>, Netns(netns): Netns) -> Result<Json<Remotes>, Failure> {
    let report = fresh(&app, netns, |report, netns| report.states.contains_key(&netns)).await?;
    Ok(Json(remotes::remotes(&report, netns)))
}

/// `/api/v1/services`
pub(super) async fn services(State(app): State<App>, Netns(netns): Netns) -> Result<Json<Services>, Failure> {
    let report = fresh(&app, netns, |report, netns| report.states.contains_key(&netns)).await?;
    Ok(Json(services::services(&report, netns)))
}

/// `/api/v1/overview`: asked for again and again by screens, which must not make the daemon work more than it does by
/// itself.
pub(super) async fn overview(State(app): State<App>, Netns(netns): Netns) -> Result<Json<Overview>, Failure> {
    let age =
        |report: &Arc<Report>| SystemTime::now().duration_since(report.sample.at).unwrap_or(Duration::MAX);
    let report = match app.feed.latest().filter(|report| age(report) < RECENT) {
        Some(report) => report,
        None => app.feed.fresh().await.ok_or_else(Failure::no_report)?,
    };
    check(&report, netns, |report, netns| report.states.contains_key(&netns))?;
    let found = app.feed.findings().ok_or_else(Failure::no_report)?;
    Ok(Json(overview::overview(&report, &found, netns, host::host_name())))
}

async fn fresh(
    app: &App,
    netns: Option<u64>,
    knows: impl Fn(&Report, u64) -> bool,
) -> Result<Arc<Report>, Failure> {
    let report = app.feed.fresh().await.ok_or_else(Failure::no_report)?;
    check(&report, netns, knows)?;
    Ok(report)
}

pub(super) fn check(
    report: &Report,
    netns: Option<u64>,
    knows: impl Fn(&Report, u64) -> bool,
) -> Result<(), Failure> {
    match netns {
        Some(netns) if !knows(report, netns) => Err(Failure::not_found(format!(
            "no network namespace has the inode number {netns}; /api/v1/status lists those that exist"
        ))),
        _ => Ok(()),
    }
}
