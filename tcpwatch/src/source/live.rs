//! The live kernel: counters of the eBPF programs, held beside the kernel's own.

mod lost;
mod namespace;
mod shortages;
pub(super) mod sockets;
mod walks;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tcpwatch_common::cell;
use tcpwatch_common::event::{Event, Namespace};

use super::convert::{Service, add_illegal, by_index, folded, listener, remotes, service};
use super::namespaces::Namespaces;
use super::retire::Retired;
use super::settings::{Settings, limits};
use super::survey::Surveyor;
use super::{Source, SourceError};
use crate::host::netns::{NetnsHandle, within};
use crate::host::owner::{FOREIGN_PIDS, sees_host_pids};
use crate::host::processes::Processes;
use crate::kernel::{self, Counters, Kernel, Listeners, LoadError, Options, Remotes, Ring};
use crate::process::Process;
use crate::sample::{
    Census, NamespaceSample, Plan, ProgramSample, RemoteSample, RingSample, Sample, SocketSample, SourceKind,
    missed, ungrouped,
};
use lost::Lost;
use shortages::{Seen, Shortages};
use walks::Walks;

/// Facts taken out of the ring at one tick.
const DRAIN_LIMIT: usize = 100_000;

/// The running programs, and what was learned of the host's namespaces.
pub struct Live {
    opened: Instant,
    kernel: Kernel,
    counters: Counters,
    listeners: Listeners,
    /// What listens, as it was when listeners were last read.
    services: Vec<Service>,
    remotes: Remotes,
    surveyor: Surveyor,
    settings: Settings,
    ring: Ring,
    namespaces: Namespaces,
    /// Namespaces whose older sockets have all been met.
    settled: BTreeSet<u64>,
    census: HashMap<u64, Census>,
    walks: Walks,
    retired: Retired,
    lost: Lost,
    shortages: Shortages,
    kernel_memory: Option<u64>,
    processes: Processes,
    /// Numbers of processes that the kernel side tells are those of our `/proc`.
    sees_host_pids: bool,
    buffer: String,
    on_event: Box<dyn FnMut(&Event) + Send>,
}

impl Live {
    /// Loads the programs, then meets every socket that is older than they are.
    pub fn open(
        options: &Options,
        on_event: impl FnMut(&Event) + Send + 'static,
    ) -> Result<Self, SourceError> {
        Self::open_unless(options, on_event, &mut || false)
    }

    /// The same, which takes seconds; between its parts `stopped` is asked whether to go on.
    pub fn open_unless(
        options: &Options,
        on_event: impl FnMut(&Event) + Send + 'static,
        stopped: &mut dyn FnMut() -> bool,
    ) -> Result<Self, SourceError> {
        let mut kernel = Kernel::open_unless(options, stopped)?;
        let counters = Counters::open(&mut kernel)?;
        let listeners = Listeners::open(&mut kernel)?;
        let remotes = Remotes::open(&mut kernel)?;
        let surveyor = Surveyor::open(&mut kernel)?;
        let ring = Ring::open(&mut kernel)?;
        let mut live = Self {
            opened: Instant::now(),
            kernel,
            counters,
            listeners,
            services: Vec::new(),
            remotes,
            surveyor,
            settings: Settings::default(),
            ring,
            namespaces: Namespaces::look()?,
            settled: BTreeSet::new(),
            census: HashMap::new(),
            walks: Walks::new(Instant::now()),
            retired: Retired::new(options.namespaces, options.retire_after),
            lost: Lost::default(),
            shortages: Shortages::default(),
            kernel_memory: kernel::map_memory(),
            processes: Processes::default(),
            sees_host_pids: sees_host_pids(),
            buffer: String::new(),
            on_event: Box::new(on_event),
        };
        live.settle(stopped)?;
        Ok(live)
    }

    /// What the kernel allowed.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Namespaces that have a row of counters now.
    pub fn namespaces_met(&self) -> Result<usize, SourceError> {
        Ok(self.counters.namespaces()?.len())
    }

    /// Walks the sockets of every namespace found so far. Sockets that no event has told of yet are met here, the
    /// others at their first event; each is counted once.
    fn settle(&mut self, stopped: &mut dyn FnMut() -> bool) -> Result<(), SourceError> {
        let handles = self.namespaces.all().to_vec();
        for (number, handle) in handles.iter().enumerate() {
            if stopped() {
                return Err(LoadError::Stopped.into());
            }
            log::debug!(
                "meeting the sockets of network namespace {} ({} of {})",
                handle.inode,
                number + 1,
                handles.len()
            );
            if let Err(problem) = self.settle_one(handle) {
                log::warn!("sockets older than tcpwatch are missing: {problem}");
            }
        }
        self.kernel.adopt(false)?;
        self.surveyor.find_holders(&mut self.kernel)?;
        Ok(())
    }

