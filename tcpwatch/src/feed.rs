//! Reports and findings on their way from the thread that samples to everybody who shows them, and questions on their
//! way back.
//!
//! Readers share the latest report. Who needs a figure of this moment asks for one; the sampling thread answers all
//! who asked with one sample, so that readers cannot make it work more than it would. Questions about single sockets
//! go the same way: only that thread can walk the sockets, and those that piled up share a walk.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use crate::causes::causes;
use crate::detect::Findings;
use crate::model::Report;
use crate::question::{self, Answer, Question};
use crate::source::Source;

/// How long a reader waits for a fresh report before it takes the latest.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a reader waits for an answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// Questions that share a walk: each holds its answer in memory meanwhile.
const AT_ONCE: usize = 8;

/// Why the sampling thread stops waiting.
#[derive(Debug)]
pub enum Wake {
    /// The tick is over.
    Tick,
    /// Somebody wants to know something now.
    Asked(Asked),
    /// Time to stop.
    Stop,
}

/// What is wanted of the sampling thread.
#[derive(Debug, Default)]
pub struct Asked {
    /// A report of now.
    pub report: bool,
    /// Answers, see [`Asked::answer`].
    requests: Vec<Request>,
}

/// A question, and the one who waits for the answer.
#[derive(Debug)]
struct Request {
    question: Question,
    reply: oneshot::Sender<Result<Answer, String>>,
}

#[derive(Debug)]
enum Message {
    Report,
    Request(Request),
    Stop,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    #[error("the sampling thread has ended, see the log")]
    Ended,
    #[error("no answer within {} s: the sockets are many, or the host is busy", ANSWER_PATIENCE.as_secs())]
    Late,
    #[error("cannot look at the sockets: {0}")]
    Failed(String),
}

/// What one sample gave.
#[derive(Clone, Debug)]
struct Latest {
    report: Arc<Report>,
    findings: Arc<Findings>,
    /// Of the last one that nobody had asked for.
    tick: Option<Duration>,
}

/// What the sampling thread is doing, for a person, and since when.
#[derive(Clone, Debug)]
pub struct Doing {
    pub what: String,
    pub since: Instant,
}

/// A reader's end.
#[derive(Clone, Debug)]
pub struct Feed {
    latest: watch::Receiver<Option<Latest>>,
    doing: watch::Receiver<Doing>,
    ask: mpsc::Sender<Message>,
}

/// The sampling thread's end.
#[derive(Debug)]
pub struct Publisher {
    latest: watch::Sender<Option<Latest>>,
    doing: watch::Sender<Doing>,
    asked: mpsc::Receiver<Message>,
}

/// Connects a sampling thread with its readers.
pub fn feed() -> (Publisher, Feed) {
    let (ask, asked) = mpsc::channel();
    let (latest, shown) = watch::channel(None);
    let (doing, done) = watch::channel(Doing { what: "starting".into(), since: Instant::now() });
    (Publisher { latest, doing, asked }, Feed { latest: shown, doing: done, ask })
}

impl Feed {
    /// The latest report; `None` before the first.
    pub fn latest(&self) -> Option<Arc<Report>> {
        self.latest.borrow().as_ref().map(|latest| Arc::clone(&latest.report))
    }

    /// What the sampling thread is doing: before the first report how far it has got, then what it watches through.
    pub fn doing(&self) -> Doing {
        self.doing.borrow().clone()
    }

    /// Waits for a report that was not waited for yet; false if there will be none.
    pub async fn next(&mut self) -> bool {
        self.latest.changed().await.is_ok()
    }

    /// What is wrong by the latest report, or by one a moment younger; `None` before the first.
    pub fn findings(&self) -> Option<Arc<Findings>> {
        self.latest.borrow().as_ref().map(|latest| Arc::clone(&latest.findings))
    }

    /// How long the last sample that nobody had asked for took, with all that is made of it; `None` before the first.
    pub fn tick(&self) -> Option<Duration> {
        self.latest.borrow().as_ref().and_then(|latest| latest.tick)
    }

    /// A report sampled after this call, with a census of all namespaces; the latest if none comes in time.
    pub async fn fresh(&self) -> Option<Arc<Report>> {
        let mut changes = self.latest.clone();
        changes.mark_unchanged();
        if self.ask.send(Message::Report).is_ok() {
            // An error means that the sampling thread has ended; the latest report is all there is.
            let _ = tokio::time::timeout(PATIENCE, changes.changed()).await;
        }
        self.latest()
    }

    /// The sockets as they are after this call.
    pub async fn ask(&self, question: Question) -> Result<Answer, NoAnswer> {
        self.ask_within(question, ANSWER_PATIENCE).await
    }

    async fn ask_within(&self, question: Question, patience: Duration) -> Result<Answer, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        self.ask.send(Message::Request(Request { question, reply })).map_err(|_| NoAnswer::Ended)?;
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(answer)) => answer.map_err(NoAnswer::Failed),
            Ok(Err(_)) => Err(NoAnswer::Ended),
            Err(_) => Err(NoAnswer::Late),
        }
    }

    /// Asks the sampling thread to end.
    pub fn stop(&self) {
        // It may have ended already.
        let _ = self.ask.send(Message::Stop);
    }
}

impl Publisher {
    /// `tick` is how long it took, unless somebody had asked for it: then more was looked at than at a tick.
    pub fn publish(&self, report: Report, findings: Findings, tick: Option<Duration>) {
        let (report, findings) = (Arc::new(report), Arc::new(findings));
        self.latest.send_modify(|latest| {
            let tick = tick.or_else(|| latest.as_ref()?.tick);
            *latest = Some(Latest { report, findings, tick });
        });
    }

