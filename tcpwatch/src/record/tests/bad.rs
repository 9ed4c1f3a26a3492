//! Recordings that are not as they were written.

use super::*;
use crate::record::frame::{self, Kind};

/// What is read of a file with these bytes, if it is a recording at all.
fn attempt(scratch: &Scratch, bytes: &[u8]) -> Option<(Vec<Arc<Sample>>, Vec<Damage>)> {
    let path = scratch.file("x.tcpw", bytes);
    match Reader::open(&path) {
        Ok(reader) => {
            reader.span().expect("it has frames");
            Some(read(reader))
        }
        Err(error) => {
            assert!(matches!(error, RecordError::Foreign { .. }), "{error}");
            None
        }
    }
}

#[test]
fn a_file_that_is_cut_anywhere_loses_its_end_only() {
    let scratch = Scratch::new("cut");
    let samples = samples(5);
    let (bytes, places) = recording(&samples);
    for length in 0..=bytes.len() {
        let found = attempt(&scratch, &bytes[..length]);
        let ends = places.iter().skip(1).copied().chain([bytes.len()]);
        let whole = ends.filter(|end| *end <= length).count();
        let Some((read, damage)) = found else {
            assert_eq!(whole, 0, "{length}");
            continue;
        };
        assert_eq!(read.len(), whole.saturating_sub(2), "{length}");
        assert_eq!(debug(&read), debug(&&samples[..read.len()]), "{length}");
        let is_torn = length != bytes.len() && !places.contains(&length);
        assert_eq!(damage.len(), usize::from(is_torn), "{length}: {damage:?}");
        assert!(damage.iter().all(|damage| damage.is_torn), "{length}: {damage:?}");
    }
}

#[test]
fn a_flipped_bit_loses_a_part_and_changes_nothing_else() {
    let scratch = Scratch::new("flip");
    // Two chains.
    let samples = samples(70);
    let (bytes, places) = recording(&samples);
    let texts: Vec<String> = samples.iter().map(debug).collect();
    // Every bit of the headers of some frames, and one of every third byte.
    let headers = [0, 2, 62].into_iter().flat_map(|frame| (0..36 * 8).map(move |bit| (frame, bit)));
    let bits = headers.map(|(frame, bit)| places[frame] * 8 + bit);
    for bit in bits.chain((0..bytes.len() * 8).step_by(2003)) {
        let mut broken = bytes.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        let (read, damage) = attempt(&scratch, &broken).expect("most is there");
        assert!(!damage.is_empty(), "bit {bit} changed nothing");
        assert!(read.iter().all(|sample| texts.contains(&debug(sample))), "bit {bit} was believed");
        // At worst the rest of its chain.
        let frame = places.iter().rposition(|place| *place <= bit / 8).expect("a frame");
        let lost = match frame {
            0 | 1 => 0,
            2..62 => 62 - frame,
            _ => 72 - frame,
        };
        assert_eq!(read.len(), 70 - lost, "bit {bit} of frame {frame}");
    }
}

#[test]
fn noise_is_no_recording() {
    let scratch = Scratch::new("noise");
    let mut random = Random(11);
    for length in [0, 1, 35, 36, 37, 1000, 100_000] {
        let noise: Vec<u8> = (0..length).map(|_| (random.number() & 0xff) as u8).collect();
        assert!(attempt(&scratch, &noise).is_none(), "{length}");
    }
    let text = b"at,state\n2026-01-01,established\n".repeat(1000);
    assert!(attempt(&scratch, &text).is_none());
    // Around a recording it is passed over.
    let samples = samples(3);
    let bytes = [&text, &recording(&samples).0, &text].map(Vec::as_slice).concat();
    let (read, damage) = attempt(&scratch, &bytes).expect("a recording is in it");
    assert_eq!((read.len(), damage.len()), (3, 2));
    // Two of them in a row are one.
    let two = [recording(&samples).0, recording(&samples).0].concat();
    assert_eq!(attempt(&scratch, &two).map(|(read, damage)| (read.len(), damage.len())), Some((6, 0)));
}

/// Frames that nobody wrote, whose checksums are right.
#[test]
fn what_is_made_to_deceive_is_refused() {
    let scratch = Scratch::new("deceive");
    let mut random = Random(5);
    let whole = plain(&random.sample(), None);
    let frames = |plain: &[u8]| {
        let mut bytes = Vec::new();
        let checksum = frame::put(Kind::Whole, at(1), 0, plain, &mut bytes).expect("small");
        frame::put(Kind::Difference, at(2), checksum, plain, &mut bytes).expect("small");
        attempt(&scratch, &bytes).expect("its frames are whole")
    };
    let mut kept = 0;
    for _ in 0..1000 {
        let mut plain = whole.clone();
        for _ in 0..=random.below(6) {
            let place = random.below(plain.len() as u64) as usize;
            match random.below(4) {
                0 => plain.truncate(place + 1),
                1 => plain.insert(place, 0xff),
                2 => plain[place] ^= 1 << random.below(8),
                _ => plain[place] = (random.number() & 0xff) as u8,
            }
        }
        kept += frames(&plain).0.len();
    }
    assert!(kept > 30, "only {kept} got through: too few to try what follows");
    // A list of more namespaces than there is memory for: each costs two bytes here, and kilobytes there.
    let (_, damage) = frames(&too_many(1_000_000));
    assert!(!damage.is_empty());
    // A list that claims to be endless.
    let mut endless = too_many(1);
    let length = endless.len();
    endless[length / 2] = 0xff;
    assert!(!frames(&endless).1.is_empty());
}

/// A sample with so many empty namespaces, written by hand.
fn too_many(count: u32) -> Vec<u8> {
    let mut empty = Random(1).sample();
    empty.namespaces.clear();
    let before = Sample { namespaces: vec![crate::sample::NamespaceSample::default(); 1], ..empty.clone() };
    // Changed; the same time and source; so many more elements than none; each new and blank.
    let one = plain(&before, Some(&empty));
    let place = one.iter().position(|byte| *byte == 2).expect("one more");
    let mut plain = one[..place].to_vec();
    delta::put_difference(i64::from(count), &mut plain);
    plain.extend(std::iter::repeat_n([1, 0], count as usize).flatten());
    plain.extend_from_slice(&one[place + 3..]);
    plain
}

#[test]
fn other_things_are_refused_in_words() {
    let scratch = Scratch::new("refused");
    let refused = |path: &Path| Reader::open(path).expect_err("no recording").to_string();
    assert!(refused(&scratch.0).contains("no file in it ends in .tcpw"));
    scratch.file("notes.txt", b"x");
    assert!(refused(&scratch.0).contains("no file in it ends in .tcpw"));
    assert!(refused(&scratch.0.join("nothing")).contains("cannot read the recording"));
    assert!(refused("/dev/null".as_ref()).contains("neither a file nor a directory"));
    scratch.file("empty.tcpw", b"");
    assert!(refused(&scratch.0).contains("is no recording of tcpwatch"));
    let (mut bytes, _) = recording(&samples(1));
    bytes[4] = 9;
    let checksum = crc32fast::hash(&bytes[..32]).to_le_bytes();
    bytes[32..36].copy_from_slice(&checksum);
    let newer = refused(&scratch.file("newer.tcpw", &bytes));
    assert!(newer.contains("it is in version 9 of the format, and this one reads up to 3"), "{newer}");
}
