//! Facts told one by one, drained on the reader's own tick.

use aya::maps::{MapData, MapError, RingBuf};
use tcpwatch_common::event::Event;
use tcpwatch_common::names::map;

use super::load::Kernel;

/// The ring buffer could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the eBPF ring buffer: {0}")]
pub struct RingError(#[from] MapError);

/// The reading end of the ring, with the count of what came out of it.
pub struct Ring {
    records: RingBuf<MapData>,
    delivered: u64,
    malformed: u64,
}

impl Ring {
    /// Takes the ring out of the loaded object. There is one reader.
    pub fn open(kernel: &mut Kernel) -> Result<Self, RingError> {
        let map =
            kernel.ebpf.take_map(map::EVENTS).ok_or(MapError::InvalidName { name: map::EVENTS.into() })?;
        Ok(Self { records: RingBuf::try_from(map)?, delivered: 0, malformed: 0 })
    }

    /// Hands on every fact that is in the ring now, at most `limit`; returns how many there were.
    pub fn drain(&mut self, limit: usize, mut each: impl FnMut(&Event)) -> usize {
        let mut count = 0;
        while count < limit {
            let Some(record) = self.records.next() else { break };
            count += 1;
            match Event::from_bytes(&record) {
                Some(event) => {
                    self.delivered += 1;
                    each(&event);
                }
                None => self.malformed += 1,
            }
        }
        count
    }

    /// Facts handed on so far.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Records of a wrong length, which this build of the programs never writes.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// For waiting until the ring is a quarter full.
    pub fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        use std::os::fd::{AsRawFd as _, BorrowedFd};
        // SAFETY: the descriptor lives as long as `self`.
        unsafe { BorrowedFd::borrow_raw(self.records.as_raw_fd()) }
    }
}
