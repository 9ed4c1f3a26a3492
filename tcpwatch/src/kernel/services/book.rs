//! Which service has which slot, what slots held before, and who makes room. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tcpwatch_common::service::{KEPT, OTHER, Words, parts, word};

use super::{ServiceMet, ServicesMet};
use crate::kernel::fair::{self, Claim};

/// A slot that was taken is given to another after so long: a program that has found it may still add to it.
const REST: Duration = Duration::from_secs(1);

/// A service of which no connection ended for so long is not missed when it makes room.
const IDLE: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct Book {
    entries: HashMap<u64, Entry>,
    /// Slots that were taken, and when; they belong to nobody.
    resting: Vec<(u32, Instant)>,
    /// What slots held when they were put back, if they were.
    bases: HashMap<u32, Words>,
    /// What had been counted in slots that were put back.
    gone: Words,
    /// Slots given out, ever.
    given: u64,
    /// Connections of services that made room while they were in use.
    pushed_out: u64,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    slot: u32,
    /// Connections when it was looked at last, and when that changed.
    connections: u64,
    changed: Instant,
}

impl Entry {
    fn is_idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.changed) >= IDLE
    }
}

impl Book {
    pub(super) fn new() -> Self {
        Self {
            entries: HashMap::new(),
            resting: Vec::new(),
            bases: HashMap::new(),
            gone: [0; word::COUNT],
            given: 0,
            pushed_out: 0,
        }
    }

    /// Notes that a service has a slot.
    pub(super) fn note(&mut self, key: u64, slot: u32, now: Instant) {
        self.entries.entry(key).or_insert_with(|| {
            self.given += 1;
            Entry { id: self.given, slot, connections: 0, changed: now }
        });
    }

    /// What each service has counted, by what slots hold.
    pub(super) fn read(&mut self, words: impl Fn(u32) -> Words, now: Instant) -> ServicesMet {
        let Self { entries, bases, .. } = self;
        let mut services = Vec::with_capacity(entries.len());
        for (key, entry) in entries {
            let ends = since(bases.get(&entry.slot), words(entry.slot));
            if ends[word::CONNECTIONS] != entry.connections {
                (entry.connections, entry.changed) = (ends[word::CONNECTIONS], now);
            }
            services.push(ServiceMet::new(entry.id, *key, &ends));
        }
        services.sort_unstable_by_key(|service| (service.row, service.side, service.port));
        let mut other = words(OTHER);
        let unplaced = other[word::CONNECTIONS] + self.pushed_out;
        add(&mut other, &self.gone);
        for (slot, _) in &self.resting {
            add(&mut other, &since(self.bases.get(slot), words(*slot)));
        }
        ServicesMet { services, other, unplaced }
    }

    /// Services that have to make room: those that nothing ended of for longest, of namespaces with the most.
    pub(super) fn excess(&self, now: Instant) -> Vec<u64> {
        let most = usize::try_from(KEPT).unwrap_or(usize::MAX);
        if self.entries.len() <= most {
            return Vec::new();
        }
        let claim = |(key, entry): (&u64, &Entry)| {
            let age = now.saturating_duration_since(entry.changed).as_nanos();
            let rank = (entry.is_idle(now), u64::try_from(age).unwrap_or(u64::MAX));
            Claim { group: parts(*key).0.into(), part: 0, rank }
        };
        let claims: Vec<Claim> = self.entries.iter().map(claim).collect();
        let kept = fair::kept(&claims, most);
        self.entries.keys().zip(kept).filter(|(_, kept)| !kept).map(|(key, _)| *key).collect()
    }

    /// All services of a namespace.
    pub(super) fn of_row(&self, row: u32) -> Vec<u64> {
        self.entries.keys().copied().filter(|key| parts(*key).0 == row).collect()
    }

    /// Takes a service's slot from it, for which it is missed if it is `needed`.
    pub(super) fn take(&mut self, key: u64, is_needed: bool, now: Instant) {
        if let Some(entry) = self.entries.remove(&key) {
            if is_needed && !entry.is_idle(now) {
                self.pushed_out += entry.connections;
            }
            self.resting.push((entry.slot, now));
        }
    }

