//! The live kernel: counters of the eBPF programs, held beside the kernel's own.

mod found;
mod gone;
mod living;
mod lost;
mod namespace;
mod older;
mod passes;
mod queues;
mod services;
mod shortages;
pub(super) mod sockets;
mod walks;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tcpwatch_common::cell;
use tcpwatch_common::event::Event;

use super::convert::{Service, add_illegal, folded, listener, remotes, service};
use super::namespaces::Namespaces;
use super::retire::Retired;
use super::settings::{Settings, limits};
use super::survey::Surveyor;
use super::{Source, SourceError};
use crate::host::owner::{FOREIGN_PIDS, sees_host_pids};
use crate::host::processes::Processes;
use crate::host::procfs::{OF_THREAD, SockStat};
use crate::kernel::{self, Counters, Kernel, Listeners, Options, Remotes, Ring, Services, Stage, Sweep};
use crate::process::Process;
use crate::sample::{
    Census, NamespaceSample, Plan, ProgramSample, RemoteSample, RingSample, Sample, SocketSample, SourceKind,
    missed, ungrouped,
};
use found::Found;
use gone::OTHERS;
use living::{Living, Rows};
use lost::Lost;
use namespace::Kept;
use older::Met;
use passes::Passes;
use queues::Queues;
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
    ends: Services,
    surveyor: Surveyor,
    settings: Settings,
    ring: Ring,
    namespaces: Namespaces,
    met: Met,
    /// Namespaces of which `others` has sockets, by what tells them from others.
    folded: HashSet<u64>,
    /// Walks the sockets of all namespaces at once, if this kernel can.
    sweep: Option<Sweep>,
    census: HashMap<u64, Census>,
    /// What was read last of each namespace.
    kept: HashMap<u64, Kept>,
    /// Where the kernel keeps its tables of connections.
    hashes: BTreeSet<u64>,
    passes: Passes,
    queues: Queues,
    walks: Walks,
    retired: Retired,
    lost: Lost,
    shortages: Shortages,
    found: Found,
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
        Self::open_unless(options, on_event, &mut |_| false)
    }

    /// The same, which takes seconds; between its parts `stopped` is asked whether to go on.
    pub fn open_unless(
        options: &Options,
        on_event: impl FnMut(&Event) + Send + 'static,
        stopped: &mut dyn FnMut(Stage) -> bool,
    ) -> Result<Self, SourceError> {
        // Sockets of all namespaces; where it cannot be read, the map for them is of its smallest size.
        let open = SockStat::read(Path::new(OF_THREAD), &mut String::new()).map_or(0, |stat| stat.alloc);
        let mut kernel = Kernel::open_unless(options, open, stopped)?;
        let sweep = kernel.take_sweep();
        let counters = Counters::open(&mut kernel)?;
        let listeners = Listeners::open(&mut kernel)?;
        let remotes = Remotes::open(&mut kernel)?;
        let ends = Services::open(&mut kernel)?;
        let surveyor = Surveyor::open(&mut kernel)?;
        let ring = Ring::open(&mut kernel)?;
        let mut live = Self {
            opened: Instant::now(),
            kernel,
            counters,
            listeners,
            services: Vec::new(),
            remotes,
            ends,
            surveyor,
            settings: Settings::default(),
            ring,
            namespaces: Namespaces::look()?,
            met: Met::Of(BTreeSet::new()),
            folded: HashSet::new(),
            sweep,
            census: HashMap::new(),
            kept: HashMap::new(),
            hashes: BTreeSet::new(),
            passes: Passes::new(Instant::now()),
            queues: Queues::default(),
            walks: Walks::new(Instant::now()),
            retired: Retired::new(options.namespaces, options.retire_after),
            lost: Lost::default(),
            shortages: Shortages::default(),
            found: Found::default(),
            kernel_memory: kernel::map_memory(),
            processes: Processes::default(),
            sees_host_pids: sees_host_pids(),
            buffer: String::new(),
            on_event: Box::new(on_event),
        };
        if options.adopt {
            live.meet_older(stopped)?;
        }
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
        busy: &HashSet<u64>,
        problems: &mut Vec<String>,
    ) -> Result<Vec<NamespaceSample>, SourceError> {
        let mut rows: Rows = self.counters.namespaces()?.into_iter().collect();
        let living = self.living(&mut rows)?;
        // Those with a queue that is not empty; and events may have left some anywhere.
        let may_have = !busy.is_empty()
            || living.iter().any(|one| one.time_wait != Some(0))
            || living.iter().any(|one| one.row.is_some_and(|row| self.counters.is_active(row)));
        self.count_minis(&living, census, may_have);
        let each_alone = self.sweep.is_none();
        let alone = living.iter().filter(|_| each_alone).map(|one| one.inode);
        self.walks.begin(Instant::now(), census, alone);
        let mut all = Vec::with_capacity(living.len() + rows.len() + 1);
        let keys: HashSet<u64> = living.iter().map(Living::identity).collect();
        self.folded.retain(|key| keys.contains(key));
        let (late, early): (Vec<_>, Vec<_>) =
            living.into_iter().partition(|one| self.walks.is_late(one.inode));
        for one in early.into_iter().chain(late) {
            let (sample, problem) = self.namespace(&one, busy.contains(&one.inode))?;
            problems.extend(problem.map(|problem| format!("network namespace {}: {problem}", one.inode)));
            all.push(sample);
        }
        all.sort_by_key(|namespace| namespace.inode);
        let alive: HashSet<u64> = all.iter().map(|namespace| namespace.inode).collect();
        self.add_gone(rows, &mut all)?;
        add_illegal(&mut all, &self.counters)?;
        let is_alive = |inode| alive.contains(&inode);
        self.census.retain(|inode, _| *inode == OTHERS || is_alive(*inode));
        self.kept.retain(|inode, _| is_alive(*inode));
        self.surveyor.retain(is_alive);
        self.settings.retain(is_alive);
        self.walks.end(Instant::now(), is_alive);
        Ok(all)
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

    /// What is in the cgroups that surveys speak of.
    fn name_cgroups(&mut self, namespaces: &[NamespaceSample]) -> BTreeMap<u32, Arc<Process>> {
        let surveys = namespaces.iter().filter_map(|namespace| namespace.survey.as_ref());
        self.processes.in_cgroups(surveys.flat_map(|survey| &survey.groups).filter_map(|group| group.cgroup))
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

/// It has sockets, and no counters of its own.
fn is_unnamed(namespace: &NamespaceSample) -> bool {
    let has_sockets = namespace.counters.is_some_and(|now| now.sock.inuse + now.inuse6 > 0);
    namespace.is_alive && namespace.generation == 0 && has_sockets
}

/// More sockets were opened at once than the map for older ones had room for.
fn unmet(count: u64) -> String {
    format!(
        "{count} sockets opened during startup could not be told apart from older ones, so socket counts may be off by up \
         to {count}. Restart tcpwatch to recount"
    )
}

/// Some namespaces have sockets that are counted as `others`.
fn unknown(namespaces: &[NamespaceSample]) -> Option<String> {
    let is_unknown = |one: &&NamespaceSample| one.is_alive && one.cells.is_none();
    let first = namespaces.iter().find(is_unknown)?.inode;
    let count = namespaces.iter().filter(is_unknown).count();
    Some(format!(
        "the socket counts of {count} of the network namespaces (the first is {first}) are unknown: some of their sockets \
         are counted as `others`. Restart tcpwatch with a higher `tcpwatch run --max-namespaces`"
    ))
}

/// Older sockets of some namespaces were not walked.
fn unwalked(namespaces: &[NamespaceSample], met: &Met) -> Option<String> {
    let is_missing = |one: &&NamespaceSample| one.is_alive && !met.has(one.inode);
    let first = namespaces.iter().find(is_missing)?.inode;
    let count = namespaces.iter().filter(is_missing).count();
    Some(format!(
        "sockets older than tcpwatch could not be counted in {count} of the network namespaces (the first is {first}): \
         their socket counts may lack those"
    ))
}

impl Source for Live {
    fn set_plan(&mut self, plan: Plan) {
        self.surveyor.set_plan(plan);
    }

    fn sample(&mut self, census: bool) -> Result<Sample, SourceError> {
        let mut problems = Vec::new();
        self.surveyor.prepare(&mut self.kernel);
        self.found.look(self.sweep.as_mut(), &self.hashes);
        let listeners = self.listeners.read(&mut self.kernel)?;
        let all = listeners.iter().map(|(_, met)| met).chain(self.listeners.parked());
        self.services = all.filter_map(service).collect();
        let busy = self.queues.busy(&listeners);
        let mut namespaces = self.namespaces(census, &busy, &mut problems)?;
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
        let cgroups = self.name_cgroups(&namespaces);
        // Before those that another program has counted: what is missed by now has been, too, or is lost.
        let programs = self.programs();
        // After the drain: what is counted as seen by now and not delivered is still in the ring.
        let mut host = self.counters.host()?;
        host.nested = self.lost.recovered(missed(&programs), host.nested);
        if host.unmet > 0 {
            for namespace in &mut namespaces {
                namespace.is_complete = false;
            }
            problems.push(unmet(host.unmet));
        }
        problems.extend(unknown(&namespaces));
        problems.extend(unwalked(&namespaces, &self.met));
        let folded_older = self.counters.adopted(cell::OVERFLOW_ROW)?.iter().sum();
        let ended = self.ended()?;
        let unplaced = ended.unplaced;
        let ungrouped = ungrouped(&namespaces).unwrap_or(0);
        let crowd = self.listeners.crowd();
        let unfound = self.found.note(&host, &crowd);
        let unnamed = namespaces.iter().any(is_unnamed);
        let seen = Seen {
            host: &host,
            folded_older,
            crowd: &crowd,
            met: &met,
            folded: &folded,
            ungrouped,
            unplaced,
            unfound,
            unnamed,
        };
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
            services: ended.services,
            other_ends: ended.other,
            processes,
            cgroups,
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
