//! What there is no room for, from tick to tick: since when, and until when it is told.
//!
//! Some of it is known of this moment, such as the sockets that are open and have no place. What is only counted is told on
//! after it has grown: what went wrong with a remote is looked at for seconds, so that is told for a minute; a listener or a
//! namespace that was left out may go on for long, so that is told for ten minutes, and as long as some are still left out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use tcpwatch_common::host::HostCounters;

use crate::kernel::{Crowd, RemotesMet};
use crate::sample::{FoldedSample, Shortage, What};

/// How long what has an end is told after it was last seen.
const TOLD: Duration = Duration::from_mins(1);
const TOLD_LONG: Duration = Duration::from_mins(10);

/// What one tick saw.
pub(super) struct Seen<'a> {
    pub(super) host: &'a HostCounters,
    /// Sockets older than tcpwatch that were counted in no row of their own.
    pub(super) folded_older: u64,
    pub(super) crowd: &'a Crowd,
    pub(super) met: &'a RemotesMet,
    pub(super) folded: &'a [FoldedSample],
    pub(super) ungrouped: u64,
    /// Some listeners may still be unknown.
    pub(super) unfound: bool,
    /// Some namespaces with sockets have no counters of their own.
    pub(super) unnamed: bool,
    /// Connections that ended and are of no service that is told apart.
    pub(super) unplaced: u64,
}

/// What is remembered of each shortage.
#[derive(Debug, Default)]
pub(super) struct Shortages {
    known: BTreeMap<What, Known>,
    placeless: Placeless,
}

/// Sockets that are open and have no place, by the difference of two counters.
///
/// The end of a socket that the programs never met, or that lost its place in a race, counts as that of one without a place.
/// So it is reckoned from the least that the difference has been. The counters of each CPU are read one after the other:
/// only what two ticks have seen is taken for the least.
#[derive(Debug, Default)]
struct Placeless {
    before: i64,
    least: i64,
}

impl Placeless {
    fn now(&mut self, host: &HostCounters) -> u64 {
        let now = host.placeless.wrapping_sub(host.placeless_gone).cast_signed();
        self.least = self.least.min(now.max(self.before));
        self.before = now;
        u64::try_from(now.saturating_sub(self.least)).unwrap_or(0)
    }
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
        let placeless = self.placeless.now(host);
        for (what, count, who) in [
            (What::Sockets, placeless, None),
            (What::ListenersInTurns, in_turns, crowded),
            (What::Listeners, host.listeners_untracked + crowd.forgotten, None),
            (What::Remotes, host.remotes_folded + met.remotes_lost, noisy),
            (What::Clients, met.clients_lost, None),
            (What::Groups, seen.ungrouped, None),
            (What::Services, seen.unplaced, None),
            (What::Namespaces, host.folded + seen.folded_older, None),
        ] {
            let told = match what {
                What::Sockets | What::ListenersInTurns | What::Groups => self.of_now(what, count, at, now),
                What::Remotes | What::Clients | What::Services => self.of_late(what, count, TOLD, at, now),
                What::Listeners => self.of_long(what, count, seen.unfound, at, now),
                What::Namespaces => self.of_long(what, count, seen.unnamed, at, now),
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
        let new = Known { since: at, first: 0, count, grew: now };
        Some((count, self.known.entry(what).or_insert(new).since))
    }

    /// It only grows, and is there for some time after it did, and as long as somebody suffers from it.
    fn of_long(
        &mut self,
        what: What,
        count: u64,
        is_suffered: bool,
        at: SystemTime,
        now: Instant,
    ) -> Option<(u64, SystemTime)> {
        if let Some(known) =
            self.known.get_mut(&what).filter(|known| is_suffered && known.count > known.first)
        {
            known.grew = now;
        }
        self.of_late(what, count, TOLD_LONG, at, now)
    }

    /// It only grows, and is there for a while after it did.
    fn of_late(
        &mut self,
        what: What,
        count: u64,
        told: Duration,
        at: SystemTime,
        now: Instant,
    ) -> Option<(u64, SystemTime)> {
        let new = Known { since: at, first: 0, count: 0, grew: now };
        let known = self.known.entry(what).or_insert(new);
        let is_told = known.count > known.first && now.saturating_duration_since(known.grew) < told;
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

    /// What is told at each of these seconds, of (placeless, folded remotes, listeners in turns, folded namespaces, whether
    /// one of those is left).
    fn told(seen: &[(u64, [u64; 5])]) -> Vec<Vec<(What, u64, u64)>> {
        let (start, mut shortages) = (Instant::now(), Shortages::default());
        let mut all = Vec::new();
        for (seconds, [placeless, remotes, in_turns, namespaces, left]) in seen {
            let mut host = HostCounters::from_words(&[]);
            (host.placeless, host.placeless_gone) = (100 + *placeless, 100);
            (host.remotes_folded, host.folded) = (*remotes, *namespaces);
            let crowd = Crowd { in_turns: usize::try_from(*in_turns).expect("small"), ..Crowd::default() };
            let met = RemotesMet::default();
            let seen = Seen {
                host: &host,
                folded_older: 0,
                crowd: &crowd,
                met: &met,
                folded: &[],
                ungrouped: 0,
                unplaced: 0,
                unfound: false,
                unnamed: *left > 0,
            };
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
            (1, [0, 0, 0, 0, 0]),
            (2, [3, 5, 9, 0, 0]),
            (3, [4, 6, 8, 0, 0]),
            (62, [4, 6, 0, 0, 0]),
            (63, [1, 6, 0, 0, 0]),
            (90, [0, 8, 1, 0, 0]),
        ];
        let expected = [
            vec![],
            vec![(Sockets, 3, 2), (ListenersInTurns, 9, 2), (Remotes, 5, 2)],
            vec![(Sockets, 4, 2), (ListenersInTurns, 8, 2), (Remotes, 6, 2)],
            vec![(Sockets, 4, 2), (Remotes, 6, 2)],
            vec![(Sockets, 1, 2)],
            vec![(ListenersInTurns, 1, 90), (Remotes, 2, 90)],
        ];
        assert_eq!(told(&seen), expected);
    }

    #[test]
    fn namespaces_left_out_are_told_for_ten_minutes_and_while_there_are_any() {
        use What::Namespaces;
        let seen = [
            (1, [0, 0, 0, 7, 1]),
            (700, [0, 0, 0, 7, 1]),
            (1299, [0, 0, 0, 7, 0]),
            (1300, [0, 0, 0, 7, 0]),
            (1400, [0, 0, 0, 7, 0]),
            (1500, [0, 0, 0, 9, 0]),
        ];
        let expected = [
            vec![(Namespaces, 7, 1)],
            vec![(Namespaces, 7, 1)],
            vec![(Namespaces, 7, 1)],
            vec![],
            vec![],
            vec![(Namespaces, 2, 1500)],
        ];
        assert_eq!(told(&seen), expected);
    }

    #[test]
    fn ends_of_sockets_that_nobody_met_hide_no_later_shortage() {
        let mut placeless = Placeless::default();
        let mut now = |began, ended| {
            let mut host = HostCounters::from_words(&[]);
            (host.placeless, host.placeless_gone) = (began, ended);
            placeless.now(&host)
        };
        assert_eq!([now(0, 0), now(5, 0), now(5, 5)], [0, 5, 0]);
        // One CPU's end is seen before another's beginning.
        assert_eq!([now(5, 6), now(6, 6)], [0, 0]);
        assert_eq!([now(6, 9), now(6, 9), now(8, 9), now(8, 11)], [0, 0, 2, 0]);
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
