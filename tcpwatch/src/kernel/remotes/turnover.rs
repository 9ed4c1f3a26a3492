//! What a map that forgets has forgotten too early. Pure.
//!
//! It forgets what nothing happened to for longest, which is as it should be; but where much happens, entries make room for
//! others before anybody has looked at what they say.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tcpwatch_common::remote::KEY_WORDS;

/// An entry that nothing happened to for so long is not missed.
const YOUNG: Duration = Duration::from_secs(30);

type Words = [u64; KEY_WORDS];

/// Follows a map from tick to tick.
#[derive(Debug, Default)]
pub(super) struct Turnover {
    /// What each entry had counted, and when that changed.
    seen: HashMap<Words, (u64, Instant)>,
    /// Entries that were seen, ever.
    all: u64,
    /// Entries that came and went between two ticks, and those that went while they were young.
    between: u64,
    young: u64,
}

impl Turnover {
    /// Takes the entries that there are, each with the sum of its counts, and how many were made in all. `made` was read
    /// before the entries. How many were lost so far.
    pub(super) fn apply(
        &mut self,
        entries: impl Iterator<Item = (Words, u64)>,
        made: u64,
        now: Instant,
    ) -> u64 {
        let mut seen = HashMap::with_capacity(self.seen.len());
        for (key, sum) in entries {
            let before = self.seen.remove(&key);
            self.all += u64::from(before.is_none());
            let changed = before.filter(|(before, _)| *before == sum).map_or(now, |(_, changed)| changed);
            seen.insert(key, (sum, changed));
        }
        let is_young = |changed: &Instant| now.saturating_duration_since(*changed) < YOUNG;
        let gone = self.seen.values().filter(|(_, changed)| is_young(changed)).count();
        self.young += u64::try_from(gone).unwrap_or(0);
        self.seen = seen;
        self.between = self.between.max(made.saturating_sub(self.all));
        self.between + self.young
    }

    /// Whether an entry may be removed to make room.
    pub(super) fn is_idle(&self, key: &Words, now: Instant) -> bool {
        self.seen.get(key).is_some_and(|(_, changed)| now.saturating_duration_since(*changed) >= YOUNG)
    }

    /// It was removed on purpose.
    pub(super) fn forget(&mut self, key: &Words) {
        self.seen.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_too_early_is_counted_and_what_was_old_is_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let key = |number| [number, 0, 0];
        let mut map = Turnover::default();
        let mut apply = |seconds, keys: &[(u64, u64)], made| {
            map.apply(keys.iter().map(|(number, sum)| (key(*number), *sum)), made, at(seconds))
        };
        assert_eq!(apply(0, &[(1, 5), (2, 5)], 2), 0);
        assert_eq!(apply(1, &[(1, 5), (2, 6), (3, 1)], 3), 0);
        // Three came, of which two went before they were seen, and one that was young went.
        assert_eq!(apply(2, &[(1, 5), (2, 6), (4, 1)], 6), 3);
        assert_eq!(apply(60, &[(4, 2)], 6), 3, "old ones are not missed");
        assert_eq!(apply(61, &[(4, 2)], 6), 3);
        assert!(
            !map.is_idle(&key(4), at(89)) && map.is_idle(&key(4), at(90)) && !map.is_idle(&key(1), at(90))
        );
        map.forget(&key(4));
        assert_eq!(map.apply(std::iter::empty(), 6, at(61)), 3, "it was removed");
    }
}