    /// Slots that nobody can add to any more, with what they hold now: what was counted in them is all others' from here
    /// on, and another service may have them.
    pub(super) fn put_back(&mut self, words: impl Fn(u32) -> Words, now: Instant) -> Vec<u32> {
        let is_over = |at: &Instant| now.saturating_duration_since(*at) >= REST;
        let (over, resting) = self.resting.drain(..).partition(|(_, at)| is_over(at));
        self.resting = resting;
        let over: Vec<(u32, Instant)> = over;
        for (slot, _) in &over {
            let holds = words(*slot);
            add(&mut self.gone, &since(self.bases.get(slot), holds));
            self.bases.insert(*slot, holds);
        }
        over.into_iter().map(|(slot, _)| slot).collect()
    }
}

/// What was added since the slot held `base`.
fn since(base: Option<&Words>, mut holds: Words) -> Words {
    for (holds, base) in holds.iter_mut().zip(base.into_iter().flatten()) {
        *holds = holds.wrapping_sub(*base);
    }
    holds
}

fn add(sum: &mut Words, more: &Words) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum = sum.wrapping_add(*more);
    }
}

#[cfg(test)]
mod tests {
    use tcpwatch_common::service::key;
    use tcpwatch_common::socket::PASSIVE;

    use super::*;

    /// Slots that hold so many connections each.
    fn holding(slots: &[(u32, u64)]) -> impl Fn(u32) -> Words + '_ {
        |slot| {
            let mut words = [0; word::COUNT];
            words[word::CONNECTIONS] =
                slots.iter().find(|(one, _)| *one == slot).map_or(0, |(_, count)| *count);
            words
        }
    }

    /// Connections of each service by port, and of all others; and those that had no room.
    fn told(met: &ServicesMet) -> (Vec<(u16, u64)>, u64, u64) {
        let services = met.services.iter().map(|one| (one.port, one.ends[word::CONNECTIONS]));
        (services.collect(), met.other[word::CONNECTIONS], met.unplaced)
    }

    fn of(row: u32, port: u16) -> u64 {
        key(row, PASSIVE, port, 0)
    }

    #[test]
    fn what_a_slot_held_before_is_all_others() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut book = Book::new();
        book.note(of(1, 80), 5, at(0));
        let met = book.read(holding(&[(5, 7), (OTHER, 2)]), at(0));
        assert_eq!(told(&met), (vec![(80, 7)], 2, 2));
        book.take(of(1, 80), true, at(10));
        // One that was under way ends in it.
        let met = book.read(holding(&[(5, 8), (OTHER, 2)]), at(20));
        assert_eq!(told(&met), (vec![], 10, 9));
        assert_eq!(book.put_back(holding(&[(5, 8)]), at(900)), [0; 0]);
        assert_eq!(book.put_back(holding(&[(5, 9)]), at(1010)), [5]);
        book.note(of(1, 443), 5, at(1100));
        let met = book.read(holding(&[(5, 12), (OTHER, 2)]), at(1200));
        assert_eq!(told(&met), (vec![(443, 3)], 11, 9));
        assert_eq!(met.services[0].id, 2);
    }

    #[test]
    fn the_idle_of_the_largest_make_room_and_are_not_missed() {
        let start = Instant::now();
        let later = start + IDLE;
        let mut book = Book::new();
        let most = u16::try_from(KEPT).expect("small");
        for port in 0..most {
            book.note(of(1, port), u32::from(port) + 1, start);
        }
        assert_eq!(book.excess(later), [0; 0]);
        book.note(of(2, 80), 1000, start);
        book.note(of(1, 60_000), 1001, later);
        let excess = book.excess(later);
        assert_eq!(excess.len(), 2);
        assert!(excess.iter().all(|key| parts(*key).0 == 1 && parts(*key).2 != 60_000), "{excess:?}");
        for key in excess {
            book.take(key, true, later);
        }
        assert_eq!(book.pushed_out, 0);
        assert_eq!(book.of_row(2), [of(2, 80)]);
    }
}
