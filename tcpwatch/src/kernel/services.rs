//! What was added up at the end of connections, by service.
//!
//! The kernel side gives each service a slot of its own, and counts what has none in a slot for all others. Here slots are
//! taken from services to make room for new ones. Nothing is lost by that: a slot is never cleared, what it held when it
//! was given away is subtracted; and what a service had counted before it lost its slot is added to all others.

mod book;

use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use aya::maps::{HashMap, Map, MapData, MapError, Queue};
use aya::sys::SyscallError;
use tcpwatch_common::names::map;
use tcpwatch_common::service::{SLOTS, Side, Words, parts, word};

use super::counters::{CountersError, open};
use super::load::Kernel;
use super::mapped::Mapped;
use book::Book;

/// The maps of services, opened once.
pub struct Services {
    index: HashMap<MapData, u64, u32>,
    free: Queue<MapData, u32>,
    /// How many services each row's namespace got since the last tick.
    new: Mapped<u64>,
    ends: Mapped<Words>,
    book: Book,
}

/// A service and what was counted of it.
#[derive(Clone, Debug)]
pub struct ServiceMet {
    /// Another whenever the service gets a slot: what is counted begins anew then.
    pub id: u64,
    pub row: u32,
    pub side: Side,
    pub port: u16,
    pub ends: Words,
}

/// What was read at one tick.
#[derive(Clone, Debug)]
pub struct ServicesMet {
    pub services: Vec<ServiceMet>,
    /// Of services that have no slot of their own.
    pub other: Words,
    /// Connections that are counted there because there was no room, or their service made room while it was in use.
    pub unplaced: u64,
}

impl Services {
    /// Takes the maps out of the loaded object.
    pub fn open(kernel: &mut Kernel) -> Result<Self, CountersError> {
        Ok(Self {
            index: open!(kernel, HashMap, map::SERVICES),
            free: open!(kernel, Queue, map::FREE_SERVICES),
            new: mapped(kernel, map::NEW_SERVICES, kernel.row_count())?,
            ends: mapped(kernel, map::ENDS, SLOTS)?,
            book: Book::new(),
        })
    }

    /// All services. What ends meanwhile may be told with the next tick.
    pub fn read(&mut self) -> Result<ServicesMet, CountersError> {
        let now = Instant::now();
        self.look_for_new(now);
        let Self { book, ends, .. } = self;
        for slot in book.put_back(|slot| words(ends, slot), now) {
            self.free.push(slot, 0).map_err(|source| CountersError { name: map::FREE_SERVICES, source })?;
        }
        let met = book.read(|slot| words(ends, slot), now);
        for key in self.book.excess(now) {
            self.take(key, true, now);
        }
        Ok(met)
    }

    /// Takes the slots of all services of a namespace that is gone, before its row is given to another.
    pub fn retire(&mut self, row: u32) {
        let now = Instant::now();
        self.look_for_new(now);
        for key in self.book.of_row(row) {
            self.take(key, false, now);
        }
    }

    /// Entries that were made since they were looked for last.
    fn look_for_new(&mut self, now: Instant) {
        let mut is_any_new = false;
        for count in self.new.records() {
            // SAFETY: an aligned word that is there as long as the memory is mapped; programs change it in one piece.
            let count = unsafe { AtomicU64::from_ptr(count.as_ptr()) };
            is_any_new |= count.load(Ordering::Relaxed) != 0 && count.swap(0, Ordering::SeqCst) != 0;
        }
        if is_any_new {
            for (key, slot) in self.index.iter().flatten() {
                self.book.note(key, slot, now);
            }
        }
    }

    /// Takes the slot of a service, if it still has one.
    fn take(&mut self, key: u64, is_needed: bool, now: Instant) {
        if self.index.remove(&key).is_ok() {
            self.book.take(key, is_needed, now);
        }
    }
}

/// What a slot holds.
fn words(ends: &Mapped<Words>, slot: u32) -> Words {
    let Some(record) = ends.record(slot) else { return [0; word::COUNT] };
    let first = record.cast::<u64>();
    std::array::from_fn(|at| {
        // SAFETY: a word of the record, which is there as long as the memory is mapped; programs change it in one piece.
        unsafe { AtomicU64::from_ptr(first.add(at).as_ptr()) }.load(Ordering::Relaxed)
    })
}

fn mapped<T>(kernel: &Kernel, name: &'static str, count: u32) -> Result<Mapped<T>, CountersError> {
    let failed = |source| CountersError { name, source };
    let Some(Map::Array(data)) = kernel.ebpf.map(name) else {
        return Err(failed(MapError::InvalidName { name: name.into() }));
    };
    let mapped = Mapped::new(data.fd().as_fd(), count);
    mapped.map_err(|io_error| failed(SyscallError { call: "mmap", io_error }.into()))
}

impl ServiceMet {
    fn new(id: u64, key: u64, ends: &Words) -> Self {
        let (row, side, port) = parts(key);
        Self { id, row, side, port, ends: *ends }
    }
}
