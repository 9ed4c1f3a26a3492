//! Gives the rows of namespaces that are gone to new ones.
//!
//! Rows are few and namespaces come and go with every container, so a daemon that runs for weeks would run out of
//! them. What a retired namespace had counted goes into one sum, so that the host's counters never fall.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::model::states::whole_sockets;
use crate::sample::NamespaceSample;

/// Where rows get scarce, a namespace that is gone keeps its row for so long only.
const SCARCE: Duration = Duration::from_secs(5);

/// What is known of namespaces that are gone.
#[derive(Debug)]
pub(super) struct Retired {
    /// How long nothing must have happened in a namespace.
    after: Duration,
    /// Rows there are.
    rows: usize,
    /// By generation: what had happened when it was looked at last, and since when nothing has been added.
    quiet: HashMap<u64, (NamespaceSample, Instant)>,
    /// What all that were retired had counted.
    sum: Option<NamespaceSample>,
}

impl Retired {
    pub(super) fn new(rows: u32, after: Duration) -> Self {
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        Self { after, rows, quiet: HashMap::new(), sum: None }
    }

    /// What had happened in a namespace when it was looked at last.
    pub(super) fn kept(&self, generation: u64) -> Option<&NamespaceSample> {
        self.quiet.get(&generation).map(|(sample, _)| sample)
    }

    /// Forgets namespaces that are there again, which a look for namespaces had missed.
    pub(super) fn retain(&mut self, is_gone: impl Fn(u64) -> bool) {
        self.quiet.retain(|generation, _| is_gone(*generation));
    }

    /// Whether a namespace that was not found any more has no sockets, and nothing has happened in it for long; for not
    /// quite as long if so many rows are used that they get scarce.
    pub(super) fn is_due(&mut self, namespace: &NamespaceSample, used: usize, now: Instant) -> bool {
        let after = if used > self.rows / 4 * 3 { self.after.min(SCARCE) } else { self.after };
        let (before, since) =
            self.quiet.entry(namespace.generation).or_insert_with(|| (namespace.clone(), now));
        if before.cells != namespace.cells {
            (*before, *since) = (namespace.clone(), now);
        }
        let is_empty =
            whole_sockets(namespace).is_some_and(|counts| counts.iter().sum::<u64>() == closed(&counts));
        is_empty && now.saturating_duration_since(*since) >= after
    }

    /// Keeps what a namespace had counted.
    pub(super) fn take(&mut self, namespace: NamespaceSample) {
        self.quiet.remove(&namespace.generation);
        self.sum = Some(match self.sum.take() {
            Some(sum) => add(sum, &namespace),
            None => namespace,
        });
    }

    /// `others` with all that was kept.
    pub(super) fn with(&self, others: NamespaceSample) -> NamespaceSample {
        self.sum.iter().fold(others, add)
    }
}

/// The counters of both, as those of `sum`.
fn add(mut sum: NamespaceSample, other: &NamespaceSample) -> NamespaceSample {
    for (sum, cell) in sum.cells.iter_mut().flatten().zip(other.cells.iter().flatten()) {
        *sum += cell;
    }
    for (sum, adopted) in sum.adopted.iter_mut().zip(other.adopted) {
        *sum += adopted;
    }
    sum.illegal.extend(&other.illegal);
    sum
}

/// CLOSE is counted like the others, but nobody is in it any more.
fn closed(counts: &crate::sample::StateCounts) -> u64 {
    counts[tcpwatch_common::TcpState::Close.index()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpwatch_common::{TcpState, cell, judge};

    fn gone(generation: u64, opened: u64, closed: u64) -> NamespaceSample {
        let mut cells = [0; cell::CELLS];
        let edge = |from, to| judge(from, to).cell.expect("legal");
        cells[edge(TcpState::Close, TcpState::Listen)] = opened;
        cells[edge(TcpState::Listen, TcpState::Close)] = closed;
        NamespaceSample { generation, cells: Some(cells), ..NamespaceSample::default() }
    }

    #[test]
    fn only_empty_and_quiet_namespaces_are_retired() {
        let now = Instant::now();
        let mut retired = Retired::new(8, Duration::from_mins(1));
        for second in [0, 59] {
            let now = now + Duration::from_secs(second);
            assert!(!retired.is_due(&gone(1, 2, 1), 2, now), "a listener is left");
            assert!(!retired.is_due(&gone(2, 2, 2), 2, now), "not yet");
        }
        let later = now + Duration::from_mins(1);
        assert!(!retired.is_due(&gone(1, 2, 1), 2, later), "a listener is left");
        assert!(retired.is_due(&gone(2, 2, 2), 2, later));
        assert!(!retired.is_due(&gone(2, 3, 3), 2, later), "something has happened");
        assert!(!retired.is_due(&gone(2, 3, 3), 2, later + SCARCE), "not yet again");
    }

    #[test]
    fn rows_that_get_scarce_are_given_up_sooner() {
        let now = Instant::now();
        let mut retired = Retired::new(8, Duration::from_mins(1));
        assert!(!retired.is_due(&gone(2, 2, 2), 7, now), "events may still be under way");
        assert!(!retired.is_due(&gone(2, 2, 2), 6, now + SCARCE), "there is room");
        assert!(retired.is_due(&gone(2, 2, 2), 7, now + SCARCE));
        retired.retain(|generation| generation != 2);
        assert!(retired.kept(2).is_none());
    }

    #[test]
    fn what_was_counted_stays_counted() {
        let mut retired = Retired::new(8, Duration::ZERO);
        let total = |retired: &Retired| {
            let all = retired.with(gone(0, 1, 0));
            all.cells.iter().flatten().sum::<u64>()
        };
        assert_eq!(total(&retired), 1);
        retired.take(gone(1, 2, 2));
        retired.take(gone(2, 3, 3));
        assert_eq!(total(&retired), 11);
    }
}
