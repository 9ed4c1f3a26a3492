//! Events that interrupt the counting of other events.
//!
//! A kernel that finds a program running on this CPU skips it: newer ones so protect programs from themselves
//! (`recursion_misses`). Many transitions are made by tasks while interrupts may run the network stack, so a busy
//! host loses transitions, in bursts of hundreds. Therefore the same code is attached twice: the first program
//! counts, and notes what it counted; the second runs right after it for the same event, and counts what was not
//! noted. An event that interrupts the one does not interrupt the other, so one of them always runs.
//!
//! The notes are a stack, as interrupts nest. When the second program was skipped, its note is left over: on top of
//! the one that it interrupted, where it goes with that, or else at the bottom, where it is dropped when the stack is
//! full. Notes of events that are under way are never dropped: there are two at the most.

use tcpwatch_common::host::{DONE, HostCounters};

/// Notes kept when the stack is full: more than can be under way.
const KEPT: usize = 3;

/// Notes that the first program has counted the event `key`.
#[inline(always)]
pub(super) fn note(first: &mut HostCounters, key: u64) {
    if first.depth >= DONE as u64 {
        first.done.copy_within(DONE - KEPT.., 0);
        first.depth = KEPT as u64;
    }
    let top = first.depth as usize & (DONE - 1);
    first.done[top] = key;
    first.depth = top as u64 + 1;
}

/// Whether the first program has counted the event `key`; forgets it, and what is left over above it.
#[inline(always)]
pub(super) fn was_noted(first: &mut HostCounters, key: u64) -> bool {
    let depth = first.depth;
    for down in 1..=DONE as u64 {
        if down > depth {
            return false;
        }
        let place = (depth - down) as usize & (DONE - 1);
        if first.done[place] == key {
            first.depth = place as u64;
            return true;
        }
    }
    false
}