    fn settle_one(&mut self, handle: &NetnsHandle) -> Result<(), String> {
        // Twice: the iterator of kernels before 6.17 can pass a socket over. What was met is not met again.
        for _ in 0..2 {
            let walked = within(handle, || self.kernel.census(&mut self.counters));
            walked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        }
        self.settled.insert(handle.inode);
        Ok(())
    }

    /// Meets the sockets of namespaces that were found only now. A socket that has no place in the table would be
    /// taken for one of them, so this must not be done once the table was full.
    fn settle_late(&mut self, untracked: u64) -> Result<(), SourceError> {
        let late: Vec<_> = self
            .namespaces
            .all()
            .iter()
            .filter(|found| !self.settled.contains(&found.inode))
            .cloned()
            .collect();
        if late.is_empty() || untracked > 0 {
            return Ok(());
        }
        self.kernel.adopt(true)?;
        for handle in &late {
            if let Err(problem) = self.settle_one(handle) {
                log::debug!("{problem}");
            }
        }
        self.kernel.adopt(false)?;
        Ok(())
    }

    fn row(&self, row: Option<u32>) -> Result<(cell::Row, [u64; 16]), SourceError> {
        match row {
            Some(row) => Ok((self.counters.cells(row)?, self.counters.adopted(row)?)),
            None => Ok(([0; cell::CELLS], [0; 16])),
        }
    }

    /// Every namespace that exists, and every other that has counters.
    fn namespaces(
        &mut self,
        census: bool,
        problems: &mut Vec<String>,
    ) -> Result<Vec<NamespaceSample>, SourceError> {
        let mut met: BTreeMap<u64, Vec<(u64, Namespace)>> = BTreeMap::new();
        for (key, namespace) in self.counters.namespaces()? {
            met.entry(namespace.inode.into()).or_default().push((key, namespace));
        }
        self.namespaces.refresh(met.keys().copied())?;
        let mut all = Vec::new();
        let handles = self.namespaces.all().to_vec();
        self.walks.begin(Instant::now(), census, handles.iter().map(|handle| handle.inode));
        let (late, early): (Vec<_>, Vec<_>) =
            handles.into_iter().partition(|handle| self.walks.is_late(handle.inode));
        for handle in early.into_iter().chain(late) {
            // Cookies only grow: the greatest is the namespace that has the number now.
            let newest = met.get_mut(&handle.inode).and_then(|rows| {
                rows.sort_by_key(|(key, _)| *key);
                rows.pop()
            });
            let (sample, problem) = self.namespace(&handle, newest.as_ref())?;
            problems.extend(problem.map(|problem| format!("network namespace {}: {problem}", handle.inode)));
            all.push(sample);
        }
        all.sort_by_key(|namespace| namespace.inode);
        add_illegal(&mut all, &self.counters)?;
        self.add_gone(met, &mut all)?;
        let is_alive = |inode| all.iter().any(|namespace| namespace.inode == inode && namespace.is_alive);
        self.census.retain(|inode, _| is_alive(*inode));
        self.surveyor.retain(is_alive);
        self.settings.retain(is_alive);
        self.walks.end(Instant::now(), is_alive);
        Ok(all)
    }

    /// Namespaces that have counters and are not there any more; their rows go to others when rows get scarce.
    fn add_gone(
        &mut self,
        met: BTreeMap<u64, Vec<(u64, Namespace)>>,
        all: &mut Vec<NamespaceSample>,
    ) -> Result<(), SourceError> {
        let used = all.len() + met.values().map(Vec::len).sum::<usize>();
        let is_scarce = self.retired.is_scarce(used);
        for (inode, rows) in met {
            for (generation, namespace) in rows {
                let (cells, adopted) = self.row(Some(namespace.row))?;
                let adopted = by_index(&adopted);
                let mut gone = [NamespaceSample {
                    inode,
                    generation,
                    cells: Some(cells),
                    adopted,
                    ..Default::default()
                }];
                add_illegal(&mut gone, &self.counters)?;
                let [sample] = gone;
                if is_scarce && self.retired.is_due(&sample) {
                    self.counters.free_row(generation, namespace.row)?;
                    self.retired.take(sample);
                } else {
                    all.push(sample);
                }
            }
        }
        all.push(self.others()?);
        Ok(())
    }

    /// All namespaces without a row of their own, as one without a number: those that are retired, and those for
    /// which there was none.
    fn others(&self) -> Result<NamespaceSample, SourceError> {
        let (cells, adopted) = self.row(Some(cell::OVERFLOW_ROW))?;
        let folded = NamespaceSample {
            name: Some("others".into()),
            cells: Some(cells),
            adopted: by_index(&adopted),
            ..Default::default()
        };
        let mut folded = [folded];
        add_illegal(&mut folded, &self.counters)?;
        let [folded] = folded;
        Ok(self.retired.with(folded))
    }