    /// Tells readers what this thread is doing.
    pub fn doing(&self, what: String) {
        self.doing.send_replace(Doing { what, since: Instant::now() });
    }

    /// Waits for somebody to ask, at most `timeout`. What piled up is told together.
    pub fn wait(&self, timeout: Duration) -> Wake {
        let first = match self.asked.recv_timeout(timeout) {
            Ok(message) => message,
            Err(mpsc::RecvTimeoutError::Timeout) => return Wake::Tick,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Wake::Stop,
        };
        let more = std::iter::from_fn(|| self.asked.try_recv().ok());
        let mut asked = Asked::default();
        for message in std::iter::once(first).chain(more) {
            match message {
                Message::Report => asked.report = true,
                Message::Request(request) => asked.requests.push(request),
                Message::Stop => return Wake::Stop,
            }
        }
        Wake::Asked(asked)
    }
}

impl Asked {
    /// Answers all questions; those who have gone meanwhile are passed over.
    pub fn answer(&mut self, source: &mut dyn Source) {
        let mut waiting = self.requests.drain(..).filter(|request| !request.reply.is_closed()).peekable();
        while waiting.peek().is_some() {
            let (questions, replies): (Vec<_>, Vec<_>) =
                waiting.by_ref().take(AT_ONCE).map(|Request { question, reply }| (question, reply)).unzip();
            // Who does not wait any longer needs no answer.
            match question::answer(source, &questions) {
                Ok(answers) => replies.into_iter().zip(answers).for_each(|(reply, answer)| {
                    let _ = reply.send(Ok(answer));
                }),
                Err(error) => replies.into_iter().for_each(|reply| {
                    let _ = reply.send(Err(causes(&error)));
                }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;
    use crate::host::netns::NetnsError;
    use crate::host::processes::Processes;
    use crate::model::Model;
    use crate::model::testing::sample_at;
    use crate::sample::{Sample, SocketSample};
    use crate::source::SourceError;

    /// A source that cannot look at sockets.
    struct Deaf(Processes);

    impl Source for Deaf {
        fn sample(&mut self, _census: bool) -> Result<Sample, SourceError> {
            Ok(sample_at(1.0, 1))
        }

        fn sockets(
            &mut self,
            _is_wanted: &dyn Fn(u64) -> bool,
            _each: &mut dyn FnMut(&SocketSample),
        ) -> Result<Vec<String>, SourceError> {
            Err(NetnsError::Gone { inode: 1, path: "/gone".into() }.into())
        }

        fn processes(&mut self) -> &mut Processes {
            &mut self.0
        }
    }

    /// A source that nobody may ask.
    struct Unused;

    impl Source for Unused {
        fn sample(&mut self, _census: bool) -> Result<Sample, SourceError> {
            panic!("nobody wants a sample")
        }

        fn sockets(
            &mut self,
            _is_wanted: &dyn Fn(u64) -> bool,
            _each: &mut dyn FnMut(&SocketSample),
        ) -> Result<Vec<String>, SourceError> {
            panic!("nobody waits for an answer")
        }

        fn processes(&mut self) -> &mut Processes {
            panic!("nobody waits for an answer")
        }
    }

    #[tokio::test]
    async fn all_who_ask_get_one_fresh_report() {
        let (publisher, feed) = feed();
        assert!(feed.latest().is_none() && feed.findings().is_none());
        let sampler = std::thread::spawn(move || {
            let mut model = Model::default();
            let mut samples = 0;
            while let Wake::Asked(Asked { report: true, .. }) = publisher.wait(Duration::from_mins(1)) {
                samples += 1;
                publisher.publish(model.apply(sample_at(f64::from(samples), 1)), Findings::default(), None);
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
    fn the_time_of_a_tick_is_not_that_of_what_was_asked_for() {
        let (publisher, feed) = feed();
        let mut model = Model::default();
        let mut told = Vec::new();
        for (second, took) in [(1.0, None), (2.0, Some(3)), (3.0, None), (4.0, Some(5))] {
            let report = model.apply(sample_at(second, 1));
            publisher.publish(report, Findings::default(), took.map(Duration::from_millis));
            told.push(feed.tick().map(|tick| tick.as_millis()));
        }
        assert_eq!(told, [None, Some(3), Some(3), Some(5)]);
    }

    #[test]
    fn without_readers_the_sampler_stops() {
        let (publisher, feed) = feed();
        assert!(matches!(publisher.wait(Duration::ZERO), Wake::Tick));
        drop(feed);
        assert!(matches!(publisher.wait(Duration::from_mins(1)), Wake::Stop));
    }

    #[tokio::test]
    async fn questions_wait_for_the_sampling_thread() {
        let (publisher, feed) = feed();
        let question = || Question { filter: Filter::everything(), limit: 1 };
        let sampler = std::thread::spawn(move || {
            let mut source = Deaf(Processes::default());
            let Wake::Asked(mut asked) = publisher.wait(Duration::from_mins(1)) else {
                panic!("nobody asked")
            };
            assert!(!asked.report);
            asked.answer(&mut source);
        });
        let failed = feed.ask(question()).await.expect_err("the source is broken");
        assert!(failed.to_string().starts_with("cannot look at the sockets: "), "{failed}");
        sampler.join().expect("no panic");
        assert_eq!(feed.ask(question()).await, Err(NoAnswer::Ended));
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let (publisher, feed) = feed();
        let question = Question { filter: Filter::everything(), limit: 1 };
        let patience = Duration::from_millis(10);
        assert_eq!(feed.ask_within(question, patience).await, Err(NoAnswer::Late));
        let Wake::Asked(mut asked) = publisher.wait(Duration::ZERO) else { panic!("the question is lost") };
        asked.answer(&mut Unused);
    }
}
