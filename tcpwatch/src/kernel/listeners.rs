//! Listeners as the kernel side keeps them, with their queues read at this moment.
//!
//! Each that is watched costs some microseconds at each tick, so that their number has a bound. It is shared: users of
//! namespaces get equal parts, and so do the processes of a user. Of what is too much those that nothing happens at are
//! taken out of the map and remembered here ([`parked`]); some of them are put back and looked at at each tick, and one
//! that is in use is watched again. The kernel side brings one back by itself when its SYN-ACKs are sent again.

mod parked;

use std::collections::HashMap as Known;

use aya::maps::{Array, HashMap, MapData};
use aya::programs::{ProgramError, RawTracePoint};
use aya::{RawTracePointRunOptions, TestRun as _};
use tcpwatch_common::listener::{GONE, Listener, POLLED, WORDS};
use tcpwatch_common::names::{map, program};

use super::counters::{CountersError, open};
use super::fair::{self, Claim};
use super::load::Kernel;
use parked::Parked;

/// Parked listeners that are looked at in one tick.
const TURNS: usize = 512;

/// `BPF_NOEXIST`.
const NEW: u64 = 1;

/// The map of listeners, opened once.
pub struct Listeners {
    map: HashMap<MapData, u64, [u64; WORDS]>,
    /// How many each user opened since the last tick.
    shares: HashMap<MapData, u64, u64>,
    /// Most that are watched.
    room: usize,
    watched: Known<u64, Watched>,
    parked: Parked,
    ticks: u64,
}

/// What is remembered of a listener from tick to tick.
#[derive(Clone, Copy, Debug)]
struct Watched {
    drops: u32,
    synack_retransmits: u64,
    /// The tick at which it was last in use, or met.
    used: u64,
}

/// Listeners that are not watched at each tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crowd {
    /// They are looked at in turns, one round of which takes so many ticks.
    pub in_turns: usize,
    pub ticks: usize,
    /// Not looked at at all.
    pub forgotten: u64,
    /// The namespace and the process that has the most of them.
    pub most: Option<(u32, u32)>,
}

impl Listeners {
    /// Takes the map out of the loaded object.
    pub fn open(kernel: &mut Kernel) -> Result<Self, CountersError> {
        Ok(Self {
            map: open!(kernel, HashMap, map::LISTENERS),
            shares: open!(kernel, HashMap, map::LISTENER_SHARES),
            room: usize::try_from(kernel.listeners).unwrap_or(usize::MAX),
            watched: Known::new(),
            parked: Parked::default(),
            ticks: 0,
        })
    }

