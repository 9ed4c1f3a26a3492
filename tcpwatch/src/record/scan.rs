//! Finds frames in a stream of bytes, and goes on behind what is none.

use std::io::{self, Read};

use super::frame::{HEADER, Header, OLDEST, SYNC, VERSION};

/// Read at once; memory follows what is really there, never what a length claims.
const CHUNK: usize = 64 << 10;

/// What comes next in a stream.
#[derive(Debug)]
pub(super) enum Scanned {
    /// With what it stores, and where it begins.
    Frame(Header, Vec<u8>, u64),
    /// So many bytes from this place on are no frame.
    Damage { offset: u64, bytes: u64, is_end: bool },
    /// A frame of a version that is newer than this one.
    Newer(u8),
}

/// Reads a stream from frame to frame.
#[derive(Debug)]
pub(super) struct Scanner<R> {
    input: R,
    buffer: Vec<u8>,
    /// What of the buffer has been taken.
    taken: usize,
    /// Place of the first byte that has not been taken.
    offset: u64,
}

impl<R: Read> Scanner<R> {
    /// `input` is at `offset`.
    pub(super) fn new(input: R, offset: u64) -> Self {
        Self { input, buffer: Vec::new(), taken: 0, offset }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    fn left(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    fn consume(&mut self, bytes: usize) {
        self.taken += bytes;
        self.offset += bytes as u64;
    }

    /// Whether so many bytes are left.
    fn has(&mut self, wanted: usize) -> io::Result<bool> {
        while self.left().len() < wanted {
            if self.taken >= CHUNK {
                self.buffer.drain(..self.taken);
                self.taken = 0;
            }
            let chunk = (&mut self.input).take(CHUNK as u64).read_to_end(&mut self.buffer)?;
            if chunk == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Scanned>> {
        let offset = self.offset;
        loop {
            let bytes = self.offset - offset;
            if !self.has(HEADER)? {
                return Ok(self.end(offset));
            }
            match Header::read(self.left()) {
                Some(_) if bytes > 0 => return Ok(Some(Scanned::Damage { offset, bytes, is_end: false })),
                Some(header) if header.version > VERSION => return Ok(Some(Scanned::Newer(header.version))),
                Some(header) if header.version >= OLDEST && header.is_sane() => {
                    if !self.has(HEADER + header.stored)? {
                        return Ok(self.end(offset));
                    }
                    let stored = self.left()[HEADER..HEADER + header.stored].to_owned();
                    self.consume(HEADER + header.stored);
                    return Ok(Some(Scanned::Frame(header, stored, offset)));
                }
                _ => {
                    let next = self.left()[1..].iter().position(|byte| *byte == SYNC[0]);
                    let skipped = next.map_or(self.left().len(), |next| next + 1);
                    self.consume(skipped);
                }
            }
        }
    }

    /// Everything from `offset` to the end is no whole frame.
    fn end(&mut self, offset: u64) -> Option<Scanned> {
        self.consume(self.left().len());
        let bytes = self.offset - offset;
        (bytes > 0).then_some(Scanned::Damage { offset, bytes, is_end: true })
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::record::frame::{self, Kind};

    fn frames(count: u8) -> Vec<Vec<u8>> {
        let one = |number: u8| {
            let mut out = Vec::new();
            let content = vec![number; 10 + usize::from(number)];
            frame::put(Kind::Change, SystemTime::UNIX_EPOCH, 0, &content, &mut out).expect("small");
            out
        };
        (0..count).map(one).collect()
    }

    /// The first byte of each frame that is whole, and the damage as offset, length and whether it is the end.
    fn scan(bytes: &[u8]) -> (Vec<u8>, Vec<(u64, u64, bool)>) {
        let mut scanner = Scanner::new(bytes, 0);
        let (mut found, mut damage) = (Vec::new(), Vec::new());
        while let Some(scanned) = scanner.next().expect("memory") {
            match scanned {
                Scanned::Frame(header, stored, _) => match header.open(&stored) {
                    Some(plain) => found.push(plain[0]),
                    None => damage.push((0, 0, false)),
                },
                Scanned::Damage { offset, bytes, is_end } => damage.push((offset, bytes, is_end)),
                Scanned::Newer(_) => panic!("a newer version"),
            }
        }
        assert_eq!(scanner.offset(), bytes.len() as u64);
        (found, damage)
    }

    #[test]
    fn a_torn_frame_costs_itself_only() {
        let frames = frames(4);
        let bytes = frames.concat();
        assert_eq!(scan(&bytes), (vec![0, 1, 2, 3], vec![]));
        for length in 0..bytes.len() {
            let mut whole = 0;
            let mut rest = length;
            while rest >= frames[whole].len() {
                rest -= frames[whole].len();
                whole += 1;
            }
            let (found, damage) = scan(&bytes[..length]);
            assert_eq!(found.len(), whole, "{length}");
            let torn = (length - rest) as u64;
            let expected = if rest == 0 { vec![] } else { vec![(torn, rest as u64, true)] };
            assert_eq!(damage, expected, "{length}");
        }
    }

    #[test]
    fn a_flipped_bit_costs_one_frame_only() {
        let frames = frames(4);
        let bytes = frames.concat();
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            let (found, damage) = scan(&broken);
            assert_eq!(found.len(), 3, "bit {bit}");
            assert_eq!(damage.len(), 1, "bit {bit}");
        }
    }

    #[test]
    fn what_stands_between_frames_is_passed_over() {
        let frames = frames(3);
        // A beginning of a frame among it.
        let dirt = [&[0; 100][..], &SYNC, &[1, 2, 3], &frames[2][..20]].concat();
        let bytes = [&frames[0], &dirt, &frames[1], &frames[2]].map(Vec::as_slice).concat();
        let at = frames[0].len() as u64;
        assert_eq!(scan(&bytes), (vec![0, 1, 2], vec![(at, dirt.len() as u64, false)]));
        assert_eq!(scan(&vec![7; 1_000_000]), (vec![], vec![(0, 1_000_000, true)]));
    }

    #[test]
    fn a_newer_version_is_told() {
        let mut newer = frames(1).remove(0);
        newer[4] = VERSION + 1;
        let checksum = crc32fast::hash(&newer[..32]).to_le_bytes();
        newer[32..36].copy_from_slice(&checksum);
        let scanned = Scanner::new(&newer[..], 0).next().expect("memory");
        assert!(matches!(scanned, Some(Scanned::Newer(found)) if found == VERSION + 1), "{scanned:?}");
    }
}
