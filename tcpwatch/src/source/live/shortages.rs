//! What there is no room for, from tick to tick: since when, and until when it is told.
//!
//! Some of it is known of this moment. What is only counted is told on: a socket without a place may be open for ever, so
//! that is told as long as the programs run; what went wrong with a remote is looked at for seconds, so that is told for a
//! minute after the last time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use tcpwatch_common::host::HostCounters;

use crate::kernel::{Crowd, RemotesMet};
use crate::sample::{FoldedSample, Shortage, What};

/// How long what has an end is told after it was last seen.
const TOLD: Duration = Duration::from_mins(1);

/// What one tick saw.
pub(super) struct Seen<'a> {
    pub(super) host: &'a HostCounters,
    pub(super) crowd: &'a Crowd,
    pub(super) met: &'a RemotesMet,
    pub(super) folded: &'a [FoldedSample],
    pub(super) ungrouped: u64,
    /// Connections that ended and are of no service that is told apart.
    pub(super) unplaced: u64,
}

/// What is remembered of each shortage.
#[derive(Debug, Default)]
pub(super) struct Shortages {
    known: BTreeMap<What, Known>,
}

#[derive(Debug)]
struct Known {
    since: SystemTime,
    /// What was counted when it began, and at last; and when it grew.
    first: u64,
    count: u64,
    grew: Instant,
}

impl Shortages {
    /// Takes what was seen: what is short now.
    pub(super) fn apply(&mut self, seen: &Seen<'_>, at: SystemTime, now: Instant) -> Vec<Shortage> {
        let Seen { host, crowd, met, .. } = *seen;
        let mut all = Vec::new();
        let in_turns = u64::try_from(crowd.in_turns).unwrap_or(u64::MAX);
        let crowded = crowd.most.map(|(netns, pid)| (u64::from(netns), (pid != 0).then_some(pid)));
        let noisy = most_folded(seen.folded);
        for (what, count, who) in [
            (What::Sockets, host.untracked, None),
            (What::ListenersInTurns, in_turns, crowded),
            (What::Listeners, host.listeners_untracked + crowd.forgotten, None),
            (What::Remotes, host.remotes_folded + met.remotes_lost, noisy),
            (What::Clients, met.clients_lost, None),
            (What::Groups, seen.ungrouped, None),
            (What::Services, seen.unplaced, None),
            (What::Namespaces, host.folded, None),
        ] {
            let told = match what {
                What::ListenersInTurns | What::Groups => self.of_now(what, count, at, now),
                What::Remotes | What::Clients | What::Services => self.of_late(what, count, at, now),
                What::Sockets | What::Listeners | What::Namespaces => self.of_ever(what, count, at, now),
            };
            let (netns, pid) = who.map_or((None, None), |(netns, pid)| (Some(netns), pid));
            all.extend(told.map(|(count, since)| Shortage { what, count, since, netns, pid }));
        }
        all
    }

    /// It is there while it is not 0.
    fn of_now(&mut self, what: What, count: u64, at: SystemTime, now: Instant) -> Option<(u64, SystemTime)> {
        if count == 0 {
            self.known.remove(&what);
            return None;
        }
        self.of_ever(what, count, at, now)
    }

    /// It only grows, and is there for ever.
    fn of_ever(&mut self, what: What, count: u64, at: SystemTime, now: Instant) -> Option<(u64, SystemTime)> {
        let new = Known { since: at, first: 0, count, grew: now };
        (count > 0).then(|| (count, self.known.entry(what).or_insert(new).since))
    }

    /// It only grows, and is there for a while after it did.
    fn of_late(&mut self, what: What, count: u64, at: SystemTime, now: Instant) -> Option<(u64, SystemTime)> {
        let new = Known { since: at, first: 0, count: 0, grew: now };
        let known = self.known.entry(what).or_insert(new);
        let is_told = known.count > known.first && now.saturating_duration_since(known.grew) < TOLD;
        if count > known.count {
            if !is_told {
                (known.since, known.first) = (at, known.count);
            }
            (known.count, known.grew) = (count, now);
        } else if !is_told {
            return None;
        }
        Some((known.count - known.first, known.since))
    }
}

/// Where and by whom most remotes are met that are not told apart.
fn most_folded(folded: &[FoldedSample]) -> Option<(u64, Option<u32>)> {
    let all = |one: &FoldedSample| {
        let counts = &one.counts;
        let failures: u64 = counts.failures.iter().sum();
        failures + counts.data() + counts.syn + counts.resets_sent + counts.resets_received
    };
    folded.iter().max_by_key(|one| all(one)).map(|one| (one.netns, one.pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told at each of these seconds, of (untracked, folded remotes, listeners in turns).
    fn told(seen: &[(u64, [u64; 3])]) -> Vec<Vec<(What, u64, u64)>> {
        let (start, mut shortages) = (Instant::now(), Shortages::default());
        let mut all = Vec::new();
        for (seconds, [untracked, folded, in_turns]) in seen {
            let mut host = HostCounters::from_words(&[]);
            (host.untracked, host.remotes_folded) = (*untracked, *folded);
            let crowd = Crowd { in_turns: usize::try_from(*in_turns).expect("small"), ..Crowd::default() };
            let met = RemotesMet::default();
            let seen = Seen { host: &host, crowd: &crowd, met: &met, folded: &[], ungrouped: 0, unplaced: 0 };
            let time = Duration::from_secs(*seconds);
            let now = shortages.apply(&seen, SystemTime::UNIX_EPOCH + time, start + time);
            let since = |one: &Shortage| one.since.duration_since(SystemTime::UNIX_EPOCH).expect("later");
            all.push(now.iter().map(|one| (one.what, one.count, since(one).as_secs())).collect());
        }
        all
    }

    #[test]
    fn each_is_told_as_long_as_it_may_matter() {
        use What::{ListenersInTurns, Remotes, Sockets};
        let seen = [
            (1, [0, 0, 0]),
            (2, [3, 5, 9]),
            (3, [4, 6, 8]),
            (62, [4, 6, 0]),
            (63, [4, 6, 0]),
            (90, [4, 8, 1]),
        ];
        let expected = [
            vec![],
            vec![(Sockets, 3, 2), (ListenersInTurns, 9, 2), (Remotes, 5, 2)],
            vec![(Sockets, 4, 2), (ListenersInTurns, 8, 2), (Remotes, 6, 2)],
            vec![(Sockets, 4, 2), (Remotes, 6, 2)],
            vec![(Sockets, 4, 2)],
            vec![(Sockets, 4, 2), (ListenersInTurns, 1, 90), (Remotes, 2, 90)],
        ];
        assert_eq!(told(&seen), expected);
    }

    #[test]
    fn the_noisiest_is_named() {
        let folded = |netns, pid, syn| FoldedSample {
            netns,
            pid,
            service: None,
            counts: crate::sample::RemoteCounts { syn, ..Default::default() },
        };
        assert_eq!(most_folded(&[folded(1, Some(3), 5), folded(2, Some(4), 9)]), Some((2, Some(4))));
        assert_eq!(most_folded(&[]), None);
    }
}
