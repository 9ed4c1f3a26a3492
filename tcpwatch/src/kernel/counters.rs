//! Reads the maps that the programs count into.
//!
//! Per-CPU values are summed here. Every map is read as plain words or bytes, so nothing is trusted to be a valid
//! enum before it is checked.

use std::collections::BTreeMap;

use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray, PerCpuValues, Queue};
use tcpwatch_common::cell;
use tcpwatch_common::event::{Census, Namespace};
use tcpwatch_common::host::{HostCounters, RECORDS, RESET_REASONS};
use tcpwatch_common::names::map;

use super::active::Active;
use super::load::Kernel;

/// A map that could not be opened or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the eBPF map {name}: {source}")]
pub struct CountersError {
    pub name: &'static str,
    pub source: MapError,
}

type Words = [u64; HostCounters::WORDS];

/// The maps, opened once.
pub struct Counters {
    namespaces: HashMap<MapData, u64, [u32; 2]>,
    cells: PerCpuArray<MapData, cell::Row>,
    adopted: Array<MapData, [u64; 16]>,
    active: Active,
    illegal: HashMap<MapData, u64, u64>,
    host: PerCpuArray<MapData, Words>,
    reset_reasons: PerCpuArray<MapData, u64>,
    census: Array<MapData, Census>,
    free_rows: Queue<MapData, u32>,
}

/// Takes a map out of the loaded object.
macro_rules! open {
    ($kernel:expr, $kind:ident, $name:expr) => {{
        let error = |source| CountersError { name: $name, source };
        let map = $kernel.ebpf.take_map($name).ok_or(aya::maps::MapError::InvalidName { name: $name.into() });
        $kind::try_from(map.map_err(error)?).map_err(error)?
    }};
}
pub(super) use open;

impl Counters {
    /// Takes the maps out of the loaded object.
    pub fn open(kernel: &mut Kernel) -> Result<Self, CountersError> {
        Ok(Self {
            namespaces: open!(kernel, HashMap, map::NAMESPACES),
            cells: open!(kernel, PerCpuArray, map::CELLS),
            adopted: open!(kernel, Array, map::ADOPTED),
            active: Active::open(kernel)?,
            illegal: open!(kernel, HashMap, map::ILLEGAL),
            host: open!(kernel, PerCpuArray, map::HOST),
            reset_reasons: open!(kernel, PerCpuArray, map::RESET_REASONS),
            census: open!(kernel, Array, map::CENSUS_COUNTS),
            free_rows: open!(kernel, Queue, map::FREE_ROWS),
        })
    }

    /// The namespaces met so far, each with what tells it from an earlier one of the same number.
    pub fn namespaces(&self) -> Result<Vec<(u64, Namespace)>, CountersError> {
        let error = |source| CountersError { name: map::NAMESPACES, source };
        self.namespaces
            .iter()
            .map(|entry| entry.map(|(key, [row, inode])| (key, Namespace { row, inode })).map_err(error))
            .collect()
    }

    /// One namespace's counters, all CPUs together.
    pub fn cells(&self, row: u32) -> Result<cell::Row, CountersError> {
        let values = self.cells.get(&row, 0).map_err(|source| CountersError { name: map::CELLS, source })?;
        let mut sum = [0u64; cell::CELLS];
        for cpu in values.iter() {
            add_words(&mut sum, cpu);
        }
        Ok(sum)
    }

    /// Sockets of one namespace that are older than the programs, by kernel state number.
    pub fn adopted(&self, row: u32) -> Result<[u64; 16], CountersError> {
        self.adopted.get(&row, 0).map_err(|source| CountersError { name: map::ADOPTED, source })
    }

    /// Whether anything happened in the namespace of a row since this was asked last. What is read of it afterwards is not
    /// older.
    pub fn was_active(&self, row: u32) -> bool {
        self.active.take(row)
    }

    /// The same, without ending it.
    pub fn is_active(&self, row: u32) -> bool {
        self.active.is_set(row)
    }

    /// Gives the row of a namespace that is gone to whichever needs one next. What it counted is lost here.
    pub fn free_row(&mut self, generation: u64, row: u32) -> Result<(), CountersError> {
        let failed = |name| move |source| CountersError { name, source };
        // First of all no event may find the row any more.
        self.namespaces.remove(&generation).map_err(failed(map::NAMESPACES))?;
        let cpus = self.cells.get(&row, 0).map_err(failed(map::CELLS))?.len();
        let zero = PerCpuValues::try_from(vec![[0; cell::CELLS]; cpus])
            .map_err(|source| CountersError { name: map::CELLS, source: source.into() })?;
        self.cells.set(row, zero, 0).map_err(failed(map::CELLS))?;
        self.adopted.set(row, [0; 16], 0).map_err(failed(map::ADOPTED))?;
        let stale: Vec<u64> =
            self.illegal.keys().flatten().filter(|key| key >> 16 == u64::from(row)).collect();
        for key in stale {
            self.illegal.remove(&key).map_err(failed(map::ILLEGAL))?;
        }
        self.free_rows.push(row, 0).map_err(failed(map::FREE_ROWS))
    }

    /// Illegal transitions: (row, from, to) in kernel numbers, and how often.
    pub fn illegal(&self) -> Result<BTreeMap<(u32, u8, u8), u64>, CountersError> {
        let error = |source| CountersError { name: map::ILLEGAL, source };
        self.illegal
            .iter()
            .map(|entry| {
                let (key, count) = entry.map_err(error)?;
                let [to, from, row @ ..] = key.to_le_bytes();
                Ok(((u32::from_le_bytes([row[0], row[1], row[2], row[3]]), from, to), count))
            })
            .collect()
    }

    /// The host's counters, all CPUs together.
    pub fn host(&self) -> Result<Box<HostCounters>, CountersError> {
        let mut sum = vec![0u64; HostCounters::WORDS];
        for record in 0..RECORDS {
            let values =
                self.host.get(&record, 0).map_err(|source| CountersError { name: map::HOST, source })?;
            for cpu in values.iter() {
                add_words(&mut sum, cpu);
            }
        }
        Ok(Box::new(HostCounters::from_words(&sum)))
    }

    /// Resets sent, by the kernel's number for the reason.
    pub fn reset_reasons(&self, known: usize) -> Result<Vec<u64>, CountersError> {
        let error = |source| CountersError { name: map::RESET_REASONS, source };
        (0..u32::try_from(known.min(RESET_REASONS)).unwrap_or(0))
            .map(|reason| Ok(self.reset_reasons.get(&reason, 0).map_err(error)?.iter().sum()))
            .collect()
    }

    /// What the last walk of the iterator counted, by kernel state number.
    pub(super) fn census(&self) -> Result<Census, CountersError> {
        self.census.get(&0, 0).map_err(|source| CountersError { name: map::CENSUS_COUNTS, source })
    }

    pub(super) fn clear_census(&mut self) -> Result<(), CountersError> {
        let zero: Census = [0; _];
        self.census.set(0, zero, 0).map_err(|source| CountersError { name: map::CENSUS_COUNTS, source })
    }
}

fn add_words(sum: &mut [u64], words: &[u64]) {
    for (sum, word) in sum.iter_mut().zip(words) {
        *sum = sum.wrapping_add(*word);
    }
}
