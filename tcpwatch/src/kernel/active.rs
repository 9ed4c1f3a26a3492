//! In which namespaces something happened: a word for each row, in memory that this process shares with the programs.

use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::{Map, MapError};
use aya::sys::SyscallError;
use tcpwatch_common::names::map;

use super::counters::CountersError;
use super::load::Kernel;
use super::mapped::Mapped;

pub(super) struct Active(Mapped<u64>);

impl Active {
    pub(super) fn open(kernel: &Kernel) -> Result<Self, CountersError> {
        let failed = |source| CountersError { name: map::ACTIVE, source };
        let Some(Map::Array(data)) = kernel.ebpf.map(map::ACTIVE) else {
            return Err(failed(MapError::InvalidName { name: map::ACTIVE.into() }));
        };
        let mapped = Mapped::new(data.fd().as_fd(), kernel.row_count());
        let refused = |io_error| failed(SyscallError { call: "mmap", io_error }.into());
        mapped.map(Self).map_err(refused)
    }

    pub(super) fn is_set(&self, row: u32) -> bool {
        self.word(row).is_none_or(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Whether a row's word is set; it is cleared.
    pub(super) fn take(&self, row: u32) -> bool {
        self.is_set(row) && self.word(row).is_none_or(|word| word.swap(0, Ordering::SeqCst) != 0)
    }

    fn word(&self, row: u32) -> Option<&AtomicU64> {
        let word = self.0.record(row)?;
        // SAFETY: an aligned word that is there as long as the memory is mapped; programs change it in one piece.
        Some(unsafe { AtomicU64::from_ptr(word.as_ptr()) })
    }
}
