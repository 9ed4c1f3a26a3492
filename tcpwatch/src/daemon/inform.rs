//! Keeps the service manager informed, from report to report: that the daemon works, that it lives, what is wrong.
//!
//! It runs beside the server and waits for the sampling thread: if either hangs, the manager hears nothing more.

use std::sync::Arc;
use std::time::Instant;

use super::notify::Manager;
use crate::detect::Findings;
use crate::feed::Feed;
use crate::finding::Severity;

/// Until there are no more reports. `watching` says what the daemon does.
pub async fn inform(manager: Arc<Manager>, mut feed: Feed, watching: String) {
    let mut told = None;
    let mut pinged = Instant::now();
    while feed.next().await {
        let status = feed.findings().map_or_else(|| watching.clone(), |found| status(&watching, &found));
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

fn status(watching: &str, findings: &Findings) -> String {
    let count = |severity| findings.open.iter().filter(|finding| finding.seen.severity == severity).count();
    match (count(Severity::Critical), count(Severity::Warning)) {
        (0, 0) => watching.to_owned(),
        (critical, warning) => format!("{watching}; findings: {critical} critical, {warning} warning"),
    }
}
