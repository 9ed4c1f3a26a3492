//! Keeps the service manager informed, from report to report: that the daemon works, that it lives, what is wrong, with
//! the host and with its own configuration.
//!
//! It runs beside the server and waits for the sampling thread: if either hangs, the manager hears nothing more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::notify::Manager;
use crate::config::Config;
use crate::detect::Findings;
use crate::feed::Feed;
use crate::finding::Severity;

/// Until there are no more reports.
pub async fn inform(manager: Arc<Manager>, mut feed: Feed, config: Arc<Config>, address: SocketAddr) {
    let mut told = None;
    let mut pinged = Instant::now();
    while feed.next().await {
        let refused = config.condition().and_then(|condition| condition.error);
        let watching = format!("{}, listening on http://{address}", feed.doing().what);
        let status = status(&watching, feed.findings().as_deref(), refused.as_deref());
        if told.is_none() {
            manager.ready(&status);
        } else if told.as_ref() != Some(&status) {
            manager.status(&status);
        }
        told = Some(status);
        if manager.ping_every().is_some_and(|every| pinged.elapsed() >= every) {
            manager.ping();
            pinged = Instant::now();
        }
    }
}

fn status(watching: &str, findings: Option<&Findings>, refused: Option<&str>) -> String {
    let status = match refused {
        Some(error) => format!("{watching}; {error}; the old configuration stays"),
        None => watching.to_owned(),
    };
    let open = || findings.iter().flat_map(|findings| &findings.open);
    let count = |severity| open().filter(|finding| finding.seen.severity == severity).count();
    match (count(Severity::Critical), count(Severity::Warning)) {
        (0, 0) => status,
        (critical, warning) => format!("{status}; findings: {critical} critical, {warning} warning"),
    }
}
