//! The last minute of samples: what rates and growth are told from.
//!
//! Recent samples are kept closely, older ones every few seconds, so that a minute costs little memory however many
//! namespaces there are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::sample::Sample;

/// Samples that were asked for come at any time; closer ones than this are left out.
const CLOSEST: Duration = Duration::from_millis(500);
/// Up to this age every sample is kept.
const RECENT: Duration = Duration::from_secs(5);
/// Older samples are kept this far apart.
const APART: Duration = Duration::from_secs(5);
/// Older ones are forgotten.
const HORIZON: Duration = Duration::from_secs(70);

/// Samples of about a minute, never empty.
#[derive(Clone, Debug)]
pub struct Window {
    now: Arc<Sample>,
    /// From the oldest on.
    before: VecDeque<Arc<Sample>>,
}

impl Window {
    pub fn new(first: Arc<Sample>) -> Self {
        Self { now: first, before: VecDeque::new() }
    }

    /// The newest sample.
    pub fn now(&self) -> &Sample {
        &self.now
    }

    /// The youngest sample that is at least so much older than the newest.
    pub fn ago(&self, age: Duration) -> Option<&Sample> {
        let is_old = |sample: &&Arc<Sample>| self.now.elapsed.saturating_sub(sample.elapsed) >= age;
        self.before.iter().rev().find(is_old).map(AsRef::as_ref)
    }

    /// The oldest sample that is not older than this, other than the newest.
    pub fn within(&self, age: Duration) -> Option<&Sample> {
        let is_young = |sample: &&Arc<Sample>| self.now.elapsed.saturating_sub(sample.elapsed) <= age;
        self.before.iter().find(is_young).map(AsRef::as_ref)
    }

    /// The sample before the newest, at least half a second older.
    pub fn previous(&self) -> Option<&Sample> {
        self.ago(CLOSEST)
    }

    /// Samples not older than this, from the oldest on, and at least one beside the newest if there is one.
    pub fn recent(&self, age: Duration) -> impl Iterator<Item = &Sample> {
        let last = self.before.len().saturating_sub(1);
        let is_young = move |sample: &Arc<Sample>| self.now.elapsed.saturating_sub(sample.elapsed) <= age;
        let before = self.before.iter().enumerate();
        let before =
            before.filter(move |(at, sample)| *at == last || is_young(sample)).map(|(_, sample)| sample);
        before.chain([&self.now]).map(AsRef::as_ref)
    }

    /// Takes the next sample.
    pub fn push(&mut self, sample: Arc<Sample>) {
        let old = std::mem::replace(&mut self.now, sample);
        let is_apart = |last: &Arc<Sample>| old.elapsed.saturating_sub(last.elapsed) >= CLOSEST;
        if self.before.back().is_none_or(is_apart) {
            self.before.push_back(old);
        }
        self.thin();
    }

    /// Forgets what is too old, and of what is not recent all that is too close to an older one.
    fn thin(&mut self) {
        let now = self.now.elapsed;
        let mut kept: Option<Duration> = None;
        self.before.retain(|sample| {
            let age = now.saturating_sub(sample.elapsed);
            let apart = kept.is_none_or(|kept| sample.elapsed.saturating_sub(kept) >= APART);
            let stays = age <= RECENT || (age <= HORIZON && apart);
            if stays && age > RECENT {
                kept = Some(sample.elapsed);
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::sample_at;

    fn window(seconds: impl IntoIterator<Item = f64>) -> Window {
        let mut samples = seconds.into_iter().map(|at| Arc::new(sample_at(at, 1)));
        let mut window = Window::new(samples.next().expect("one"));
        samples.for_each(|sample| window.push(sample));
        window
    }

    #[test]
    fn a_minute_is_kept_in_few_samples() {
        let window = window((0..200).map(f64::from));
        assert!(window.before.len() <= 20, "{}", window.before.len());
        let seconds = |sample: Option<&Sample>| sample.map(|sample| sample.elapsed.as_secs());
        assert_eq!(window.now().elapsed.as_secs(), 199);
        assert_eq!(seconds(window.previous()), Some(198));
        assert_eq!(seconds(window.ago(Duration::from_secs(3))), Some(196));
        let minute = seconds(window.ago(Duration::from_mins(1))).expect("kept");
        assert!((130..=139).contains(&minute), "{minute}");
        assert_eq!(seconds(window.ago(Duration::from_secs(100))), None);
        let ten = seconds(window.within(Duration::from_secs(10))).expect("kept");
        assert!((189..=195).contains(&ten), "{ten}");
    }

    #[test]
    fn recent_samples_come_in_order_and_are_two_at_least() {
        let ages = |window: &Window, age| {
            window.recent(Duration::from_secs(age)).map(|sample| sample.elapsed.as_secs()).collect::<Vec<_>>()
        };
        let close = window((0..10).map(f64::from));
        assert_eq!(ages(&close, 3), [6, 7, 8, 9]);
        assert_eq!(ages(&window([0.0, 30.0, 60.0]), 3), [30, 60]);
        assert_eq!(ages(&window([1.0]), 3), [1]);
    }

    #[test]
    fn samples_close_to_each_other_count_once() {
        let window = window([1.0, 1.1, 1.2, 2.0, 2.1]);
        assert_eq!(window.previous().map(|sample| sample.elapsed), Some(Duration::from_secs(1)));
        assert!(window.before.len() <= 2);
    }
}
