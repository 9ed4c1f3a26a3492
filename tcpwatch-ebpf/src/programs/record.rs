//! One CPU's counters, as a program adds to them.

use tcpwatch_common::host::{HostCounters, OF_OTHERS, OF_THE_FIRST};

use crate::add::{add_shared_to, add_to};
use crate::maps::HOST;

/// A record of counters. Never a reference: interrupts add to it while a program has it.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) host: *mut HostCounters,
    has_one_writer: bool,
}

impl Record {
    /// That of the first state-change program, which may call this while it runs for the first time on its CPU.
    #[inline(always)]
    pub(super) fn of_the_first() -> Option<Self> {
        Some(Self { host: HOST.get_ptr_mut(OF_THE_FIRST)?, has_one_writer: true })
    }

    /// That of all other programs.
    #[inline(always)]
    pub(super) fn of_others() -> Option<Self> {
        Some(Self { host: HOST.get_ptr_mut(OF_OTHERS)?, has_one_writer: false })
    }

    /// Adds to one of the counters: of an array of them to the one at `index`, which the verifier has to be shown to be
    /// inside the record.
    #[inline(always)]
    pub(super) fn add(self, first: *mut u64, index: usize, value: u64) {
        // SAFETY: a counter of this record. Those that the first program counts in its record, no other program does.
        unsafe {
            if self.has_one_writer {
                add_to(first.add(index), value);
            } else {
                add_shared_to(first.add(index), value);
            }
        }
    }
}

/// Where a counter of a record is.
macro_rules! counter {
    ($record:expr, $($field:tt)+) => {
        // SAFETY: a whole record of the map; nothing is read.
        unsafe { (&raw mut (*$record.host).$($field)+).cast::<u64>() }
    };
}
pub(super) use counter;
