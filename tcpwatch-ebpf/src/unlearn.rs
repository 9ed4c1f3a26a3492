//! Numbers of which the verifier is to know nothing.
//!
//! It walks each way through a program, unless it has walked one before that differs in nothing that matters. Numbers that
//! differ matter where they decide what follows, so ways that would meet again are walked to their end, each alone. A
//! number that it knows nothing of is the same on all of them.

use core::ptr::read_volatile;

/// Always 0. The verifier does not know that, as user space could change it.
#[unsafe(no_mangle)]
static mut NOTHING: u64 = 0;

/// The same number. It costs a load that is always cached.
#[inline(always)]
pub(crate) fn unlearn(number: u64) -> u64 {
    // SAFETY: a word that nobody writes, read in a way that the compiler cannot fold.
    number.wrapping_add(unsafe { read_volatile(&raw const NOTHING) })
}
