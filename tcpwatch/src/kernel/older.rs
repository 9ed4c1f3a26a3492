//! The map in which sockets are entered while those older than the programs are met, so that each is counted once.
//!
//! It is as large as the number of sockets that are open at the start demands, and is given up when all have been met.

use aya::Ebpf;
use aya::maps::{ArrayOfMaps, HashMap, MapData, MapError};
use tcpwatch_common::names::map;

use super::load::LoadError;

/// Room for sockets that are opened while older ones are met.
const SPARE: u64 = 1 << 16;

type Inner = HashMap<MapData, u64, u8>;

pub(super) struct Older {
    outer: ArrayOfMaps<MapData, Inner>,
}

impl Older {
    /// Takes the map out of the loaded object.
    pub(super) fn open(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        let taken = ebpf.take_map(map::OLDER).ok_or(MapError::InvalidName { name: map::OLDER.into() });
        let outer = taken.and_then(ArrayOfMaps::try_from).map_err(failed)?;
        Ok(Self { outer })
    }

    /// Makes room for so many sockets, a quarter more, and some.
    pub(super) fn begin(&mut self, open: u64) -> Result<(), LoadError> {
        self.resize(u32::try_from(open + open / 4 + SPARE).unwrap_or(u32::MAX))
    }

    /// Gives the memory back. An event that is still under way finds a map that is too small, and counts nothing in it:
    /// by now every socket has been met.
    pub(super) fn end(&mut self) -> Result<(), LoadError> {
        self.resize(1)
    }

    fn resize(&mut self, entries: u32) -> Result<(), LoadError> {
        let inner = Inner::create(entries, 0).map_err(failed)?;
        self.outer.set(0, &inner, 0).map_err(failed)
    }
}

fn failed(source: MapError) -> LoadError {
    LoadError::Map { name: map::OLDER, source }
}
