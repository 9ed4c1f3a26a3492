//! What of the daemon's samples goes to the flight recorder, and where that is.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tcpwatch_common::event::Event;

use super::Settings;
use crate::config::{self, Values};
use crate::detect::Findings;
use crate::host;
use crate::record::{self, Change, Item, Rare, Recorder, Start};
use crate::sample::Sample;

/// Rare facts that are kept from one sample to the next; how many there were is counted by the kernel side.
const RARE_FACTS: usize = 1000;

/// Gaps and illegal transitions since the last sample.
#[derive(Clone, Debug, Default)]
pub(super) struct RareFacts(Arc<Mutex<Vec<Rare>>>);

impl RareFacts {
    pub(super) fn push(&self, event: &Event) {
        let mut facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if facts.len() < RARE_FACTS {
            facts.extend(Rare::of(event));
        }
    }

    fn take(&self) -> Vec<Rare> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The recorder, if there is to be one.
#[derive(Debug)]
pub(super) struct Recording {
    is_off: bool,
    directory: Option<PathBuf>,
    start: Start,
    rare: RareFacts,
    /// With what it was started by.
    recorder: Option<(record::Options, Recorder)>,
    /// A configuration that is not yet in the recording.
    config: Option<String>,
}

impl Recording {
    pub(super) fn new(settings: &Settings, rare: RareFacts) -> Self {
        Self {
            is_off: settings.no_record,
            directory: settings.record_directory.clone(),
            start: start(settings.tick),
            rare,
            recorder: None,
            config: None,
        }
    }

    /// Makes the directory while this process may do so anywhere, as who has started it expects.
    pub(super) fn prepare(&self, values: &Values) {
        if self.is_wanted(&values.record) {
            // What fails is tried again, and told, by who records.
            let _ = record::make_directory(&self.place(&values.record));
        }
    }

    fn is_wanted(&self, options: &record::Options) -> bool {
        !self.is_off && (options.enabled || self.directory.is_some())
    }

    fn place(&self, options: &record::Options) -> PathBuf {
        self.directory.clone().unwrap_or_else(|| options.directory())
    }

    /// Takes over a configuration.
    pub(super) fn follow(&mut self, values: &Values) {
        let options = &values.record;
        let config = config::print(values);
        if !self.is_wanted(options) {
            if self.recorder.take().is_some() {
                log::info!("recording no more, as the configuration says");
            }
            return;
        }
        if self.recorder.as_ref().is_some_and(|(known, _)| known == options) {
            self.config = Some(config);
            return;
        }
        // The old one first: it holds the directory.
        self.recorder = None;
        match Recorder::start(self.place(options), options.max_size, self.start.clone(), config) {
            Ok(recorder) => self.recorder = Some((options.clone(), recorder)),
            Err(error) => log::error!("cannot start the thread that records: {error}; nothing is recorded"),
        }
    }

    pub(super) fn take(&mut self, sample: &Arc<Sample>, findings: &Findings) {
        let rare = self.rare.take();
        let Some((_, recorder)) = &mut self.recorder else { return };
        let changes = findings.opened_now.iter().chain(&findings.closed_now).map(Change::of);
        let config = self.config.take().map(|config| (sample.at, Item::Config(config)));
        recorder.take(config.into_iter().chain(record::moment(sample, rare, changes)).collect());
    }
}

/// Who records from now on.
pub(crate) fn start(tick: Duration) -> Start {
    Start {
        began: SystemTime::now(),
        version: env!("CARGO_PKG_VERSION").into(),
        host: host::host_name(),
        kernel: Some(host::kernel_release()),
        tick,
        redacted: false,
    }
}
