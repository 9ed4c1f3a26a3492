//! What was dropped within the last seconds, from counts that only grow.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use super::data::Listener;

/// What happened so long ago does not happen now.
pub(super) const WITHIN: Duration = Duration::from_secs(10);

/// Counts of the last seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    /// By network namespace and address.
    counts: BTreeMap<(u64, String), VecDeque<(SystemTime, u64)>>,
    at: Option<SystemTime>,
}

impl Recent {
    /// Takes the next counts; those of a time before make it forget.
    pub(super) fn push(&mut self, at: SystemTime, listeners: &[Listener]) {
        if self.at.is_some_and(|before| at < before) {
            self.counts.clear();
        }
        self.at = Some(at);
        let oldest = at.checked_sub(WITHIN).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut before = std::mem::take(&mut self.counts);
        for listener in listeners {
            let key = (listener.netns, listener.local.clone());
            let mut counts = before.remove(&key).unwrap_or_default();
            // A daemon that was started anew counts anew.
            if counts.back().is_some_and(|(_, count)| *count > listener.drops) {
                counts.clear();
            }
            counts.push_back((at, listener.drops));
            // The last one before the time that counts stays: what came after it is within.
            while counts.get(1).is_some_and(|(at, _)| *at <= oldest) {
                counts.pop_front();
            }
            self.counts.insert(key, counts);
        }
    }

    /// What a listener dropped lately; 0 for one that was not seen twice.
    pub(super) fn drops(&self, listener: &Listener) -> u64 {
        let counts = self.counts.get(&(listener.netns, listener.local.clone()));
        let ends = counts.and_then(|counts| counts.front().zip(counts.back()));
        ends.map_or(0, |((_, first), (_, last))| last.saturating_sub(*first))
    }
}
