//! A map of records in this process' memory, which are read without any call of the kernel.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::NonNull;

/// The records of an array that was made to be mapped.
pub(super) struct Mapped<T> {
    start: NonNull<T>,
    count: u32,
}

impl<T> Mapped<T> {
    /// `T` must be what the map holds, a multiple of eight bytes long, and valid whatever its bytes are.
    pub(super) fn new(map: BorrowedFd<'_>, count: u32) -> io::Result<Self> {
        let length = size_of::<T>() * count as usize;
        // SAFETY: a new place is asked for.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(start.cast()) {
            Some(mapped) if start != libc::MAP_FAILED => Ok(Self { start: mapped, count }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Where each record is. Programs may write to them at any time.
    pub(super) fn records(&self) -> impl Iterator<Item = NonNull<T>> {
        let start = self.start;
        // SAFETY: the map has so many records, one after the other.
        (0..self.count as usize).map(move |number| unsafe { start.add(number) })
    }

    /// Where one record is; `None` if there are not so many.
    pub(super) fn record(&self, number: u32) -> Option<NonNull<T>> {
        // SAFETY: as above.
        (number < self.count).then(|| unsafe { self.start.add(number as usize) })
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nothing refers to it any more.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), size_of::<T>() * self.count as usize);
        }
    }
}

// SAFETY: it is memory; whoever has a record sees to it that nobody else uses it in the wrong way.
unsafe impl<T: Send> Send for Mapped<T> {}
