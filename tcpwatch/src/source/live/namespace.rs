//! One namespace of the host: what is read while the thread is inside it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcpwatch_common::{TcpState, cell};

use super::Live;
use super::living::Living;
use crate::host::netns::{NetnsError, within};
use crate::host::procfs::{NetCounters, OF_THREAD};
use crate::kernel::CensusError;
use crate::model::states::whole_sockets;
use crate::sample::{Census, Minis, NamespaceSample, StateCounts, Sysctls};
use crate::source::SourceError;
use crate::source::convert::{by_index, has_listened, kernel_counters, minis};
use crate::source::survey::Around;

/// A namespace in which nothing happens is looked into so often all the same: some of the kernel's own counters can change
/// without an event.
const ROTATION: Duration = Duration::from_secs(30);

/// What was read last of a namespace.
#[derive(Debug)]
pub(super) struct Kept {
    sample: NamespaceSample,
    /// Why something is missing.
    problem: Option<String>,
    /// What tells the namespace from a later one with the same number.
    key: Option<u64>,
    next: Instant,
}

/// What is read while the thread is inside a namespace.
struct Inside {
    figures: Figures,
    census: Option<(StateCounts, Minis)>,
    sysctls: Option<Arc<Sysctls>>,
    problem: Option<String>,
}

/// Our counters, and the kernel's before and after them.
struct Figures {
    before: Option<NetCounters>,
    cells: cell::Row,
    adopted: [u64; 16],
    after: Option<NetCounters>,
}

impl Live {
    /// One namespace. It is only looked into if something has happened in it.
    pub(super) fn namespace(
        &mut self,
        living: &Living,
        is_troubled: bool,
    ) -> Result<(NamespaceSample, Option<String>), SourceError> {
        let now = Instant::now();
        // Asked in any case, as it is cleared by that.
        let is_active = living.row.is_some_and(|row| self.counters.was_active(row)) || is_troubled;
        let inode = living.inode;
        let kept = self.kept.get(&inode).filter(|kept| kept.key == living.key && now < kept.next);
        // Who always answers by cookies has no queue that would tell of a flood.
        let kept =
            kept.filter(|kept| kept.sample.sysctls.as_ref().is_none_or(|now| now.syncookies != Some(2)));
        let kept = kept.filter(|_| !is_active).map(|kept| (kept.sample.clone(), kept.problem.clone()));
        if let Some((mut sample, problem)) = kept
            && !(self.has_walk(inode, &sample) && self.walks.has_time(inode))
        {
            self.renew(living, &mut sample);
            return Ok((sample, problem));
        }
        let (mut sample, problem) = self.read(living, !is_active)?;
        let next = self.next_look(inode, now);
        let kept = Kept { sample: sample.clone(), problem: problem.clone(), key: living.key, next };
        self.kept.insert(inode, kept);
        self.renew(living, &mut sample);
        Ok((sample, problem))
    }

    /// Whether the sockets of a namespace are to be walked for it alone.
    fn has_walk(&self, inode: u64, sample: &NamespaceSample) -> bool {
        let mut counts = sample.cells.map_or([0; _], |_| whole_sockets(sample).unwrap_or_default());
        counts[TcpState::Close.index()] = 0;
        counts[TcpState::TimeWait.index()] = sample.counters.map_or(0, |counters| counters.sock.tw);
        self.surveyor.is_due(inode, &counts) || (self.sweep.is_none() && self.walks.is_left(inode))
    }

    /// Spread out, so that namespaces that were found together are not all looked into at the same tick.
    fn next_look(&self, inode: u64, now: Instant) -> Instant {
        let is_first = !self.kept.contains_key(&inode);
        now + if is_first { ROTATION / 16 * (1 + (inode % 16) as u32) } else { ROTATION }
    }

    /// Puts in what is known without a look into the namespace.
    fn renew(&self, living: &Living, sample: &mut NamespaceSample) {
        // What is counted as `others` would be missing in it.
        sample.census = self.census.get(&living.inode).copied().filter(|_| sample.cells.is_some());
        sample.survey = self.surveyor.of(living.inode);
        if let (Some((_, kernel)), Some(time_wait)) = (&mut sample.kernel, living.time_wait) {
            kernel.time_wait = time_wait;
        }
    }

