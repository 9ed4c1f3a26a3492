//! Walks all sockets of the calling thread's network namespace with the kernel's iterator.

use std::fs::File;
use std::io::{self, Read as _};

use aya::Ebpf;
use aya::programs::Iter;
use aya::programs::ProgramError;
use aya::programs::links::LinkError;
use tcpwatch_common::event::{Census, Row};
use tcpwatch_common::names::program;

use super::counters::{Counters, CountersError};
use super::load::Kernel;

/// Why the sockets of a namespace could not be walked.
#[derive(Debug, thiserror::Error)]
pub enum CensusError {
    #[error("cannot start a walk over the sockets with the program {name}: {source}")]
    Start { name: &'static str, source: ProgramError },
    #[error("cannot open a walk over the sockets with the program {name}: {source}")]
    Open { name: &'static str, source: LinkError },
    #[error("the walk over the sockets with the program {name} broke off: {source}")]
    Read { name: &'static str, source: io::Error },
    #[error(transparent)]
    Counters(#[from] CountersError),
    #[error("this kernel does not run the program {name}: {error}")]
    NotLoaded { name: &'static str, error: String },
}

/// Walks sockets. Lends the loaded programs for the time of a walk.
pub(super) struct Walker<'a> {
    pub(super) ebpf: &'a mut Ebpf,
}

impl Kernel {
    /// Whether walks of the kind `name` can be had; the error says why not.
    pub(super) fn require(&self, name: &'static str) -> Result<(), CensusError> {
        match self.programs().iter().find(|program| program.name == name) {
            Some(program) if program.is_loaded() => Ok(()),
            other => {
                let error = other.and_then(|program| program.error.clone()).unwrap_or_default();
                Err(CensusError::NotLoaded { name, error })
            }
        }
    }

    /// Counts the sockets of the calling thread's namespace, by kernel state number as `ss` shows them
    /// (half-open requests are 12). Sockets older than the programs are met on the way.
    pub fn census(&mut self, counters: &mut Counters) -> Result<Census, CensusError> {
        self.require(program::CENSUS)?;
        counters.clear_census()?;
        let mut walker = Walker { ebpf: &mut self.ebpf };
        walker.walk(program::CENSUS, |_| ())?;
        Ok(counters.census()?)
    }

    /// Notes in the table which process has which socket, for all of them.
    pub fn find_holders(&mut self) -> Result<(), CensusError> {
        self.require(program::HOLDERS)?;
        Walker { ebpf: &mut self.ebpf }.walk(program::HOLDERS, |_| ())
    }

    /// Tells of each socket of the calling thread's namespace.
    pub fn rows(&mut self, mut each: impl FnMut(&Row)) -> Result<(), CensusError> {
        self.require(program::ROWS)?;
        let mut walker = Walker { ebpf: &mut self.ebpf };
        let mut rest = Vec::new();
        walker.walk(program::ROWS, |bytes| {
            rest.extend_from_slice(bytes);
            let whole = rest.len() - rest.len() % Row::SIZE;
            rest[..whole].chunks_exact(Row::SIZE).filter_map(Row::from_bytes).for_each(|row| each(&row));
            rest.drain(..whole);
        })
    }
}

impl Walker<'_> {
    /// Runs one walk and hands on what the program writes.
    pub(super) fn walk(
        &mut self,
        name: &'static str,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), CensusError> {
        let mut file = begin(iterator(self.ebpf, name)?, name)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => each(&buffer[..length]),
                // A walk over a large table is handed over in parts.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(source) => return Err(CensusError::Read { name, source }),
            }
        }
    }
}

/// The loaded iterator of this name.
pub(super) fn iterator<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Iter, CensusError> {
    ebpf.program_mut(name)
        .ok_or(CensusError::NotLoaded { name, error: "not in the eBPF object".into() })?
        .try_into()
        .map_err(|source| CensusError::Start { name, source })
}

/// Begins a walk of the calling thread's namespace.
pub(super) fn begin(program: &mut Iter, name: &'static str) -> Result<File, CensusError> {
    let start = |source| CensusError::Start { name, source };
    let link = program.attach().map_err(start)?;
    let link = program.take_link(link).map_err(start)?;
    link.into_file().map_err(|source| CensusError::Open { name, source })
}
