//! A frame: a header of [`HEADER`] bytes with a checksum of its own, and what it holds, with another.
//!
//! Every frame tells its version, kind and time, so that a file needs no beginning: files can be cut and joined at
//! any frame, and what is damaged is passed over up to the next frame. `docs/recording.md` has the layout.

use std::time::{Duration, SystemTime};

/// Of the format. Readers refuse newer ones, and read older ones.
pub const VERSION: u8 = 3;

/// The oldest that is read.
pub(super) const OLDEST: u8 = 1;

/// What a frame begins with; no text does.
pub(super) const SYNC: [u8; 4] = [0xd7, b'T', b'W', b'R'];
pub(super) const HEADER: usize = 36;

/// The most that a frame can hold, before and after it is compressed.
pub(super) const MOST_BYTES: usize = 32 << 20;

/// LZ4 makes nothing smaller than a 255th.
const MOST_RATIO: usize = 255;
/// Too small to become smaller.
const COMPRESS_FROM: usize = 64;
const COMPRESSED: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Start,
    Config,
    /// A sample as such.
    Whole,
    /// A sample as its difference from the one before it.
    Difference,
    Rare,
    Change,
    Lost,
    /// Of a kind that this version does not know.
    Unknown(u8),
}

const KINDS: [Kind; 7] =
    [Kind::Start, Kind::Config, Kind::Whole, Kind::Difference, Kind::Rare, Kind::Change, Kind::Lost];

impl Kind {
    fn to_raw(self) -> u8 {
        match self {
            Self::Start => 1,
            Self::Config => 2,
            Self::Whole => 3,
            Self::Difference => 4,
            Self::Rare => 5,
            Self::Change => 6,
            Self::Lost => 7,
            Self::Unknown(raw) => raw,
        }
    }

    fn from_raw(raw: u8) -> Self {
        KINDS.into_iter().find(|kind| kind.to_raw() == raw).unwrap_or(Self::Unknown(raw))
    }
}

/// What is known of a frame before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u8,
    pub(super) kind: Kind,
    is_compressed: bool,
    /// Of a difference: [`Header::checksum`] of the sample that it builds on.
    pub(super) after: u32,
    /// Bytes that follow.
    pub(super) stored: usize,
    plain: usize,
    pub(super) at: SystemTime,
    content: u32,
    /// Of the header itself.
    pub(super) checksum: u32,
}

impl Header {
    /// `None` if it is no header, or damaged.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        let word = |at: usize| {
            bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
        };
        let checksum = word(32);
        if bytes[..4] != SYNC || crc32fast::hash(&bytes[..32]) != checksum {
            return None;
        }
        let at = i64::from_le_bytes(*bytes[20..].first_chunk()?);
        Some(Self {
            version: bytes[4],
            kind: Kind::from_raw(bytes[5]),
            is_compressed: bytes[6] & COMPRESSED != 0,
            after: word(8),
            stored: usize::try_from(word(12)).ok()?,
            plain: usize::try_from(word(16)).ok()?,
            at: time(at),
            content: word(28),
            checksum,
        })
    }

    /// Whether the lengths can be right, so that it is worth to look further.
    pub(super) fn is_sane(&self) -> bool {
        let most = if self.is_compressed { self.stored.saturating_mul(MOST_RATIO) } else { self.stored };
        self.stored <= MOST_BYTES && self.plain <= MOST_BYTES.min(most)
    }

    /// What the frame holds; `None` if it is damaged.
    pub(super) fn open(&self, stored: &[u8]) -> Option<Vec<u8>> {
        if !self.is_sane() || stored.len() != self.stored || crc32fast::hash(stored) != self.content {
            return None;
        }
        if !self.is_compressed {
            return (self.plain == stored.len()).then(|| stored.to_owned());
        }
        let mut plain = vec![0; self.plain];
        let length = lz4_flex::block::decompress_into(stored, &mut plain).ok()?;
        (length == plain.len()).then_some(plain)
    }
}

/// Appends a frame; gives the checksum of its header. What is larger than [`MOST_BYTES`] is no frame: `None`.
pub(super) fn put(kind: Kind, at: SystemTime, after: u32, plain: &[u8], out: &mut Vec<u8>) -> Option<u32> {
    if plain.len() > MOST_BYTES {
        return None;
    }
    let packed = (plain.len() >= COMPRESS_FROM).then(|| lz4_flex::block::compress(plain));
    let packed = packed.filter(|packed| packed.len() < plain.len());
    let stored = packed.as_deref().unwrap_or(plain);
    let start = out.len();
    out.extend_from_slice(&SYNC);
    out.extend_from_slice(&[VERSION, kind.to_raw(), u8::from(packed.is_some()) * COMPRESSED, 0]);
    out.extend_from_slice(&after.to_le_bytes());
    out.extend_from_slice(&u32::try_from(stored.len()).ok()?.to_le_bytes());
    out.extend_from_slice(&u32::try_from(plain.len()).ok()?.to_le_bytes());
    out.extend_from_slice(&nanoseconds(at).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(stored).to_le_bytes());
    let checksum = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(stored);
    Some(checksum)
}

/// Since 1970; times that cannot be told so are as near as can be.
fn nanoseconds(at: SystemTime) -> i64 {
    let whole = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => whole(since),
        Err(error) => -whole(error.duration()),
    }
}

fn time(nanoseconds: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
    let time = if nanoseconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put(Kind::Change, SystemTime::UNIX_EPOCH + Duration::from_millis(1500), 7, plain, &mut out)
            .expect("small enough");
        out
    }

    #[test]
    fn what_is_put_in_comes_out() {
        for plain in [Vec::new(), b"short".to_vec(), vec![0; 5000], (0..=255).cycle().take(3000).collect()] {
            let frame = framed(&plain);
            let header = Header::read(&frame).expect("a header");
            assert_eq!((header.kind, header.after, header.stored), (Kind::Change, 7, frame.len() - HEADER));
            assert_eq!(header.at, SystemTime::UNIX_EPOCH + Duration::from_millis(1500));
            assert_eq!(header.open(&frame[HEADER..]), Some(plain));
        }
        assert!(framed(&[0; 5000]).len() < 100, "it is compressed");
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(5);
        assert_eq!(time(nanoseconds(before)), before);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for plain in [b"a short text".to_vec(), vec![3; 500]] {
            let frame = framed(&plain);
            for bit in 0..frame.len() * 8 {
                let mut broken = frame.clone();
                broken[bit / 8] ^= 1 << (bit % 8);
                let opened = Header::read(&broken).and_then(|header| header.open(&broken[HEADER..]));
                assert_eq!(opened, None, "bit {bit}");
            }
        }
    }

    #[test]
    fn lengths_are_not_believed() {
        let mut out = Vec::new();
        assert_eq!(put(Kind::Whole, SystemTime::UNIX_EPOCH, 0, &vec![0; MOST_BYTES + 1], &mut out), None);
        assert!(out.is_empty());
        // A frame of four bytes that claims to hold more than they ever could.
        let mut frame = framed(&[0; 100]);
        frame[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        let checksum = crc32fast::hash(&frame[..32]);
        frame[32..36].copy_from_slice(&checksum.to_le_bytes());
        let header = Header::read(&frame).expect("its checksum is right");
        assert!(!header.is_sane());
        assert_eq!(header.open(&frame[HEADER..]), None);
    }
}
