//! Listeners that nothing happens at, while there are more than can be watched: remembered here, and looked at in turns.

use std::collections::BTreeMap;
use std::ops::Bound;

use tcpwatch_common::listener::Listener;

use super::super::fair;
use super::claim;

/// Listeners that are remembered; about 100 bytes each.
const MOST: usize = 1 << 16;

/// By key, as they were when they were last looked at.
#[derive(Debug, Default)]
pub(super) struct Parked {
    all: BTreeMap<u64, Listener>,
    /// The one that was looked at last.
    last: u64,
    /// Those that there was no room for here either.
    pub(super) forgotten: u64,
}

impl Parked {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Listener> {
        self.all.values()
    }

    pub(super) fn put(&mut self, key: u64, listener: Listener) {
        self.all.insert(key, listener);
    }

    pub(super) fn take(&mut self, key: u64) -> Option<Listener> {
        self.all.remove(&key)
    }

    /// The next ones, each of them once.
    pub(super) fn next(&mut self, count: usize) -> Vec<(u64, Listener)> {
        let after = self.all.range((Bound::Excluded(self.last), Bound::Unbounded));
        let next: Vec<_> =
            after.chain(self.all.range(..=self.last)).take(count).map(|(key, one)| (*key, *one)).collect();
        self.last = next.last().map_or(0, |(key, _)| *key);
        next
    }

    /// Forgets what is too much.
    pub(super) fn bound(&mut self) {
        if self.all.len() <= MOST {
            return;
        }
        let claims: Vec<_> = self.all.values().map(|one| claim(one, (false, 0))).collect();
        let mut kept = fair::kept(&claims, MOST).into_iter();
        let before = self.all.len();
        self.all.retain(|_, _| kept.next().unwrap_or(false));
        self.forgotten += u64::try_from(before - self.all.len()).unwrap_or(0);
    }

    /// The namespace and process that has the most of them.
    pub(super) fn most(&self) -> Option<(u32, u32)> {
        let mut counts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
        for one in self.all.values() {
            *counts.entry((one.netns, one.pid)).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(who, _)| who)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gets_its_turn_while_others_come_and_go() {
        let mut parked = Parked::default();
        for key in [10, 20, 30, 40, 50] {
            parked.put(key, Listener::default());
        }
        let turn = |parked: &mut Parked| parked.next(2).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!([turn(&mut parked), turn(&mut parked)], [[10, 20], [30, 40]]);
        parked.take(40);
        parked.put(45, Listener::default());
        assert_eq!([turn(&mut parked), turn(&mut parked)], [[45, 50], [10, 20]]);
        assert_eq!(parked.next(9).len(), 5, "each once");
        assert_eq!(Parked::default().next(2), []);
    }

    #[test]
    fn too_many_of_one_process_leave_the_others_alone() {
        let mut parked = Parked::default();
        for key in 1..=70_000 {
            parked.put(key, Listener { netns: 1, pid: 7, ..Listener::default() });
        }
        parked.put(70_001, Listener { netns: 1, pid: 8, uid: 1, ..Listener::default() });
        parked.bound();
        assert_eq!((parked.len(), parked.forgotten), (MOST, 70_001 - 65_536));
        assert!(parked.all().any(|one| one.pid == 8));
        assert_eq!(parked.most(), Some((1, 7)));
    }
}
