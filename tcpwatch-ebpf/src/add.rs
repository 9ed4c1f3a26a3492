//! Additions to counters.

use core::intrinsics::AtomicOrdering;

/// Adds to a counter that programs of other events add to as well: an interrupt may run one of them on this CPU
/// between a load and a store, so the addition is one instruction.
#[inline(always)]
pub(crate) fn add_shared(counter: Option<&mut u64>, value: u64) {
    if let Some(counter) = counter {
        // SAFETY: an aligned counter in a map. The result is not used, so this is the plain atomic addition that
        // every kernel knows, not the later one that fetches.
        unsafe {
            core::intrinsics::atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, value);
        }
    }
}

/// Adds to a counter that nobody else writes. No reference is made to it, as interrupts write others of its record.
///
/// # Safety
///
/// The counter is in a live map value, and nobody else writes it.
#[inline(always)]
pub(crate) unsafe fn add_to(counter: *mut u64, value: u64) {
    // SAFETY: as the caller says.
    unsafe { *counter = (*counter).wrapping_add(value) };
}

/// Like [`add_shared`], where the counter's record has other counters that interrupts write meanwhile.
///
/// # Safety
///
/// The counter is in a live map value.
#[inline(always)]
pub(crate) unsafe fn add_shared_to(counter: *mut u64, value: u64) {
    // SAFETY: as the caller says; see `add_shared`.
    unsafe {
        core::intrinsics::atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, value);
    }
}
