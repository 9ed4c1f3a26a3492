//! Events that interrupt the counting of other events.
//!
//! A kernel that finds a program running on this CPU skips it: newer ones so protect programs from themselves
//! (`recursion_misses`). Many transitions are made by tasks while interrupts may run the network stack, so a busy
//! host loses transitions, in bursts of hundreds. Therefore the same code is attached twice: the first program
//! counts, and notes what it counted; the second runs right after it for the same event, and counts what was not
//! noted. An event that interrupts the one does not interrupt the other, so one of them always runs.

use tcpwatch_common::host::{DONE, HostCounters};

/// Notes that the first program has counted the event `key`.
#[inline(always)]
pub(super) fn note(first: &mut HostCounters, key: u64) {
    for slot in &mut first.done[..DONE - 1] {
        if *slot == 0 {
            *slot = key;
            return;
        }
    }
    // Left over from events whose second program was skipped.
    first.done = [0; DONE];
    first.done[DONE - 1] = key;
}

/// Whether the first program has counted the event `key`; forgets it.
#[inline(always)]
pub(super) fn was_noted(first: &mut HostCounters, key: u64) -> bool {
    for slot in &mut first.done {
        if *slot == key {
            *slot = 0;
            return true;
        }
    }
    false
}
