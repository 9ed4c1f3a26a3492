//! Items to frames and back: the chain of samples, of which each is written as its difference from the one before.

use std::sync::Arc;
use std::time::SystemTime;

use super::delta::{Bad, Delta, Input, MOST_MEMORY};
use super::frame::{self, Header, Kind};
use super::item::{Change, Item, Rare, blank};
use crate::sample::Sample;

/// Samples from one whole one to the next: what damage can cost, and what a reader has to read to get at a time.
const CHAIN: u32 = 60;

/// Turns items into frames.
#[derive(Debug, Default)]
pub struct Encoder {
    /// The last sample, and the checksum of its frame.
    last: Option<(Arc<Sample>, u32)>,
    length: u32,
    buffer: Vec<u8>,
}

impl Encoder {
    /// The next sample is written as such: it is the first in a file, or what was last put got lost.
    pub fn restart(&mut self) {
        self.last = None;
    }

    /// Whether the next sample is written as such.
    pub fn is_at_start(&self) -> bool {
        self.last.is_none() || self.length >= CHAIN
    }

    /// Appends an item's frame; `false` if it is too large to be one, and nothing was appended.
    pub fn put(&mut self, at: SystemTime, item: &Item, out: &mut Vec<u8>) -> bool {
        self.buffer.clear();
        let plain = &mut self.buffer;
        let kind = match item {
            Item::Start(start) => write(start, Kind::Start, plain),
            Item::Config(text) => write(text, Kind::Config, plain),
            Item::Rare(rare) => write(rare, Kind::Rare, plain),
            Item::Change(change) => write(change, Kind::Change, plain),
            Item::Lost(count) => write(count, Kind::Lost, plain),
            Item::Sample(sample) => return self.sample(at, sample, out),
        };
        frame::put(kind, at, 0, plain, out).is_some()
    }

    fn sample(&mut self, at: SystemTime, sample: &Arc<Sample>, out: &mut Vec<u8>) -> bool {
        let last = if self.is_at_start() { None } else { self.last.take() };
        let checksum = if let Some((before, after)) = &last {
            Sample::put(sample, before, &mut self.buffer);
            self.length += 1;
            frame::put(Kind::Difference, at, *after, &self.buffer, out)
        } else {
            Sample::put(sample, &blank(), &mut self.buffer);
            self.length = 1;
            frame::put(Kind::Whole, at, 0, &self.buffer, out)
        };
        self.last = checksum.map(|checksum| (Arc::clone(sample), checksum));
        checksum.is_some()
    }
}

fn write<T: Delta>(value: &T, kind: Kind, out: &mut Vec<u8>) -> Kind {
    value.put(&T::blank(), out);
    kind
}

/// What became of a frame.
#[derive(Debug)]
pub(super) enum Decoded {
    Item(Item),
    /// A sample whose beginning is missing.
    Orphan,
    /// Of a kind that later versions have.
    Unknown,
    /// It cannot be read though its checksum is right.
    Nonsense,
}

/// Turns frames into items.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The last sample, and the checksum of its frame.
    last: Option<(Sample, u32)>,
    /// Memory that the chain may still take.
    budget: usize,
}

impl Decoder {
    pub(super) fn restart(&mut self) {
        self.last = None;
    }

    pub(super) fn open(&mut self, header: &Header, plain: &[u8]) -> Decoded {
        let item = match header.kind {
            Kind::Start => read(header, plain).map(Item::Start),
            Kind::Config => read(header, plain).map(Item::Config),
            Kind::Rare => read::<Rare>(header, plain).map(Item::Rare),
            Kind::Change => read::<Change>(header, plain).map(Item::Change),
            Kind::Lost => read(header, plain).map(Item::Lost),
            Kind::Unknown(_) => return Decoded::Unknown,
            Kind::Whole => {
                self.budget = MOST_MEMORY;
                self.sample(blank(), header, plain)
            }
            Kind::Difference => match self.last.take() {
                Some((before, checksum)) if checksum == header.after => self.sample(before, header, plain),
                _ => return Decoded::Orphan,
            },
        };
        item.map_or(Decoded::Nonsense, Decoded::Item)
    }

    fn sample(&mut self, mut sample: Sample, header: &Header, plain: &[u8]) -> Result<Item, Bad> {
        take(&mut sample, header.version, plain, &mut self.budget)?;
        self.last = Some((sample.clone(), header.checksum));
        Ok(Item::Sample(Arc::new(sample)))
    }
}

fn read<T: Delta>(header: &Header, plain: &[u8]) -> Result<T, Bad> {
    let mut value = T::blank();
    take(&mut value, header.version, plain, &mut MOST_MEMORY.clone())?;
    Ok(value)
}

/// All of `plain`, and nothing more.
fn take<T: Delta>(value: &mut T, version: u8, plain: &[u8], budget: &mut usize) -> Result<(), Bad> {
    let mut input = Input::new(plain, version, budget);
    value.take(&mut input)?;
    if input.left() == 0 { Ok(()) } else { Err(Bad) }
}

/// The beginning of a chain of its own, for tests of what is below.
#[cfg(test)]
pub(super) fn plain(sample: &Sample, before: Option<&Sample>) -> Vec<u8> {
    let mut out = Vec::new();
    sample.put(before.unwrap_or(&blank()), &mut out);
    out
}

/// The reverse of [`plain`].
#[cfg(test)]
pub(super) fn restore(plain: &[u8], before: Option<&Sample>) -> Option<Sample> {
    let mut sample = before.cloned().unwrap_or_else(blank);
    take(&mut sample, frame::VERSION, plain, &mut MOST_MEMORY.clone()).ok()?;
    Some(sample)
}
