//! Listeners that the programs had no room for when they were opened, or that were forgotten since: one walk over all
//! listeners of the host finds them, at the tick after.
//!
//! Kernels without that walk (before 5.19) find one when it has to send a SYN-ACK again.

use std::collections::BTreeSet;

use tcpwatch_common::host::HostCounters;

use crate::kernel::{Crowd, Sweep};

/// How many there were at the last tick and at the last walk.
#[derive(Debug, Default)]
pub(super) struct Found {
    refused: u64,
    forgotten: u64,
    /// There is room for all that are known.
    has_room: bool,
    walked: (u64, u64),
}

impl Found {
    /// Walks if some are to be found: refused ones at once, as that may be by who opened too many between two ticks; forgotten
    /// ones when there is room for them.
    pub(super) fn look(&mut self, sweep: Option<&mut Sweep>, hashes: &BTreeSet<u64>) {
        let (refused, forgotten) = self.walked;
        if self.refused == refused && (self.forgotten == forgotten || !self.has_room) {
            return;
        }
        let Some(sweep) = sweep else { return };
        for hash in hashes {
            if let Err(error) = sweep.find_listeners(*hash) {
                log::warn!("listeners that are not known are not looked for: {error}");
                return;
            }
        }
        // What the walk itself had no room for has been counted meanwhile, and is looked for again.
        self.walked = (self.refused, if self.has_room { self.forgotten } else { forgotten });
    }

    /// Takes what this tick counted; whether some may still be unknown.
    pub(super) fn note(&mut self, host: &HostCounters, crowd: &Crowd) -> bool {
        (self.refused, self.forgotten) = (host.listeners_untracked, crowd.forgotten);
        self.has_room = crowd.in_turns == 0;
        (self.refused, self.forgotten) != self.walked
    }
}