    /// Every listener that is watched, each by a number that stands for it as long as it lives; read anew where this
    /// kernel can. Those that are gone are removed: they closed without an event that told of it.
    pub fn read(&mut self, kernel: &mut Kernel) -> Result<Vec<(u64, Listener)>, CountersError> {
        let error = |source| CountersError { name: map::LISTENERS, source };
        self.ticks += 1;
        self.clear_shares();
        let keys = self.map.keys().collect::<Result<Vec<u64>, _>>().map_err(error)?;
        let mut all = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(mut listener) = self.look(kernel, key) else { continue };
            // One that came back by itself, without its owner.
            let parked = self.parked.take(key).filter(|parked| parked.local_port == listener.local_port);
            if let (0, Some(parked)) = (listener.pid, parked) {
                listener.pid = parked.pid;
            }
            all.push((key, listener));
        }
        self.take_turns(kernel, &mut all);
        self.remember(&all);
        if all.len() > self.room {
            self.make_room(&mut all);
        }
        self.parked.bound();
        Ok(all)
    }

    /// Listeners that are not among those that were read last, as they were when they were looked at.
    pub fn parked(&self) -> impl Iterator<Item = &Listener> {
        self.parked.all()
    }

    pub fn crowd(&self) -> Crowd {
        let in_turns = self.parked.len();
        Crowd {
            in_turns,
            ticks: in_turns.div_ceil(TURNS),
            forgotten: self.parked.forgotten,
            most: self.parked.most(),
        }
    }

    /// Has one polled, and reads it; `None` if it is gone.
    fn look(&mut self, kernel: &mut Kernel, key: u64) -> Option<Listener> {
        // It may be closed meanwhile, or not be polled on this kernel; both show in the record.
        let polled = kernel.poll(key).is_ok();
        let mut listener = Listener::from_words(&self.map.get(&key, 0).ok()?);
        if !polled {
            listener.flags &= !POLLED;
        }
        if listener.flags & GONE != 0 {
            // An event may have been faster.
            let _ = self.map.remove(&key);
            return None;
        }
        Some(listener)
    }

    /// Looks at some of the parked ones: those that are in use stay in the map, and others as long as there is room.
    fn take_turns(&mut self, kernel: &mut Kernel, all: &mut Vec<(u64, Listener)>) {
        for (key, before) in self.parked.next(TURNS) {
            if self.map.insert(key, before.to_words(), NEW).is_err() {
                // The map is full, or there is another one by now, which the next tick reads.
                continue;
            }
            match self.look(kernel, key) {
                None => _ = self.parked.take(key),
                Some(listener) if is_in_use(&listener, before.drops, before.synack_retransmits) => {
                    self.parked.take(key);
                    all.push((key, listener));
                }
                Some(listener) if all.len() < self.room => {
                    self.parked.take(key);
                    all.push((key, listener));
                }
                Some(listener) => {
                    // Its close may have been faster.
                    let _ = self.map.remove(&key);
                    self.parked.put(key, listener);
                }
            }
        }
    }

    fn remember(&mut self, all: &[(u64, Listener)]) {
        let mut watched = Known::with_capacity(all.len());
        for (key, one) in all {
            let before = self.watched.get(key);
            let used = match before {
                Some(before) if !is_in_use(one, before.drops, before.synack_retransmits) => before.used,
                _ => self.ticks,
            };
            let Listener { drops, synack_retransmits, .. } = *one;
            watched.insert(*key, Watched { drops, synack_retransmits, used });
        }
        self.watched = watched;
    }

    /// Takes out what is too much.
    fn make_room(&mut self, all: &mut Vec<(u64, Listener)>) {
        let rank = |key: &u64| {
            let used = self.watched.get(key).map_or(self.ticks, |watched| watched.used);
            (used != self.ticks, self.ticks - used)
        };
        let claims: Vec<Claim> = all.iter().map(|(key, one)| claim(one, rank(key))).collect();
        let mut kept = fair::kept(&claims, self.room).into_iter();
        all.retain(|(key, listener)| {
            let is_kept = kept.next().unwrap_or(true);
            if !is_kept {
                // Its close may have been faster; then it is gone at its next turn.
                let _ = self.map.remove(key);
                self.watched.remove(key);
                self.parked.put(*key, *listener);
            }
            is_kept
        });
    }

    /// From now on each user of a namespace has its whole part again.
    fn clear_shares(&mut self) {
        let users: Vec<u64> = self.shares.keys().flatten().collect();
        for user in users {
            // It may have made room for another.
            let _ = self.shares.remove(&user);
        }
    }
}

/// A listener's claim to be watched.
fn claim(listener: &Listener, rank: (bool, u64)) -> Claim {
    let group = u64::from(listener.netns) << 32 | u64::from(listener.uid);
    Claim { group, part: listener.pid, rank }
}

/// Whether something waits at a listener, or something went wrong since it was looked at.
fn is_in_use(listener: &Listener, drops: u32, synack_retransmits: u64) -> bool {
    let is_waiting = listener.accept_queue > 0 || !matches!(listener.syn_queue, 0 | u32::MAX);
    is_waiting || listener.drops != drops || listener.synack_retransmits != synack_retransmits
}

impl Kernel {
    /// The fixed address from which the programs reckon where a socket is; `None` on a kernel that does not run the
    /// program that says so.
    pub(super) fn origin(&mut self) -> Option<u64> {
        self.poll(0).ok()?;
        let answers: Array<_, [u64; 2]> = Array::try_from(self.ebpf.map(map::ANSWERS)?).ok()?;
        answers.get(&0, 0).ok().map(|[_, origin]| origin).filter(|origin| *origin != 0)
    }

    /// Has the kernel side read the queues of one listener; for 0, tell its ticks.
    pub(super) fn poll(&mut self, key: u64) -> Result<(), ProgramError> {
        let Some(program) = self.ebpf.program_mut(program::POLL) else {
            return Err(ProgramError::NotLoaded);
        };
        let program: &mut RawTracePoint = program.try_into()?;
        let mut options = RawTracePointRunOptions::default();
        options.args[0] = key;
        program.test_run(options)?;
        Ok(())
    }
}
