//! Loads an object that walks the kernel's own tables by a few calls of `bpf(2)`: aya's loader reads all of the kernel's
//! types before it loads anything, and knows no kernel functions.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use aya_obj::btf::BtfFeatures;
use aya_obj::generated::{BPF_CALL, BPF_JMP, bpf_insn};
use aya_obj::{EbpfSectionKind, Function, Object as Parsed};
use tcpwatch_common::names::global;
use tcpwatch_common::offsets::{ABSENT, Field};
use tcpwatch_common::walk::CAST_CALL;

use super::bpf;
use super::btf::{Btf, BtfError};
use super::offsets::{self, OffsetError};

/// The kernel's function that makes a typed pointer of an address, since Linux 6.2.
const CAST: &str = "bpf_rdonly_cast";

/// Sets a register to a number.
const SET: u8 = 0xb7;

/// The source register's number that says that a call is one of the kernel's functions.
const KERNEL_CALL: u8 = 2;

/// Why the kernel's table of connections cannot be walked this way. Other ways are slower.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionsError {
    #[error("cannot read the kernel's type information: {0}")]
    Btf(#[from] BtfError),
    #[error(transparent)]
    Offsets(#[from] OffsetError),
    #[error("this kernel's type information does not tell where its table of connections is")]
    NoTable,
    #[error("this host has more network namespaces than the list of them has room for")]
    TooManyNamespaces,
    #[error("cannot {what} for a walk over connections: {source}")]
    Refused { what: &'static str, source: io::Error },
    #[error("the object of the walk over connections is of no use: {0}")]
    Object(String),
    #[error("the walk over connections does not get past chain {chain} of the kernel's table")]
    Stuck { chain: u32 },
    #[error("told to stop during a walk over connections")]
    Stopped,
}

/// An object whose maps exist.
pub(super) struct Object {
    parsed: Parsed,
    maps: Vec<(String, OwnedFd)>,
}

/// Fields that a program reads, and those of them without which it is of no use.
pub(super) struct Fields<'a> {
    pub(super) all: &'a [Field],
    pub(super) needed: &'a [Field],
}

impl Object {
    /// Creates the maps: some of another size, and some shared with programs that run already.
    pub(super) fn create(
        bytes: &[u8],
        sizes: &[(&str, u32)],
        shared: Vec<(&str, OwnedFd)>,
    ) -> Result<Self, ConnectionsError> {
        let mut parsed = Parsed::parse(bytes).map_err(unusable)?;
        let mut shared: HashMap<&str, OwnedFd> = shared.into_iter().collect();
        let mut maps = Vec::new();
        for (name, map) in &mut parsed.maps {
            if let Some((_, size)) = sizes.iter().find(|(sized, _)| sized == name) {
                map.set_max_entries(*size);
            }
            let fd = match shared.remove(name.as_str()) {
                Some(fd) => fd,
                None => bpf::create_map(name, map).map_err(refused("create a map"))?,
            };
            maps.push((name.clone(), fd));
        }
        Ok(Self { parsed, maps })
    }

    /// The map of this name.
    pub(super) fn map(&self, name: &str) -> Result<BorrowedFd<'_>, ConnectionsError> {
        let found = self.maps.iter().find(|(map, _)| map == name);
        found.map(|(_, fd)| fd.as_fd()).ok_or_else(|| unusable(format!("it has no map {name}")))
    }

    /// Loads the programs of these names. If they are to be plain, they do without the kernel's cast, as they have to before
    /// Linux 6.2.
    pub(super) fn load<const N: usize>(
        mut self,
        names: [&str; N],
        types: &Btf,
        fields: &Fields<'_>,
        more: &[(&str, &[u8])],
        is_plain: bool,
    ) -> Result<[OwnedFd; N], ConnectionsError> {
        let offsets = offsets::resolve_some(types, fields.all)?;
        if fields.needed.iter().any(|field| offsets[*field as usize] == ABSENT) {
            return Err(ConnectionsError::NoTable);
        }
        let cast = Cast::find(types).filter(|_| !is_plain);
        let offsets: Vec<u8> = offsets.iter().flat_map(|offset| offset.to_ne_bytes()).collect();
        let (tcp, timewait) = cast.as_ref().map_or((0, 0), |cast| (cast.tcp, cast.timewait));
        let (tcp, timewait) = (tcp.to_ne_bytes(), timewait.to_ne_bytes());
        let mut globals = HashMap::from([
            (global::OFFSETS, (&offsets[..], true)),
            (global::TCP_SOCK, (&tcp[..], true)),
            (global::TIMEWAIT_SOCK, (&timewait[..], true)),
        ]);
        globals.extend(more.iter().map(|(name, bytes)| (*name, (*bytes, true))));
        self.parsed.patch_map_data(globals).map_err(unusable)?;
        let program_types = program_types(&mut self.parsed)?;
        let mut maps = Vec::new();
        for (name, fd) in &self.maps {
            let Some(map) = self.parsed.maps.remove(name) else { continue };
            if map.section_kind() == EbpfSectionKind::Rodata {
                bpf::freeze(fd.as_fd(), map.data()).map_err(refused("fill a map"))?;
            }
            maps.push((name.as_str(), fd.as_raw_fd(), map));
        }
        let sections: HashSet<usize> = self.parsed.functions.keys().map(|(section, _)| *section).collect();
        let descriptors = maps.iter().map(|(name, fd, map)| (*name, *fd, map));
        self.parsed.relocate_maps(descriptors, &sections).map_err(unusable)?;
        self.parsed.relocate_calls(&sections).map_err(unusable)?;
        let load = |name| {
            let function = function(&self.parsed, name, cast.as_ref())?;
            bpf::load_program(&function, program_types.as_fd()).map_err(refused("load a program"))
        };
        let programs = names.into_iter().map(load).collect::<Result<Vec<_>, _>>()?;
        // There are as many as names.
        programs.try_into().map_err(|_| unusable("a program is missing"))
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

/// Loads the object's own types.
fn program_types(object: &mut Parsed) -> Result<OwnedFd, ConnectionsError> {
    // Kernels with `bpf_loop` know all of them but the last, which is never needed.
    let features = BtfFeatures::new(true, true, true, true, true, true, true, false);
    let types = object.fixup_and_sanitize_btf(&features).map_err(unusable)?;
    let types = types.ok_or_else(|| unusable("it has no types"))?;
    bpf::load_types(&types.to_bytes()).map_err(refused("load types"))
}

/// A program with all that it calls.
fn function(object: &Parsed, name: &str, cast: Option<&Cast>) -> Result<Function, ConnectionsError> {
    let key = object.programs.get(name).map(aya_obj::Program::function_key);
    let function = key.and_then(|key| object.functions.get(&key));
    let mut function = function.ok_or_else(|| unusable(format!("it has no program {name}")))?.clone();
    name.clone_into(&mut function.name);
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

fn unusable(error: impl Display) -> ConnectionsError {
    ConnectionsError::Object(error.to_string())
}

pub(super) fn refused(what: &'static str) -> impl Fn(io::Error) -> ConnectionsError {
    move |source| ConnectionsError::Refused { what, source }
}
