//! Log2 histograms of durations, filled in the kernel.
//!
//! Bucket `i` holds the durations below 2^(10+i) ns that fit no lower bucket: from about a microsecond to about
//! three days. The unit is 1,024 ns, so that a bucket is found by shifts alone; the bounds are published as they
//! are, never rounded. The sum is kept beside the buckets, in nanoseconds.

/// Number of buckets; the last one has no upper bound.
pub const BUCKETS: usize = 40;

/// Durations below 2^`UNIT_SHIFT` ns go to bucket 0.
const UNIT_SHIFT: u32 = 10;

/// One histogram on one CPU.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Histogram {
    pub buckets: [u64; BUCKETS],
    pub sum_ns: u64,
}

impl Histogram {
    pub const EMPTY: Self = Self { buckets: [0; BUCKETS], sum_ns: 0 };
}

/// The bucket of a duration.
///
/// Without branches: each would double the paths that the kernel's verifier has to walk. The borrow of a
/// subtraction is the comparison.
#[inline]
pub const fn bucket(nanoseconds: u64) -> usize {
    let mut rest = nanoseconds >> UNIT_SHIFT;
    let mut bits = 0;
    let mut width = 32;
    while width > 0 {
        let exceeds = ((1u64 << width) - 1).wrapping_sub(rest) >> 63;
        rest >>= exceeds * width;
        bits += exceeds * width;
        width >>= 1;
    }
    #[expect(clippy::cast_possible_truncation, reason = "64 at the most")]
    let bits = (bits + rest) as usize & 63;
    if bits < BUCKETS { bits } else { BUCKETS - 1 }
}

/// The upper bound of a bucket in seconds, exclusive; `None` for the last one.
#[expect(clippy::cast_precision_loss, reason = "powers of two up to 2^49 are exact")]
pub fn upper_bound(bucket: usize) -> Option<f64> {
    (bucket + 1 < BUCKETS).then(|| (1u64 << (UNIT_SHIFT as usize + bucket)) as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_where_they_are_published() {
        for (nanoseconds, expected) in [
            (0, 0),
            (1_023, 0),
            (1_024, 1),
            (2_047, 1),
            (2_048, 2),
            (4_095, 2),
            (4_096, 3),
            (1 << 30, 21),
            (u64::MAX, BUCKETS - 1),
        ] {
            assert_eq!(bucket(nanoseconds), expected, "{nanoseconds}");
        }
    }

    #[test]
    fn every_duration_is_below_the_bound_of_its_bucket_and_not_below_the_one_before() {
        for exponent in 10..60 {
            for nanoseconds in [(1u64 << exponent) - 1, 1 << exponent, (1 << exponent) + 1] {
                let place = bucket(nanoseconds);
                #[expect(clippy::cast_precision_loss, reason = "below 2^53, or past every bound")]
                let seconds = nanoseconds as f64 / 1e9;
                assert!(upper_bound(place).is_none_or(|bound| seconds < bound), "{nanoseconds}");
                if place > 0 {
                    assert!(upper_bound(place - 1).is_some_and(|bound| seconds >= bound), "{nanoseconds}");
                }
            }
        }
    }
}
