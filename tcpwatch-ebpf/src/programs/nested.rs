//! Events that interrupt the counting of other events.
//!
//! A kernel that finds a program running on this CPU skips it: newer ones so protect programs from themselves
//! (`recursion_misses`). Many transitions are made by tasks while interrupts may run the network stack, so a busy
//! host loses transitions, in bursts of hundreds. Therefore the same code is attached twice: the first program
//! counts, and notes what it counted; the second runs right after it for the same event, and counts what was not
//! noted. An event that interrupts the one does not interrupt the other, so one of them always runs.
//!
//! There is one note for tasks and one for interrupts, which do not interrupt each other. Where the second program is
//! skipped, because the event interrupted it, the note is left over; it goes as soon as the interrupted one goes on.

use core::ptr::{read_volatile, write_volatile};

use tcpwatch_common::host::HostCounters;

/// What an event can interrupt.
#[derive(Clone, Copy)]
#[repr(usize)]
pub(super) enum Level {
    /// Nothing.
    Task = 0,
    /// A task.
    Interrupt = 1,
}

/// Whether this CPU is counting an event: volatile, as whoever interrupts looks at it.
#[inline(always)]
pub(super) fn busy(first: &HostCounters) -> u64 {
    // SAFETY: a plain reference.
    unsafe { read_volatile(&raw const first.busy) }
}

/// Says whether this CPU is counting an event.
#[inline(always)]
pub(super) fn set_busy(first: &mut HostCounters, busy: u64) {
    // SAFETY: a plain reference.
    unsafe { write_volatile(&raw mut first.busy, busy) }
}

/// Notes that the first program has counted the event `key`.
#[inline(always)]
pub(super) fn note(first: &mut HostCounters, level: Level, key: u64) {
    write(first, level, key);
}

/// Whether the first program has counted the event `key`; forgets it.
#[inline(always)]
pub(super) fn was_noted(first: &mut HostCounters, level: Level, key: u64) -> bool {
    // SAFETY: a plain reference; volatile, as interrupts change it.
    let noted = unsafe { read_volatile(&raw const first.done[level as usize & 1]) } == key;
    write(first, level, 0);
    noted
}

/// Forgets what was left over by events that interrupted this one.
#[inline(always)]
pub(super) fn forget_above(first: &mut HostCounters, level: Level) {
    if matches!(level, Level::Task) {
        write(first, Level::Interrupt, 0);
    }
}

#[inline(always)]
fn write(first: &mut HostCounters, level: Level, key: u64) {
    // SAFETY: as above.
    unsafe { write_volatile(&raw mut first.done[level as usize & 1], key) }
}
