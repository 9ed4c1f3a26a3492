//! Connections in brief, by a program of our own that walks the kernel's table of them on several CPUs at once.
//!
//! Loaded for the time of one listing. Listeners are in another table, which netlink tells of at once.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;

use aya::include_bytes_aligned;
use tcpwatch_common::names::{map, program};
use tcpwatch_common::offsets::Field;
use tcpwatch_common::walk::{Part, Short};

use super::bpf;
use super::btf::Btf;
use super::load::{BTF_PATH, raise_memlock};
use super::mapped::Mapped;
use super::object::{ConnectionsError, Fields, Object, refused};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpwatch-walk"));

/// All that the program reads.
const FIELDS: [Field; 21] = [
    Field::Family,
    Field::LocalPort,
    Field::RemotePort,
    Field::LocalV4,
    Field::RemoteV4,
    Field::LocalV6,
    Field::RemoteV6,
    Field::Net,
    Field::State,
    Field::ReceiveNext,
    Field::CopiedSequence,
    Field::WriteSequence,
    Field::SendUnacknowledged,
    Field::TimeWaitSubstate,
    Field::TaskNamespaces,
    Field::NamespacesNet,
    Field::NetHash,
    Field::Table,
    Field::TableMask,
    Field::Link,
    Field::Hash,
];

/// Those of them without which there is no walk.
const NEEDED: [Field; 8] = [
    Field::Net,
    Field::TaskNamespaces,
    Field::NamespacesNet,
    Field::NetHash,
    Field::Table,
    Field::TableMask,
    Field::Link,
    Field::Hash,
];

/// The program, and memory for what it tells.
pub struct Connections {
    program: OwnedFd,
    told: Mapped<Part>,
}

impl Connections {
    /// Loads it for so many threads. If `is_plain`, it does without the kernel's cast, as it has to before Linux 6.2.
    pub fn load(threads: u32, is_plain: bool) -> Result<Self, ConnectionsError> {
        raise_memlock();
        // Before anything that takes long: not everybody may.
        let object = Object::create(OBJECT, &[(map::PARTS, threads)], Vec::new())?;
        let types = Btf::load(Path::new(BTF_PATH))?;
        let fields = Fields { all: &FIELDS, needed: &NEEDED };
        let told = Mapped::new(object.map(map::PARTS)?, threads).map_err(refused("map memory"))?;
        let [program] = object.load([program::CONNECTIONS], &types, &fields, &[], is_plain)?;
        Ok(Self { program, told })
    }

    /// What each thread walks with.
    pub fn walkers(&mut self) -> Vec<Walker<'_>> {
        let program = self.program.as_fd();
        // Each record is handed out once.
        let parts = (0..).zip(self.told.records());
        parts.map(|(number, part)| Walker { program, part, number }).collect()
    }
}

/// Walks with one part of the memory.
pub struct Walker<'a> {
    program: BorrowedFd<'a>,
    part: NonNull<Part>,
    number: u32,
}

// SAFETY: its part is its own.
unsafe impl Send for Walker<'_> {}

impl Walker<'_> {
    /// Walks the calling thread's network namespace from one chain on, up to another, and hands on what it meets, some
    /// at a time. False if the table ends before that.
    pub fn walk(
        &mut self,
        chains: std::ops::Range<u32>,
        each: &mut dyn FnMut(&[Short]),
    ) -> Result<bool, ConnectionsError> {
        // In a row, without getting on.
        const MOST: u32 = 100;
        let (mut chain, mut skip, mut stuck) = (chains.start, 0, 0);
        loop {
            let arguments = [self.number.into(), chain.into(), chains.end.into(), u64::from(skip)];
            bpf::run(self.program, &arguments).map_err(refused("run a program"))?;
            // SAFETY: it is in memory that the program has just stopped to write to.
            let part = unsafe { self.part.as_ref() };
            if part.table == 0 {
                return Err(ConnectionsError::NoTable);
            }
            let told = part.told.get(..part.rows as usize).unwrap_or(&part.told);
            if !told.is_empty() {
                each(told);
            }
            if part.chain >= part.end {
                return Ok(chains.end <= part.mask);
            }
            stuck = if told.is_empty() && part.chain == chain { stuck + 1 } else { 0 };
            if stuck > MOST {
                return Err(ConnectionsError::Stuck { chain });
            }
            (chain, skip) = (part.chain, part.skip);
        }
    }
}
