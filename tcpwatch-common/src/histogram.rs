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

/// A number in which every six bits in a row are different, so that multiplying it by a power of two leaves six bits
/// on top that say which power it was.
const DE_BRUIJN: u64 = 0x07ED_D5E5_9A4E_28C2;

/// The bucket of a duration by the six bits on top.
static BUCKET_BY_HASH: [u8; 64] = {
    let mut table = [0; 64];
    // Nothing has the highest bits: the unit took them.
    let mut bit = 0;
    while bit < 64 - UNIT_SHIFT {
        #[expect(clippy::cast_possible_truncation, reason = "there are 40 buckets")]
        let last = (BUCKETS - 1) as u8;
        #[expect(clippy::cast_possible_truncation, reason = "below 64")]
        let bucket = bit as u8 + 1;
        table[(DE_BRUIJN << bit >> 58) as usize] = if bucket < last { bucket } else { last };
        bit += 1;
    }
    table
};

/// The bucket of a duration.
///
/// Without branches, in the object too, which a test looks at: each would double the paths that the kernel's verifier
/// walks, and the processor would guess wrong where durations vary.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the kernel's verifier looks into calls once for each caller")]
pub fn bucket(nanoseconds: u64) -> usize {
    let mut rest = nanoseconds >> UNIT_SHIFT;
    rest |= rest >> 1;
    rest |= rest >> 2;
    rest |= rest >> 4;
    rest |= rest >> 8;
    rest |= rest >> 16;
    rest |= rest >> 32;
    let highest = rest - (rest >> 1);
    usize::from(BUCKET_BY_HASH[(highest.wrapping_mul(DE_BRUIJN) >> 58) as usize])
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
