//! One namespace of the host: what is read while the thread is inside it.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tcpwatch_common::event::Namespace;
use tcpwatch_common::{TcpState, cell};

use super::Live;
use crate::host::netns::{NetnsHandle, within};
use crate::host::procfs::{NetCounters, OF_THREAD};
use crate::model::states::whole_sockets;
use crate::sample::{Census, Minis, NamespaceSample, StateCounts, Sysctls};
use crate::source::SourceError;
use crate::source::convert::{by_index, has_listened, kernel_counters, minis};
use crate::source::survey::Around;

/// What is read while the thread is inside a namespace.
struct Inside {
    before: Option<NetCounters>,
    cells: cell::Row,
    adopted: [u64; 16],
    after: Option<NetCounters>,
    census: Option<(StateCounts, Minis)>,
    sysctls: Option<Arc<Sysctls>>,
    problem: Option<String>,
}

impl Live {
    /// One namespace, by its newest row of counters.
    pub(super) fn namespace(
        &mut self,
        handle: &NetnsHandle,
        met: Option<&(u64, Namespace)>,
    ) -> Result<(NamespaceSample, Option<String>), SourceError> {
        let inside = match within(handle, || self.inside(handle.inode, met.map(|(_, met)| met.row))) {
            Ok(inside) => inside?,
            Err(error) => {
                let (cells, adopted) = self.row(met.map(|(_, met)| met.row))?;
                Inside {
                    before: None,
                    cells,
                    adopted,
                    after: None,
                    census: None,
                    sysctls: None,
                    problem: Some(error.to_string()),
                }
            }
        };
        if let Some((counts, minis)) = inside.census {
            let census = Census { elapsed: self.opened.elapsed(), counts, minis: Some(minis) };
            self.census.insert(handle.inode, census);
        }
        self.met.check(handle.inode, &inside.cells, &inside.adopted, inside.after.as_ref());
        let sample = NamespaceSample {
            inode: handle.inode,
            generation: met.map_or(0, |(generation, _)| *generation),
            name: handle.name.clone(),
            is_own: handle.is_own,
            is_alive: true,
            cells: Some(inside.cells),
            adopted: by_index(&inside.adopted),
            illegal: Vec::new(),
            is_complete: self.met.has(handle.inode),
            census: self.census.get(&handle.inode).copied(),
            kernel: inside.before.zip(inside.after).map(|(a, b)| (kernel_counters(&a), kernel_counters(&b))),
            counters: inside.after,
            sysctls: inside.sysctls,
            survey: self.surveyor.of(handle.inode),
        };
        Ok((sample, inside.problem))
    }

    fn inside(&mut self, inode: u64, row: Option<u32>) -> Result<Inside, SourceError> {
        let mut problem = None;
        let dir = Path::new(OF_THREAD);
        let mut read = |buffer: &mut String| {
            NetCounters::read(dir, buffer).map_err(|error| problem = Some(error.to_string())).ok()
        };
        let before = read(&mut self.buffer);
        let (cells, adopted) = self.row(row)?;
        let after = read(&mut self.buffer);
        let sysctls = self.settings.of(inode);
        let counts = counts(&cells, &adopted, after.as_ref());
        // A walk costs milliseconds however few sockets there are. Half-open requests can outlive their listener, so
        // an empty namespace is only sure of having none if it never had a listener.
        let empty = after.as_ref().is_some_and(NetCounters::no_sockets) && !has_listened(&cells, &adopted);
        let is_left = self.walks.is_left(inode);
        let started = Instant::now();
        let walked = if self.surveyor.is_due(inode, &counts) && self.walks.has_time(inode) {
            let around =
                Around { inode, sysctls: &sysctls, services: &self.services, elapsed: self.opened.elapsed() };
            Some(self.surveyor.survey(&mut self.kernel, &mut self.counters, &counts, &around))
        } else if is_left && empty {
            Some(Ok([0; _]))
        } else if is_left && self.walks.has_time(inode) {
            Some(self.kernel.census(&mut self.counters))
        } else {
            None
        };
        if walked.is_some() {
            self.walks.done(inode, started.elapsed());
        }
        let census = match walked {
            None => None,
            Some(Ok(counts)) => Some((by_index(&counts), minis(&counts))),
            Some(Err(error)) => {
                problem = Some(error.to_string());
                None
            }
        };
        Ok(Inside { before, cells, adopted, after, census, sysctls: Some(sysctls), problem })
    }
}

/// Sockets by state as far as they are known without a walk: whole ones, and mini-sockets as TIME_WAIT.
fn counts(cells: &cell::Row, adopted: &[u64; 16], counters: Option<&NetCounters>) -> StateCounts {
    let mut counts = whole(cells, adopted);
    counts[TcpState::TimeWait.index()] = counters.map_or(0, |counters| counters.sock.tw);
    counts
}

/// Whole sockets by state. Closed ones are counted as well, and are none any more.
pub(super) fn whole(cells: &cell::Row, adopted: &[u64; 16]) -> StateCounts {
    let known =
        NamespaceSample { cells: Some(*cells), adopted: by_index(adopted), ..NamespaceSample::default() };
    let mut counts = whole_sockets(&known).unwrap_or_default();
    counts[TcpState::Close.index()] = 0;
    counts
}
