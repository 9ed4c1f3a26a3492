//! Single sockets and nothing else: one program that is not attached to anything.
//!
//! Either it is loaded for the time of one listing, which takes a fraction of loading all programs, or it is that of a
//! daemon that runs: the kernel lends it by its number, with the table that the daemon keeps the ages in.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::thread;

use aya::Ebpf;
use aya::programs::{Iter, ProgramError, loaded_programs};
use tcpwatch_common::event::Row;
use tcpwatch_common::names::{map, program};

use super::attach;
use super::btf::Btf;
use super::census::CensusError;
use super::load::{BTF_PATH, HINT, LoadError, Options, raise_memlock};
use super::maps::load_object;
use super::offsets;

/// Maps that listing has no use for, so that they take no room.
const IDLE_MAPS: [&str; 11] = [
    map::REMOTES,
    map::CLIENTS,
    map::SHARES,
    map::FOLDED,
    map::LISTENER_SHARES,
    map::SERVICES,
    map::FREE_SERVICES,
    map::ENDS,
    map::GROUPS,
    map::TUPLES,
    map::ILLEGAL,
];

/// The program that tells of each socket.
pub struct Rows {
    lent: Lent,
    name: &'static str,
}

enum Lent {
    Own(Box<Ebpf>),
    Daemons(Box<Iter>),
}

/// Why there is no program that tells of each socket.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("the program {name} cannot run: {error}")]
    Refused { name: &'static str, error: String },
    #[error("the kernel does not lend the daemon's program {id}: {source}")]
    Borrow { id: u32, source: ProgramError },
    #[error("the daemon's program {id} is gone")]
    Gone { id: u32 },
}

impl Rows {
    /// Loads the program. It remembers nothing: it tells no ages and no owners.
    pub fn load(is_brief: bool) -> Result<Self, RowsError> {
        let name = name(is_brief);
        raise_memlock();
        // Both read all of the kernel's types, which is most of the time that this takes.
        let (types, btf) = thread::scope(|scope| {
            let btf = scope.spawn(aya::Btf::from_sys_fs);
            (Btf::load(Path::new(BTF_PATH)), btf.join())
        });
        let types = types.map_err(LoadError::from)?;
        let btf = btf.unwrap_or_else(|_| aya::Btf::from_sys_fs());
        let btf = btf.map_err(|source| LoadError::Maps { source: source.into(), hint: HINT })?;
        let (offsets, _) = offsets::resolve(&types).map_err(LoadError::from)?;
        let options = Options {
            sockets: 8,
            namespaces: 1,
            listeners: 1,
            remotes: 1,
            ring_bytes: 4096,
            ..Options::default()
        };
        let mut ebpf = load_object(&IDLE_MAPS, &options, &types, &offsets)?;
        let loaded = attach::attach_one(&mut ebpf, &btf, attach::named(name));
        match loaded.error {
            None => Ok(Self { lent: Lent::Own(Box::new(ebpf)), name }),
            Some(error) => Err(RowsError::Refused { name, error }),
        }
    }

    /// Takes the program with this number, which a daemon on this kernel has loaded.
    pub fn borrow(id: u32, is_brief: bool) -> Result<Self, RowsError> {
        let name = name(is_brief);
        let failed = |source| RowsError::Borrow { id, source };
        for info in loaded_programs() {
            let info = info.map_err(failed)?;
            if info.id() == id && info.name() == name.as_bytes() {
                return Iter::from_program_info(info, name.into())
                    .map(|iter| Self { lent: Lent::Daemons(Box::new(iter)), name })
                    .map_err(failed);
            }
        }
        Err(RowsError::Gone { id })
    }

    /// Bytes of each row.
    pub fn row_size(&self) -> usize {
        Row::size(self.name == program::BRIEF)
    }

    /// Begins a walk over the sockets of the calling thread's network namespace. Any thread may go on with it.
    pub fn walk(&mut self) -> Result<Walk, CensusError> {
        let (name, row_size) = (self.name, self.row_size());
        let program: &mut Iter = match &mut self.lent {
            Lent::Daemons(program) => program,
            Lent::Own(ebpf) => super::census::iterator(ebpf, name)?,
        };
        super::census::begin(program, name).map(|file| Walk { file, name, row_size })
    }
}

/// The program that tells of sockets, all there is to tell or the most important.
fn name(is_brief: bool) -> &'static str {
    if is_brief { program::BRIEF } else { program::ROWS }
}

/// A walk that has begun.
pub struct Walk {
    file: File,
    name: &'static str,
    row_size: usize,
}

impl Walk {
    /// Whole rows, as bytes into `buffer`, whose size is a multiple of [`Rows::row_size`]; 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, CensusError> {
        let mut length = 0;
        loop {
            match self.file.read(&mut buffer[length..]) {
                Ok(0) => return Ok(length),
                Ok(more) => length += more,
                // A walk over a large table is handed over in parts.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) =>
                {
                    continue;
                }
                Err(source) => return Err(CensusError::Read { name: self.name, source }),
            }
            // What it writes at once need not end with a row.
            if length.is_multiple_of(self.row_size) {
                return Ok(length);
            }
        }
    }
}
