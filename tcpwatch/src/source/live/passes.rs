//! When mini-sockets are counted, of which no event tells: half-open requests, TIME_WAIT, and FIN_WAIT2 without an owner.
//!
//! One pass over the kernel's tables counts those of all namespaces, and takes some milliseconds however few there are,
//! and a quarter of a microsecond for each. So it takes a small part of the time, and is left out where there can be none.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tcpwatch_common::sweep::Minis as Counted;
use tcpwatch_common::{TcpState, cell};

use super::Live;
use super::gone::OTHERS;
use super::living::Living;
use crate::kernel::{ConnectionsError, Sweep};
use crate::sample::{Census, Minis};

/// Passes may take this part of the time: one in so many; and if somebody asks.
const SHARE: u32 = 400;
const ASKED_SHARE: u32 = 20;

/// A chain that changed is counted twice: such a pass is made again, at most so often.
const AGAIN: usize = 2;

/// The last pass.
#[derive(Debug)]
pub(super) struct Passes {
    due: Instant,
    due_if_asked: Instant,
    /// It found half-open requests, which can outlive their listener.
    found: bool,
}

impl Passes {
    pub(super) fn new(now: Instant) -> Self {
        Self { due: now, due_if_asked: now, found: true }
    }
}

impl Live {
    /// Makes a pass if it is due, or finds that there is nothing to count. `may_have` says that a namespace has mini-sockets
    /// or may have got some.
    pub(super) fn count_minis(&mut self, living: &[Living], asked: bool, may_have: bool) {
        let Some(sweep) = self.sweep.as_mut() else { return };
        let began = Instant::now();
        if may_have || self.passes.found {
            let due = if asked { self.passes.due_if_asked } else { self.passes.due };
            if began < due {
                return;
            }
            if let Err(error) = pass(sweep, &self.hashes) {
                log::warn!("mini-sockets are not counted: {error}");
                return;
            }
            let now = Instant::now();
            let took = now - began;
            (self.passes.due, self.passes.due_if_asked) = (now + took * SHARE, now + took * ASKED_SHARE);
        } else {
            sweep.begin();
        }
        let elapsed = self.opened.elapsed();
        self.passes.found = false;
        let others = sweep.minis(cell::OVERFLOW_ROW);
        let has_others = others.half_open + others.fin_wait2 + others.time_wait > 0;
        for one in living {
            let counted = match one.row {
                Some(row) => sweep.minis(row),
                // Those of all namespaces without a row are counted together: whose they are is not known.
                None if has_others => {
                    self.census.remove(&one.inode);
                    continue;
                }
                None => Counted::default(),
            };
            self.passes.found |= counted.half_open > 0;
            self.census.insert(one.inode, census(elapsed, counted));
        }
        self.passes.found |= others.half_open > 0;
        self.census.insert(OTHERS, census(elapsed, others));
    }
}

fn census(elapsed: Duration, counted: Counted) -> Census {
    let mut counts = [0; _];
    counts[TcpState::TimeWait.index()] = counted.time_wait;
    Census {
        elapsed,
        counts,
        minis: Some(Minis { half_open: counted.half_open, fin_wait2: counted.fin_wait2 }),
    }
}

fn pass(sweep: &mut Sweep, hashes: &BTreeSet<u64>) -> Result<(), ConnectionsError> {
    for _ in 0..=AGAIN {
        sweep.begin();
        let mut strayed = 0;
        for hash in hashes {
            strayed += sweep.connections(*hash, false, &mut |_, _| false)?.strayed;
        }
        if strayed == 0 {
            break;
        }
    }
    Ok(())
}
