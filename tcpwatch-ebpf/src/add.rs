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

/// Adds to a counter in this CPU's record, which has one writer at a time.
#[inline(always)]
pub(crate) fn add(counter: Option<&mut u64>, value: u64) {
    if let Some(counter) = counter {
        *counter = counter.wrapping_add(value);
    }
}
