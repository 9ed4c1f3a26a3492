//! Connections in brief, by a program of our own that walks the kernel's table of them on several CPUs at once.
//!
//! Loaded for the time of one listing. Listeners are in another table, which netlink tells of at once.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;

use aya::include_bytes_aligned;
use aya_obj::btf::BtfFeatures;
use aya_obj::generated::{BPF_CALL, BPF_JMP, bpf_insn};
use aya_obj::{EbpfSectionKind, Function, Map, Object};
use tcpwatch_common::names::{global, map, program};
use tcpwatch_common::offsets::{ABSENT, Field};
use tcpwatch_common::walk::{CAST_CALL, Part, Short};

use super::bpf;
use super::btf::{Btf, BtfError};
use super::load::{BTF_PATH, raise_memlock};
use super::offsets::{self, OffsetError};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpwatch-walk"));

/// The kernel's function that makes a typed pointer of an address, since Linux 6.2.
const CAST: &str = "bpf_rdonly_cast";

/// Sets a register to a number.
const SET: u8 = 0xb7;

/// The source register's number that says that a call is one of the kernel's functions.
const KERNEL_CALL: u8 = 2;

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

/// Why connections cannot be walked this way. Other ways are slower.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionsError {
    #[error("cannot read the kernel's type information: {0}")]
    Btf(#[from] BtfError),
    #[error(transparent)]
    Offsets(#[from] OffsetError),
    #[error("this kernel's type information does not tell where its table of connections is")]
    NoTable,
    #[error("cannot {what} for a walk over connections: {source}")]
    Refused { what: &'static str, source: io::Error },
    #[error("the object of the walk over connections is of no use: {0}")]
    Object(String),
    #[error("the walk over connections does not get past chain {chain} of the kernel's table")]
    Stuck { chain: u32 },
}

/// The program, and memory for what it tells.
pub struct Connections {
    program: OwnedFd,
    told: Mapped,
    parts: u32,
}

impl Connections {
    /// Loads it for so many threads. If `is_plain`, it does without the kernel's cast, as it has to before Linux 6.2.
    pub fn load(threads: u32, is_plain: bool) -> Result<Self, ConnectionsError> {
        raise_memlock();
        let unusable = |error: &dyn std::fmt::Display| ConnectionsError::Object(error.to_string());
        let mut object = Object::parse(OBJECT).map_err(|error| unusable(&error))?;
        // Before anything that takes long: not everybody may.
        let created = create_maps(&mut object, threads)?;
        let types = Btf::load(Path::new(BTF_PATH))?;
        let offsets = offsets::resolve_some(&types, &FIELDS)?;
        if NEEDED.iter().any(|field| offsets[*field as usize] == ABSENT) {
            return Err(ConnectionsError::NoTable);
        }
        let cast = Cast::find(&types).filter(|_| !is_plain);
        let offsets: Vec<u8> = offsets.iter().flat_map(|offset| offset.to_ne_bytes()).collect();
        let (tcp, timewait) = cast.as_ref().map_or((0, 0), |cast| (cast.tcp, cast.timewait));
        let (tcp, timewait) = (tcp.to_ne_bytes(), timewait.to_ne_bytes());
        let globals = HashMap::from([
            (global::OFFSETS, (&offsets[..], true)),
            (global::TCP_SOCK, (&tcp[..], true)),
            (global::TIMEWAIT_SOCK, (&timewait[..], true)),
        ]);
        object.patch_map_data(globals).map_err(|error| unusable(&error))?;
        let types = program_types(&mut object)?;
        let mut maps = Vec::new();
        for (name, fd) in created {
            let Some(map) = object.maps.remove(&name) else { continue };
            if map.section_kind() == EbpfSectionKind::Rodata {
                bpf::freeze(fd.as_fd(), map.data()).map_err(refused("fill a map"))?;
            }
            maps.push((name, fd, map));
        }
        let function = link(&mut object, &maps, cast.as_ref())?;
        let program = bpf::load_program(&function, types.as_fd()).map_err(refused("load a program"))?;
        let (_, told, _) =
            maps.iter().find(|(name, ..)| name == map::PARTS).ok_or_else(|| unusable(&"it has no parts"))?;
        let told = Mapped::new(told.as_fd(), threads).map_err(refused("map memory"))?;
        Ok(Self { program, told, parts: threads })
    }

    /// What each thread walks with.
    pub fn walkers(&mut self) -> Vec<Walker<'_>> {
        let program = self.program.as_fd();
        // SAFETY: the map has so many records, one after the other, and each is handed out once.
        let part = |number: u32| unsafe { self.told.start.add(number as usize) };
        (0..self.parts).map(|number| Walker { program, part: part(number), number }).collect()
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

/// The kernel's cast, and the types to cast to.
struct Cast {
    function: u32,
    tcp: u32,
    timewait: u32,
}

impl Cast {
    fn find(types: &Btf) -> Option<Self> {
        let function = types.function(CAST)?;
        Some(Self { function, tcp: types.only("tcp_sock")?, timewait: types.only("inet_timewait_sock")? })
    }
}

fn create_maps(object: &mut Object, threads: u32) -> Result<Vec<(String, OwnedFd)>, ConnectionsError> {
    let mut created = Vec::new();
    for (name, map) in &mut object.maps {
        if name == map::PARTS {
            map.set_max_entries(threads);
        }
        created.push((name.clone(), bpf::create_map(name, map).map_err(refused("create a map"))?));
    }
    Ok(created)
}

/// Loads the object's own types.
fn program_types(object: &mut Object) -> Result<OwnedFd, ConnectionsError> {
    // Kernels with `bpf_loop` know all of them but the last, which is never needed.
    let features = BtfFeatures::new(true, true, true, true, true, true, true, false);
    let types = object.fixup_and_sanitize_btf(&features);
    let types = types.map_err(|error| ConnectionsError::Object(error.to_string()))?;
    let types = types.ok_or_else(|| ConnectionsError::Object("it has no types".into()))?;
    bpf::load_types(&types.to_bytes()).map_err(refused("load types"))
}

/// Puts together what the object has in parts.
fn link(
    object: &mut Object,
    maps: &[(String, OwnedFd, Map)],
    cast: Option<&Cast>,
) -> Result<Function, ConnectionsError> {
    let unusable = |error: &dyn std::fmt::Display| ConnectionsError::Object(error.to_string());
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    let descriptors = maps.iter().map(|(name, fd, map)| (name.as_str(), fd.as_raw_fd(), map));
    object.relocate_maps(descriptors, &sections).map_err(|error| unusable(&error))?;
    object.relocate_calls(&sections).map_err(|error| unusable(&error))?;
    let key = object.programs.get(program::CONNECTIONS).map(aya_obj::Program::function_key);
    let function = key.and_then(|key| object.functions.get(&key));
    let mut function = function.ok_or_else(|| unusable(&"it has no program"))?.clone();
    program::CONNECTIONS.clone_into(&mut function.name);
    function.instructions.iter_mut().filter(|one| is_cast(**one)).for_each(|one| call_cast(one, cast));
    Ok(function)
}

fn is_cast(instruction: bpf_insn) -> bool {
    let is_helper = u32::from(instruction.code) == BPF_JMP | BPF_CALL && instruction.src_reg() == 0;
    is_helper && instruction.imm == CAST_CALL
}

/// Has an instruction call the kernel's cast; where there is none, it is on a way that is never taken.
fn call_cast(instruction: &mut bpf_insn, cast: Option<&Cast>) {
    if let Some(cast) = cast {
        instruction.set_src_reg(KERNEL_CALL);
        instruction.imm = cast.function.cast_signed();
    } else {
        (instruction.code, instruction.imm) = (SET, 0);
        instruction.set_dst_reg(0);
    }
}

fn refused(what: &'static str) -> impl Fn(io::Error) -> ConnectionsError {
    move |source| ConnectionsError::Refused { what, source }
}

/// The parts, in this process' memory.
struct Mapped {
    start: NonNull<Part>,
    length: usize,
}

impl Mapped {
    fn new(map: BorrowedFd<'_>, parts: u32) -> io::Result<Self> {
        let length = size_of::<Part>() * parts as usize;
        // SAFETY: a new place is asked for.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(start.cast()) {
            Some(mapped) if start != libc::MAP_FAILED => Ok(Self { start: mapped, length }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nothing refers to it any more.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.length);
        }
    }
}

// SAFETY: it is memory; who may touch which part of it is told by the walkers.
unsafe impl Send for Mapped {}