    /// The processes that a sample speaks of.
    fn name_processes(
        &mut self,
        namespaces: &[NamespaceSample],
        remotes: &[RemoteSample],
    ) -> BTreeMap<u32, Arc<Process>> {
        if !self.sees_host_pids {
            // The numbers would mean other processes here.
            return BTreeMap::new();
        }
        let surveys = namespaces.iter().filter_map(|namespace| namespace.survey.as_ref());
        let groups = surveys.flat_map(|survey| &survey.groups).filter_map(|group| group.pid);
        let listening = self.services.iter().filter_map(|service| service.pid);
        let remotes = remotes.iter().filter_map(|remote| remote.pid);
        self.processes.describe(listening.chain(groups).chain(remotes))
    }

    fn programs(&self) -> Vec<ProgramSample> {
        let of = |program: &kernel::ProgramStatus| {
            let stats = program.fd.and_then(kernel::run_stats);
            let id = stats.map(|stats| stats.id);
            let stats = stats.unwrap_or_default();
            ProgramSample {
                name: program.name.into(),
                id,
                hook: program.hook.to_string(),
                lost: program.lost.map(str::to_owned),
                error: program.error.clone(),
                runs: stats.runs,
                nanoseconds: stats.nanoseconds,
                missed: stats.missed.unwrap_or(0),
            }
        };
        self.kernel.programs().iter().map(of).collect()
    }
}

impl Source for Live {
    fn set_plan(&mut self, plan: Plan) {
        self.surveyor.set_plan(plan);
    }

    fn sample(&mut self, census: bool) -> Result<Sample, SourceError> {
        let untracked = self.counters.host()?.untracked;
        self.settle_late(untracked)?;
        let mut problems = Vec::new();
        self.surveyor.prepare(&mut self.kernel);
        let listeners = self.listeners.read(&mut self.kernel)?;
        let all = listeners.iter().map(|(_, met)| met).chain(self.listeners.parked());
        self.services = all.filter_map(service).collect();
        let namespaces = self.namespaces(census, &mut problems)?;
        let own = namespaces.iter().find(|namespace| namespace.is_own);
        let limits = limits(own.and_then(|own| own.counters.as_ref()));
        problems.extend(self.namespaces.hidden());
        problems.extend((!self.sees_host_pids).then(|| FOREIGN_PIDS.to_owned()));
        self.kernel.flush_log();
        self.ring.drain(DRAIN_LIMIT, &mut self.on_event);
        let met = self.remotes.read(&*self.counters.host()?);
        let remotes = remotes(&met.remotes, &met.clients);
        let folded: Vec<_> = met.folded.iter().map(|(holder, counts)| folded(holder, counts)).collect();
        let processes = self.name_processes(&namespaces, &remotes);
        // Before those that another program has counted: what is missed by now has been, too, or is lost.
        let programs = self.programs();
        // After the drain: what is counted as seen by now and not delivered is still in the ring.
        let mut host = self.counters.host()?;
        host.nested = self.lost.recovered(missed(&programs), host.nested);
        let ungrouped = ungrouped(&namespaces).unwrap_or(0);
        let crowd = self.listeners.crowd();
        let seen = Seen { host: &host, crowd: &crowd, met: &met, folded: &folded, ungrouped };
        let shortages = self.shortages.apply(&seen, SystemTime::now(), Instant::now());
        let names = self.kernel.reset_reasons();
        let reasons = self.counters.reset_reasons(names.len())?;
        Ok(Sample {
            at: SystemTime::now(),
            elapsed: self.opened.elapsed(),
            source: SourceKind::Ebpf,
            namespaces,
            reset_reasons: names.iter().cloned().zip(reasons).filter(|(name, _)| !name.is_empty()).collect(),
            listeners: listeners.iter().filter_map(|(id, met)| listener(*id, met)).collect(),
            remotes,
            folded,
            processes,
            limits,
            programs,
            lost_fields: self
                .kernel
                .lost_fields()
                .iter()
                .map(|lost| (lost.field.clone(), lost.lost.into()))
                .collect(),
            ring: RingSample {
                seen: host.ring.seen,
                filtered: host.ring.filtered,
                lost: host.ring.lost,
                delivered: self.ring.delivered(),
            },
            host: Some(host),
            problems,
            shortages,
            kernel_memory: self.kernel_memory,
        })
    }

    fn sockets(
        &mut self,
        is_wanted: &dyn Fn(u64) -> bool,
        each: &mut dyn FnMut(&SocketSample),
    ) -> Result<Vec<String>, SourceError> {
        self.walk(is_wanted, each)
    }

    fn processes(&mut self) -> &mut Processes {
        &mut self.processes
    }
}
