//! Reports and findings on their way from the thread that samples to everybody who shows them.
//!
//! Readers share the latest report. Who needs a figure of this moment asks for one; the sampling thread answers all
//! who asked with one sample, so that readers cannot make it work more than it would.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::watch;

use crate::detect::Findings;
use crate::model::Report;

/// How long a reader waits for a fresh report before it takes the latest.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the sampling thread stops waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The tick is over.
    Tick,
    /// Somebody wants a report of now.
    Asked,
    /// Time to stop.
    Stop,
}

/// What one sample gave.
#[derive(Clone, Debug)]
struct Latest {
    report: Arc<Report>,
    findings: Arc<Findings>,
}

/// A reader's end.
#[derive(Clone, Debug)]
pub struct Feed {
    latest: watch::Receiver<Option<Latest>>,
    ask: mpsc::Sender<Wake>,
}

/// The sampling thread's end.
#[derive(Debug)]
pub struct Publisher {
    latest: watch::Sender<Option<Latest>>,
    asked: mpsc::Receiver<Wake>,
}

/// Connects a sampling thread with its readers.
pub fn feed() -> (Publisher, Feed) {
    let (ask, asked) = mpsc::channel();
    let (sender, receiver) = watch::channel(None);
    (Publisher { latest: sender, asked }, Feed { latest: receiver, ask })
}

impl Feed {
    /// The latest report; `None` before the first.
    pub fn latest(&self) -> Option<Arc<Report>> {
        self.latest.borrow().as_ref().map(|latest| Arc::clone(&latest.report))
    }

    /// What is wrong by the latest report, or by one a moment younger; `None` before the first.
    pub fn findings(&self) -> Option<Arc<Findings>> {
        self.latest.borrow().as_ref().map(|latest| Arc::clone(&latest.findings))
    }

    /// A report sampled after this call, with a census of all namespaces; the latest if none comes in time.
    pub async fn fresh(&self) -> Option<Arc<Report>> {
        let mut changes = self.latest.clone();
        changes.mark_unchanged();
        if self.ask.send(Wake::Asked).is_ok() {
            // An error means that the sampling thread has ended; the latest report is all there is.
            let _ = tokio::time::timeout(PATIENCE, changes.changed()).await;
        }
        self.latest()
    }

    /// Asks the sampling thread to end.
    pub fn stop(&self) {
        // It may have ended already.
        let _ = self.ask.send(Wake::Stop);
    }
}

impl Publisher {
    pub fn publish(&self, report: Report, findings: Findings) {
        let latest = Latest { report: Arc::new(report), findings: Arc::new(findings) };
        self.latest.send_replace(Some(latest));
    }

    /// Waits for a request, at most `timeout`. Requests that piled up are answered together.
    pub fn wait(&self, timeout: Duration) -> Wake {
        let first = match self.asked.recv_timeout(timeout) {
            Ok(wake) => wake,
            Err(mpsc::RecvTimeoutError::Timeout) => return Wake::Tick,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Wake::Stop,
        };
        let more = std::iter::from_fn(|| self.asked.try_recv().ok());
        if std::iter::once(first).chain(more).any(|wake| wake == Wake::Stop) {
            Wake::Stop
        } else {
            Wake::Asked
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use crate::model::testing::sample_at;

    #[tokio::test]
    async fn all_who_ask_get_one_fresh_report() {
        let (publisher, feed) = feed();
        assert!(feed.latest().is_none() && feed.findings().is_none());
        let sampler = std::thread::spawn(move || {
            let mut model = Model::default();
            let mut samples = 0;
            while publisher.wait(Duration::from_mins(1)) == Wake::Asked {
                samples += 1;
                publisher.publish(model.apply(sample_at(f64::from(samples), 1)), Findings::default());
            }
            samples
        });
        let (a, b) = tokio::join!(feed.fresh(), feed.fresh());
        assert!(a.is_some() && b.is_some());
        feed.stop();
        assert!(sampler.join().expect("no panic") <= 2);
        assert!(feed.fresh().await.is_some() && feed.findings().is_some(), "the last report stays");
    }

    #[test]
    fn without_readers_the_sampler_stops() {
        let (publisher, feed) = feed();
        assert_eq!(publisher.wait(Duration::ZERO), Wake::Tick);
        drop(feed);
        assert_eq!(publisher.wait(Duration::from_mins(1)), Wake::Stop);
    }
}
