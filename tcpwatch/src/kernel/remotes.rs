//! Remote ends that something went wrong with, as the kernel side counted them.

use std::cmp::Reverse;

use aya::maps::{HashMap, MapData};
use tcpwatch_common::names::map;
use tcpwatch_common::remote::{COUNTS, Counts, KEY_WORDS, Key};

use super::counters::{CountersError, open};
use super::load::Kernel;

/// Clients that are told of: a flood from forged addresses makes as many as there is room for.
const CLIENTS: usize = 256;

/// The maps of remotes, opened once.
pub struct Remotes {
    remotes: HashMap<MapData, [u64; KEY_WORDS], [u64; COUNTS]>,
    clients: HashMap<MapData, [u64; KEY_WORDS], u64>,
}

impl Remotes {
    /// Takes the maps out of the loaded object.
    pub fn open(kernel: &mut Kernel) -> Result<Self, CountersError> {
        Ok(Self {
            remotes: open!(kernel, HashMap, map::REMOTES),
            clients: open!(kernel, HashMap, map::CLIENTS),
        })
    }

    /// Every remote that is remembered. One that makes room for another while they are read is left out.
    pub fn read(&self) -> Vec<(Key, Counts)> {
        self.remotes.iter().flatten().map(|(key, counts)| (Key::from_words(&key), counts)).collect()
    }

    /// Clients to which SYN-ACKs were sent again, and how many: those with the most.
    pub fn clients(&self) -> Vec<(Key, u64)> {
        let mut all: Vec<_> = self.clients.iter().flatten().collect();
        all.sort_unstable_by_key(|(_, count)| Reverse(*count));
        all.truncate(CLIENTS);
        all.into_iter().map(|(key, count)| (Key::from_words(&key), count)).collect()
    }
}
