//! Whether the daemon works, for whoever would restart it, and whether its figures are whole.

use std::time::{Duration, SystemTime};

use axum::extract::State;

use super::App;
use super::failure::Failure;
use crate::model::Report;

/// A report older than this was not sampled when it should have been.
const STALE: Duration = Duration::from_secs(10);

/// `/healthz`
pub(super) async fn alive(State(app): State<App>) -> Result<&'static str, Failure> {
    let latest = app.feed.latest();
    if latest.is_none() {
        let doing = app.feed.doing();
        if doing.since.elapsed() <= STALE {
            return Ok("ok\n");
        }
        return Err(Failure::unavailable(format!("{} for {} s: see the log", doing.what, STALE.as_secs())));
    }
    if check_fresh(&app, latest.as_deref()).is_err() {
        // The tick may be longer than that: a thread that works answers when it is asked.
        check_fresh(&app, app.feed.fresh().await.as_deref())?;
    }
    Ok("ok\n")
}

/// `/readyz`
pub(super) async fn ready(State(app): State<App>) -> Result<&'static str, Failure> {
    let Some(report) = app.feed.latest() else {
        return Err(Failure::unavailable(format!("not yet: {}", app.feed.doing().what)));
    };
    match report.sample.namespaces.iter().find(|namespace| namespace.is_own) {
        Some(own) if own.is_complete => Ok("ok\n"),
        Some(_) => Err(Failure::unavailable(
            "the socket counts of tcpwatch's own network namespace are not complete: `problems` in /api/v1/status has the reason",
        )),
        None => Err(Failure::unavailable("tcpwatch's own network namespace could not be looked into")),
    }
}

/// Fails if there was no report for too long.
pub(super) fn check_fresh(app: &App, latest: Option<&Report>) -> Result<(), Failure> {
    // Before the first report, the time since the start counts: a host with many sockets needs a while.
    let latest = latest.map_or(app.started, |report| report.sample.at);
    match overdue(latest, SystemTime::now()) {
        None => Ok(()),
        Some(age) => Err(Failure::unavailable(format!(
            "no new figures for {} s: sampling fails or hangs, see the log",
            age.as_secs()
        ))),
    }
}

/// The age of the latest report if it is too old.
fn overdue(latest: SystemTime, now: SystemTime) -> Option<Duration> {
    // A clock that was set back says nothing; after the next report it does again.
    now.duration_since(latest).ok().filter(|age| *age > STALE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_overdue_after_ten_seconds() {
        let start = SystemTime::UNIX_EPOCH;
        let after = |seconds| overdue(start, start + Duration::from_secs(seconds));
        assert_eq!((after(0), after(10)), (None, None));
        assert_eq!(after(11), Some(Duration::from_secs(11)));
        assert_eq!(overdue(start + Duration::from_secs(5), start), None, "the clock was set back");
    }
}
