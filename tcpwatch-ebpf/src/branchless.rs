//! Comparisons as numbers: 1 for yes and 0 for no, computed without a branch.
//!
//! The verifier walks both ways of a branch, and what follows it twice, so a few independent questions in a row cost a
//! multiple of what they take to run. All numbers here are below 2^63.

use crate::unlearn::unlearn;

/// 1 where `one` is below `other`.
#[inline(always)]
pub(crate) fn below(one: u64, other: u64) -> u64 {
    one.wrapping_sub(other) >> 63
}

/// 1 where it is 0.
#[inline(always)]
pub(crate) fn is_zero(number: u64) -> u64 {
    below(number, 1)
}

/// 1 where both are the same.
#[inline(always)]
pub(crate) fn is_same(one: u64, other: u64) -> u64 {
    is_zero(one ^ other)
}

/// The other answer.
#[inline(always)]
pub(crate) fn not(answer: u64) -> u64 {
    answer ^ 1
}

/// A difference; one that is negative because its parts were not read together is 0.
#[inline(always)]
pub(crate) fn or_zero(difference: u64) -> u64 {
    // The compiler must not see that this is a maximum, which it makes a branch of.
    difference & unlearn(difference >> 63).wrapping_sub(1)
}

/// A difference of sequence numbers or ticks, which wrap at 2^32, likewise.
#[inline(always)]
pub(crate) fn wrapped(difference: u32) -> u64 {
    or_zero(i64::from(difference.cast_signed()).cast_unsigned())
}
