//! The flight recorder: writes samples in the background, so that a slow disk never keeps the daemon from sampling.
//!
//! What fails is told once and tried again; how many samples are missing is told when it works again, in the log and
//! in the recording.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::flight::Flight;
use super::{Item, RecordError, Start};
use crate::causes::causes;

/// Samples that may wait for the disk.
const WAITING: usize = 16;

/// From one try to the next while nothing can be written.
const RETRY: Duration = Duration::from_secs(5);

/// How long the end of the daemon waits for the disk.
const PATIENCE: Duration = Duration::from_secs(2);

type Items = Vec<(SystemTime, Item)>;

/// The daemon's end.
#[derive(Debug)]
pub struct Recorder {
    items: Option<SyncSender<Items>>,
    /// Disconnected when the thread has ended.
    done: Receiver<()>,
    /// Samples for which the disk was too slow.
    lost: u64,
}

impl Recorder {
    /// Records to `directory`, no more than `most` bytes. What fails is told by the log.
    pub fn start(directory: PathBuf, most: u64, start: Start, config: String) -> std::io::Result<Self> {
        let (sender, items) = mpsc::sync_channel(WAITING);
        let (is_alive, done) = mpsc::channel();
        let writer = Writer {
            directory,
            most,
            head: vec![(start.began, Item::Start(start)), (SystemTime::UNIX_EPOCH, Item::Config(config))],
            flight: None,
            failed: None,
            lost: 0,
        };
        thread::Builder::new().name("recorder".into()).spawn(move || {
            writer.run(&items);
            drop(is_alive);
        })?;
        Ok(Self { items: Some(sender), done, lost: 0 })
    }

    /// Takes what belongs to one instant. Never waits.
    pub fn take(&mut self, mut items: Items) {
        let Some(sender) = &self.items else { return };
        if self.lost > 0
            && let Some((at, _)) = items.first()
        {
            items.insert(0, (*at, Item::Lost(self.lost)));
        }
        match sender.try_send(items) {
            Ok(()) => {
                if self.lost > 0 {
                    log::warn!("the disk was too slow: {} samples are not in the recording", self.lost);
                }
                self.lost = 0;
            }
            Err(TrySendError::Full(_)) => self.lost += 1,
            // The thread has panicked, and said so.
            Err(TrySendError::Disconnected(_)) => self.items = None,
        }
    }
}

impl Drop for Recorder {
    /// Lets the thread write what it has.
    fn drop(&mut self) {
        self.items = None;
        if self.done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            log::warn!("the disk is too slow: the last samples may not be in the recording");
        }
    }
}

/// The thread's end.
#[derive(Debug)]
struct Writer {
    directory: PathBuf,
    most: u64,
    /// What begins each file: who records, and the configuration.
    head: Items,
    flight: Option<Flight>,
    /// When it was last tried in vain.
    failed: Option<Instant>,
    /// Samples that could not be written since then.
    lost: u64,
}

impl Writer {
    fn run(mut self, items: &Receiver<Items>) {
        while let Ok(items) = items.recv() {
            self.take(items);
        }
    }

    fn take(&mut self, mut items: Items) {
        let Some((at, _)) = items.first() else { return };
        let at = *at;
        // Configurations begin later files as well.
        for (_, item) in &items {
            if let (Item::Config(_), [_, config]) = (item, self.head.as_mut_slice()) {
                *config = (at, item.clone());
            }
        }
        let samples = items.iter().filter(|(_, item)| matches!(item, Item::Sample(_))).count() as u64;
        if self.failed.is_some_and(|when| when.elapsed() < RETRY) {
            self.lost += samples;
            return;
        }
        if self.lost > 0 {
            items.insert(0, (at, Item::Lost(self.lost)));
        }
        for (time, _) in &mut self.head {
            *time = at;
        }
        match self.write(&items) {
            Ok(()) => {
                if self.failed.take().is_some() {
                    let directory = self.directory.display();
                    log::info!("recording to {directory} again; {} samples are missing", self.lost);
                }
                self.lost = 0;
            }
            Err(error) => {
                if self.failed.replace(Instant::now()).is_none() {
                    let seconds = RETRY.as_secs();
                    log::warn!(
                        "not recording: {}; everything else goes on, and it is tried again every {seconds} s",
                        causes(&error)
                    );
                }
                self.lost += samples;
            }
        }
    }

    fn write(&mut self, items: &Items) -> Result<(), RecordError> {
        let flight = match &mut self.flight {
            Some(flight) => flight,
            none => {
                let flight = Flight::open(&self.directory, self.most)?;
                if self.failed.is_none() {
                    log::info!("recording to {}, at most {} MiB", self.directory.display(), self.most >> 20);
                }
                none.insert(flight)
            }
        };
        flight.write(&self.head, items)
    }
}

/// Everything of one instant, as the recorder takes it.
pub fn moment(
    sample: &Arc<crate::sample::Sample>,
    rare: impl IntoIterator<Item = super::Rare>,
    changes: impl IntoIterator<Item = super::Change>,
) -> Vec<(SystemTime, Item)> {
    let rare = rare.into_iter().map(Item::Rare);
    let changes = changes.into_iter().map(Item::Change);
    let sample_item = std::iter::once(Item::Sample(Arc::clone(sample)));
    rare.chain(sample_item).chain(changes).map(|item| (sample.at, item)).collect()
}
