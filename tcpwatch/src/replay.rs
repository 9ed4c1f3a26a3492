//! A recording through the very same model and detectors that ran when it was made.
//!
//! No clock and nothing that is different from run to run: one recording always gives the same. Thresholds are those
//! that were in effect, unless others are given.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config;
use crate::detect::{Detectors, Findings, Thresholds};
use crate::model::{Model, Report};
use crate::record::{Damage, Entry, Item, Reader, RecordError, Span, Start};

/// Detectors look back a minute.
const WARM_UP: Duration = Duration::from_mins(2);

/// One instant of the recording, as the daemon had it.
#[derive(Clone, Debug)]
pub struct Moment {
    pub report: Report,
    pub findings: Findings,
}

/// What a recording has next.
#[derive(Clone, Debug)]
pub enum Step {
    Moment(Box<Moment>),
    /// Another daemon, or the same one anew: what was before is forgotten.
    Start(Start),
    /// Neither sample, nor start or configuration.
    Item(Item),
    Damage(Damage),
    /// The configuration in the recording is not one that this version understands.
    OtherConfig(String),
}

/// Steps through a recording.
#[derive(Debug)]
pub struct Replay {
    reader: Reader,
    model: Model,
    detectors: Detectors,
    thresholds: Thresholds,
    /// The thresholds were given, so those of the recording do not count.
    are_given: bool,
    /// The daemon that recorded, by when it began.
    began: Option<SystemTime>,
    at: SystemTime,
}

impl Replay {
    pub fn open(path: &Path, thresholds: Option<Thresholds>) -> Result<Self, RecordError> {
        Ok(Self {
            reader: Reader::open(path)?,
            model: Model::default(),
            detectors: Detectors::default(),
            are_given: thresholds.is_some(),
            thresholds: thresholds.unwrap_or_default(),
            began: None,
            at: SystemTime::UNIX_EPOCH,
        })
    }

    pub fn span(&self) -> Result<Span, RecordError> {
        self.reader.span()
    }

    /// See [`Reader::progress`].
    pub fn progress(&self) -> (u64, u64) {
        self.reader.progress()
    }

    /// The time of the last step.
    pub fn at(&self) -> SystemTime {
        self.at
    }

    /// Goes on two minutes before a time, so that detectors see there what they saw then. What was open before that
    /// is told as if it began there; from the beginning on everything is exact.
    pub fn seek(&mut self, time: SystemTime) -> Result<(), RecordError> {
        self.reader.seek(time.checked_sub(WARM_UP).unwrap_or(SystemTime::UNIX_EPOCH))?;
        self.forget();
        self.began = None;
        Ok(())
    }

    fn forget(&mut self) {
        self.model = Model::default();
        self.detectors = Detectors::default();
    }

    /// `None` for what nobody needs to know.
    fn item(&mut self, item: Item) -> Option<Step> {
        match item {
            Item::Sample(sample) => {
                let report = self.model.apply(Arc::unwrap_or_clone(sample));
                let findings = self.detectors.apply(&report.sample, &self.thresholds);
                Some(Step::Moment(Box::new(Moment { report, findings })))
            }
            // It is told again at the beginning of each file.
            Item::Start(start) if self.began == Some(start.began) => None,
            Item::Start(start) => {
                self.forget();
                self.began = Some(start.began);
                Some(Step::Start(start))
            }
            Item::Config(_) if self.are_given => None,
            Item::Config(text) => match config::parse(&text) {
                Ok(values) => {
                    self.thresholds = values.thresholds;
                    None
                }
                Err(problems) => {
                    let problems: Vec<_> = problems.into_iter().map(|problem| problem.reason).collect();
                    Some(Step::OtherConfig(problems.join("; ")))
                }
            },
            item => Some(Step::Item(item)),
        }
    }
}

impl Iterator for Replay {
    type Item = Result<Step, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.reader.next()? {
                Err(error) => return Some(Err(error)),
                Ok(Entry::Damage(damage)) => return Some(Ok(Step::Damage(damage))),
                Ok(Entry::Item(at, item)) => {
                    self.at = at;
                    if let Some(step) = self.item(item) {
                        return Some(Ok(step));
                    }
                }
            }
        }
    }
}
