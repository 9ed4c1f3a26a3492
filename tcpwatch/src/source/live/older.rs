//! Meeting the sockets that are older than the programs.
//!
//! Each is counted once, at its first event or by a walk: see `tcpwatch-ebpf/src/older.rs`. Where the kernel allows it one
//! walk over its tables meets the sockets of all namespaces, also of those that nobody can enter. Elsewhere each namespace
//! is walked with the kernel's iterator, as far as it is known at the start.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use tcpwatch_common::cell;

use super::Live;
use super::namespace::whole;
use crate::host::netns::{NetnsHandle, within};
use crate::kernel::{ConnectionsError, LoadError, Stage, Sweep};
use crate::sample::NetCounters;
use crate::source::SourceError;

/// An event can have begun while older sockets were met, and end later: for so long it still finds what it needs.
const GRACE: Duration = Duration::from_millis(100);

/// Whose older sockets have been met.
#[derive(Debug)]
pub(super) enum Met {
    /// Those of all namespaces that there were.
    All,
    /// Those of these, by their inode numbers.
    Of(BTreeSet<u64>),
}

impl Met {
    pub(super) fn has(&self, inode: u64) -> bool {
        match self {
            Self::All => true,
            Self::Of(namespaces) => namespaces.contains(&inode),
        }
    }

    pub(super) fn has_all(&self) -> bool {
        matches!(self, Self::All)
    }

    /// Whether a namespace that was found only after the start is newer than the programs: then all of its sockets are
    /// counted, and there are as many as the kernel says.
    pub(super) fn check(
        &mut self,
        inode: u64,
        cells: &cell::Row,
        adopted: &[u64; 16],
        counters: Option<&NetCounters>,
    ) {
        let Self::Of(namespaces) = self else { return };
        if namespaces.contains(&inode) {
            return;
        }
        let counted: u64 = whole(cells, adopted).iter().sum();
        if counters.is_some_and(|counters| counters.sock.inuse + counters.inuse6 == counted) {
            namespaces.insert(inode);
        }
    }
}

impl Live {
    /// Meets every older socket that can be found.
    pub(super) fn meet_older(&mut self, stopped: &mut dyn FnMut(Stage) -> bool) -> Result<(), SourceError> {
        let swept = self.sweep.as_mut().map(|sweep| sweep_all(sweep, stopped));
        self.met = match swept {
            Some(Ok(())) => Met::All,
            Some(Err(ConnectionsError::Stopped)) => return Err(LoadError::Stopped.into()),
            Some(Err(error)) => {
                log::warn!("namespaces are walked one by one: {error}");
                self.sweep = None;
                self.walk_each(stopped)?
            }
            None => self.walk_each(stopped)?,
        };
        self.surveyor.find_holders(&mut self.kernel)?;
        self.end_meeting()
    }

    fn walk_each(&mut self, stopped: &mut dyn FnMut(Stage) -> bool) -> Result<Met, SourceError> {
        let handles = self.namespaces.all().to_vec();
        let mut met = BTreeSet::new();
        for (number, handle) in handles.iter().enumerate() {
            if stopped(meeting(number, handles.len())) {
                return Err(LoadError::Stopped.into());
            }
            match self.walk_one(handle) {
                Ok(()) => drop(met.insert(handle.inode)),
                Err(problem) => log::warn!("sockets older than tcpwatch are missing: {problem}"),
            }
        }
        Ok(Met::Of(met))
    }

    fn walk_one(&mut self, handle: &NetnsHandle) -> Result<(), String> {
        // Twice: the iterator of kernels before 6.17 can pass a socket over. What was met is not met again.
        for _ in 0..2 {
            let walked = within(handle, || self.kernel.census(&mut self.counters));
            walked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Ends the meeting before the first sample. It must not wait for a tick, which may be long: meanwhile every socket that
    /// is opened takes room in the map for older ones.
    fn end_meeting(&mut self) -> Result<(), SourceError> {
        // Events of sockets that no walk has seen still count.
        thread::sleep(GRACE);
        self.kernel.adopt(false)?;
        // They do not count any more, but one may be under way.
        thread::sleep(GRACE);
        self.kernel.forget_older()?;
        Ok(())
    }
}

fn meeting(done: usize, of: usize) -> Stage {
    Stage { what: "counting the sockets that were there before", done, of }
}

/// Walks every table of connections that a namespace uses, and every table of listeners.
fn sweep_all(sweep: &mut Sweep, stopped: &mut dyn FnMut(Stage) -> bool) -> Result<(), ConnectionsError> {
    let nets = sweep.nets()?.ok_or(ConnectionsError::TooManyNamespaces)?;
    let tables: BTreeSet<u64> = nets.iter().map(|net| net.hash).collect();
    sweep.begin();
    for (number, hash) in tables.iter().enumerate() {
        let mut pause = |done: u32, of: u32| {
            let (done, of) = (done as usize, of as usize);
            stopped(meeting(number * of + done, tables.len() * of))
        };
        let hash = *hash;
        let listeners = sweep.listeners(hash, &mut pause)?;
        let connections = sweep.connections(hash, true, &mut pause)?;
        log::debug!("met {} listeners and {} connections", listeners.met, connections.met);
    }
    Ok(())
}
