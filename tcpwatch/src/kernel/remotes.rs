//! Remote ends that something went wrong with, as the kernel side counted them.
//!
//! The kernel side gives each process, service and user a part of the map. It only counts up what each has; here that is
//! counted anew at each tick, and entries that nothing happened to are removed of those who have used up their part, so
//! that the remotes that they meet next get entries.

mod turnover;

use std::cmp::Reverse;
use std::collections::HashMap as Held;
use std::time::Instant;

use aya::maps::{HashMap, MapData};
use tcpwatch_common::host::HostCounters;
use tcpwatch_common::names::map;
use tcpwatch_common::remote::{COUNTS, Count, Counts, Holder, KEY_WORDS, Key};

use super::counters::{CountersError, open};
use super::load::Kernel;
use turnover::Turnover;

/// Clients that are told of: a flood from forged addresses makes as many as there is room for.
const CLIENTS: usize = 256;

/// The maps of remotes, opened once.
pub struct Remotes {
    entries: HashMap<MapData, [u64; KEY_WORDS], [u64; COUNTS]>,
    clients: HashMap<MapData, [u64; KEY_WORDS], u64>,
    shares: HashMap<MapData, [u32; 3], u64>,
    folded: HashMap<MapData, [u32; 3], [u64; COUNTS]>,
    /// Entries that there is room for.
    most: u32,
    seen: Turnover,
    clients_seen: Turnover,
}

/// What was read at one tick.
#[derive(Debug, Default)]
pub struct RemotesMet {
    pub remotes: Vec<(Key, Counts)>,
    /// Clients to which SYN-ACKs were sent again, and how many: those with the most.
    pub clients: Vec<(Key, u64)>,
    /// What happened with remotes that got no entry, by the process or service that met them.
    pub folded: Vec<(Holder, Counts)>,
    /// Entries that made room for others while they were young, ever since the programs run.
    pub remotes_lost: u64,
    pub clients_lost: u64,
}

impl Remotes {
    /// Takes the maps out of the loaded object.
    pub fn open(kernel: &mut Kernel) -> Result<Self, CountersError> {
        Ok(Self {
            entries: open!(kernel, HashMap, map::REMOTES),
            clients: open!(kernel, HashMap, map::CLIENTS),
            shares: open!(kernel, HashMap, map::SHARES),
            folded: open!(kernel, HashMap, map::FOLDED),
            most: kernel.remotes,
            seen: Turnover::default(),
            clients_seen: Turnover::default(),
        })
    }

    /// Every remote that is remembered. One that makes room for another while they are read is left out. `host` was read
    /// before.
    pub fn read(&mut self, host: &HostCounters) -> RemotesMet {
        let now = Instant::now();
        let remotes: Vec<_> = self.entries.iter().flatten().collect();
        let sums = remotes.iter().map(|(key, counts)| (*key, counted(counts)));
        let remotes_lost = self.seen.apply(sums, host.remotes_met, now);
        self.make_room(&remotes, now);
        let mut clients: Vec<_> = self.clients.iter().flatten().collect();
        let clients_lost = self.clients_seen.apply(clients.iter().copied(), host.clients_met, now);
        clients.sort_unstable_by_key(|(_, count)| Reverse(*count));
        clients.truncate(CLIENTS);
        let folded = self.folded.iter().flatten();
        RemotesMet {
            remotes: remotes.into_iter().map(|(key, counts)| (Key::from_words(&key), counts)).collect(),
            clients: clients.into_iter().map(|(key, count)| (Key::from_words(&key), count)).collect(),
            folded: folded.map(|(holder, counts)| (Holder::from_words(holder), counts)).collect(),
            remotes_lost,
            clients_lost,
        }
    }

    /// Tells the kernel side how many entries each has, less those that are removed.
    fn make_room(&mut self, remotes: &[([u64; KEY_WORDS], Counts)], now: Instant) {
        let mut held: Held<Holder, u64> = Held::new();
        for (key, counts) in remotes {
            for holder in holders(key, counts) {
                *held.entry(holder).or_default() += 1;
            }
        }
        for (key, counts) in remotes {
            let both = holders(key, counts);
            let is_full = both.iter().any(|one| held.get(one).is_some_and(|has| *has >= one.most(self.most)));
            if is_full && self.seen.is_idle(key, now) && self.entries.remove(key).is_ok() {
                self.seen.forget(key);
                for holder in both {
                    held.entry(holder).and_modify(|has| *has -= 1);
                }
            }
        }
        let known: Vec<_> = self.shares.iter().flatten().collect();
        for (words, count) in known {
            let has = held.get(&Holder::from_words(words)).copied().unwrap_or(0);
            // What has made room for another meanwhile needs no correction, and at worst one gets a place too many.
            let _ = match has {
                0 => self.shares.remove(&words),
                _ if has != count => self.shares.insert(words, has, 0),
                _ => Ok(()),
            };
        }
    }
}

fn holders(key: &[u64; KEY_WORDS], counts: &Counts) -> [Holder; 2] {
    let half = |what: Count| u32::try_from(counts[what as usize]).unwrap_or(u32::MAX);
    Holder::of(&Key::from_words(key), half(Count::Pid), half(Count::Uid))
}

/// All that is counted in an entry.
fn counted(counts: &Counts) -> u64 {
    counts[..Count::Pid as usize].iter().sum()
}
