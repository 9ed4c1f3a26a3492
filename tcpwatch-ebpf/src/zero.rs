//! Records of zeros, to be filled.

use core::mem::MaybeUninit;
use core::ptr::write_volatile;

/// Makes all of `record` zeros. Left to itself the compiler calls a function for that which writes byte by byte, and of
/// whose loop the verifier walks every turn.
///
/// # Safety
///
/// `T` is made of plain integers.
#[inline(always)]
pub(crate) unsafe fn zeroed<T>(record: &mut MaybeUninit<T>) -> &mut T {
    const { assert!(size_of::<T>().is_multiple_of(4) && align_of::<T>() >= 4) };
    let words = record.as_mut_ptr();
    let mut word = 0;
    if align_of::<T>() >= 8 {
        while word < size_of::<T>() / 8 {
            // SAFETY: inside the record, and aligned as it is.
            unsafe { write_volatile(words.cast::<u64>().add(word), 0) };
            word += 1;
        }
    } else {
        while word < size_of::<T>() / 4 {
            // SAFETY: as above.
            unsafe { write_volatile(words.cast::<u32>().add(word), 0) };
            word += 1;
        }
    }
    // SAFETY: all of its bytes were written, and plain integers may be 0.
    unsafe { record.assume_init_mut() }
}
