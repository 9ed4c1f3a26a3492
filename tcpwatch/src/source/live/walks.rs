//! How much of one sample goes to walks of sockets.
//!
//! A walk costs 10 to 30 ms in every namespace, however few sockets are in it: the kernel looks at its whole table of
//! connections. With hundreds of namespaces that would be seconds, so each sample makes some of the walks that are due
//! and the next one goes on from there.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// No walk is begun after so much time of one sample; one is always made.
const AT_A_TICK: Duration = Duration::from_millis(100);
/// The same if somebody asked for a census.
const ASKED: Duration = Duration::from_millis(500);

/// A census without being asked may take this part of the time: one in so many.
const CENSUS_SHARE: u32 = 200;

/// The walks of one sample, and those that are left for the next.
#[derive(Debug)]
pub(super) struct Walks {
    most: Duration,
    spent: Duration,
    /// The first namespace that was due and had no time left: the next sample begins with it.
    refused: Option<u64>,
    first: u64,
    /// Namespaces that the present census has still to count.
    left: BTreeSet<u64>,
    cost: Duration,
    due: Instant,
}

impl Walks {
    pub(super) fn new(now: Instant) -> Self {
        let (most, none) = (AT_A_TICK, Duration::ZERO);
        Self { most, spent: none, refused: None, first: 0, left: BTreeSet::new(), cost: none, due: now }
    }

    /// A sample begins.
    pub(super) fn begin(&mut self, now: Instant, asked: bool, namespaces: impl Iterator<Item = u64>) {
        self.most = if asked { ASKED } else { AT_A_TICK };
        self.spent = Duration::ZERO;
        self.first = self.refused.take().unwrap_or(0);
        if asked || (self.left.is_empty() && now >= self.due) {
            self.cost = Duration::ZERO;
            self.left = namespaces.collect();
        }
    }

    /// Whether a namespace comes after those that begin this sample.
    pub(super) fn is_late(&self, inode: u64) -> bool {
        inode < self.first
    }

    /// Whether the census has still to count this namespace.
    pub(super) fn is_left(&self, inode: u64) -> bool {
        self.left.contains(&inode)
    }

    /// Whether there is time to walk this namespace.
    pub(super) fn has_time(&mut self, inode: u64) -> bool {
        let has_time = self.spent < self.most;
        if !has_time {
            self.refused.get_or_insert(inode);
        }
        has_time
    }

    /// This namespace has been counted, at this cost.
    pub(super) fn done(&mut self, inode: u64, cost: Duration) {
        self.spent += cost;
        if self.left.remove(&inode) {
            self.cost += cost;
        }
    }

    /// A sample ends. Namespaces that are gone meanwhile are not waited for.
    pub(super) fn end(&mut self, now: Instant, is_alive: impl Fn(u64) -> bool) {
        let had = !self.left.is_empty() || self.cost > Duration::ZERO;
        self.left.retain(|inode| is_alive(*inode));
        if had && self.left.is_empty() {
            self.due = now + self.cost * CENSUS_SHARE;
            self.cost = Duration::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: Duration = Duration::from_millis(40);

    /// The namespaces of `1..=last` that one sample counts.
    fn sample(walks: &mut Walks, now: Instant, asked: bool, last: u64) -> Vec<u64> {
        walks.begin(now, asked, 1..=last);
        let (late, early): (Vec<u64>, Vec<u64>) = (1..=last).partition(|inode| walks.is_late(*inode));
        let mut counted = Vec::new();
        for inode in early.into_iter().chain(late) {
            if walks.is_left(inode) && walks.has_time(inode) {
                walks.done(inode, COST);
                counted.push(inode);
            }
        }
        walks.end(now, |inode| inode <= last);
        counted
    }

    #[test]
    fn a_census_of_many_namespaces_takes_several_samples_and_then_rests() {
        let now = Instant::now();
        let mut walks = Walks::new(now);
        let all: Vec<_> = (0..3).map(|_| sample(&mut walks, now, false, 7)).collect();
        assert_eq!(all, [vec![1, 2, 3], vec![4, 5, 6], vec![7]]);
        assert!(sample(&mut walks, now + COST * 7 * 199, false, 7).is_empty());
        assert_eq!(sample(&mut walks, now + COST * 7 * 201, false, 7), [1, 2, 3]);
    }

    #[test]
    fn who_asks_gets_more_of_it_and_those_that_are_gone_are_not_waited_for() {
        let now = Instant::now();
        let mut walks = Walks::new(now);
        assert_eq!(sample(&mut walks, now, true, 20).len(), 13);
        assert!(
            sample(&mut walks, now, false, 5).is_empty(),
            "they have been counted, and the others are gone"
        );
        assert!(!walks.is_left(14));
    }

    #[test]
    fn those_that_had_no_time_come_first_at_the_next_sample() {
        let now = Instant::now();
        let mut walks = Walks::new(now);
        walks.begin(now, false, [].into_iter());
        for inode in 1..=9 {
            if walks.has_time(inode) {
                walks.done(inode, COST);
            }
        }
        walks.end(now, |_| true);
        walks.begin(now, false, [].into_iter());
        assert!(walks.is_late(3) && !walks.is_late(4));
    }
}