    fn read(
        &mut self,
        living: &Living,
        is_at_rest: bool,
    ) -> Result<(NamespaceSample, Option<String>), SourceError> {
        let entered = living.handle.as_ref().map(|handle| within(handle, || self.inside(living, is_at_rest)));
        let inside = match entered {
            Some(Ok(inside)) => inside?,
            Some(Err(error)) => {
                if matches!(error, NetnsError::Gone { .. }) {
                    self.namespaces.look_soon();
                }
                self.outside(living, Some(error.to_string()))?
            }
            None => self.outside(living, None)?,
        };
        let Figures { before, cells, adopted, after } = inside.figures;
        let is_folded = self.is_folded(living, after.as_ref())?;
        if let Some((counts, minis)) = inside.census
            && !is_folded
        {
            let census = Census { elapsed: self.opened.elapsed(), counts, minis: Some(minis) };
            self.census.insert(living.inode, census);
        }
        self.met.check(living.inode, &cells, &adopted, after.as_ref());
        let sample = NamespaceSample {
            inode: living.inode,
            generation: living.row.and(living.key).unwrap_or(0),
            name: living.handle.as_ref().and_then(|handle| handle.name.clone()),
            is_own: living.handle.as_ref().is_some_and(|handle| handle.is_own),
            is_alive: true,
            cells: (!is_folded).then_some(cells),
            adopted: by_index(&adopted),
            illegal: Vec::new(),
            is_complete: self.met.has(living.inode) && !is_folded,
            census: None,
            kernel: before.zip(after).map(|(a, b)| (kernel_counters(&a), kernel_counters(&b))),
            counters: after,
            sysctls: inside.sysctls,
            survey: None,
        };
        Ok((sample, inside.problem))
    }

    /// Whether sockets of a namespace are, or were once, counted in `others`: its own numbers are not known then. It stays so
    /// where it has got a row since, which lacks those.
    fn is_folded(&mut self, living: &Living, now: Option<&NetCounters>) -> Result<bool, SourceError> {
        let key = living.identity();
        if living.row.is_some() {
            return Ok(self.folded.contains(&key));
        }
        let may_have = now.is_none_or(|now| now.sock.inuse + now.inuse6 > 0);
        let is_folded = may_have && self.has_folded()?;
        if is_folded {
            self.folded.insert(key);
        }
        Ok(is_folded)
    }

    /// What is known of a namespace that cannot be entered.
    fn outside(&self, living: &Living, problem: Option<String>) -> Result<Inside, SourceError> {
        let (cells, adopted) = self.row(living.row)?;
        let figures = Figures { before: None, cells, adopted, after: None };
        Ok(Inside { figures, census: None, sysctls: None, problem })
    }

    /// Our counters are read before and after the kernel's: if they are the same, nothing moved meanwhile. Else the kernel's
    /// are read once more, so that ours are between two readings.
    fn figures(&mut self, row: Option<u32>, problem: &mut Option<String>) -> Result<Figures, SourceError> {
        let dir = Path::new(OF_THREAD);
        let mut read = |buffer: &mut String| {
            NetCounters::read(dir, buffer).map_err(|error| *problem = Some(error.to_string())).ok()
        };
        let first = self.row(row)?;
        let before = read(&mut self.buffer);
        let (cells, adopted) = self.row(row)?;
        let after = if (cells, adopted) == first { before } else { read(&mut self.buffer) };
        Ok(Figures { before, cells, adopted, after })
    }

    fn inside(&mut self, living: &Living, is_at_rest: bool) -> Result<Inside, SourceError> {
        let inode = living.inode;
        let mut problem = None;
        let figures = self.figures(living.row, &mut problem)?;
        let Figures { cells, adopted, after, .. } = &figures;
        let sysctls = self.settings.of(inode, is_at_rest);
        let counts = counts(cells, adopted, after.as_ref());
        let started = Instant::now();
        let walked = if self.surveyor.is_due(inode, &counts) && self.walks.has_time(inode) {
            let around =
                Around { inode, sysctls: &sysctls, services: &self.services, elapsed: self.opened.elapsed() };
            Some(self.surveyor.survey(&mut self.kernel, &mut self.counters, &counts, &around))
        } else if self.sweep.is_none() {
            self.census_of_one(inode, &figures)
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
        Ok(Inside { figures, census, sysctls: Some(sysctls), problem })
    }

    /// Walks a namespace with the kernel's iterator, where there is no walk for all of them.
    fn census_of_one(
        &mut self,
        inode: u64,
        figures: &Figures,
    ) -> Option<Result<tcpwatch_common::event::Census, CensusError>> {
        if !self.walks.is_left(inode) {
            return None;
        }
        // A walk costs milliseconds however few sockets there are. Half-open requests can outlive their listener, so
        // an empty namespace is only sure of having none if it never had a listener.
        let has_none = figures.after.as_ref().is_some_and(NetCounters::no_sockets);
        if has_none && !has_listened(&figures.cells, &figures.adopted) {
            return Some(Ok([0; _]));
        }
        self.walks.has_time(inode).then(|| self.kernel.census(&mut self.counters))
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
