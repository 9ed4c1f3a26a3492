//! One instant of the host, as plain data: all that the analysis ever sees.
//!
//! The live kernel, the fallback without eBPF and (later) a recording each produce it. Counters are as the source
//! has them, never differences; what a source cannot know is `None`.

pub mod counters;
mod listener;
pub mod memory;
mod remote;
mod service;
mod shortage;
mod socket;
mod survey;
mod sysctls;
mod vitals;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tcpwatch_common::TcpState;
use tcpwatch_common::cell;
use tcpwatch_common::host::HostCounters;
use tcpwatch_common::names::program;

use crate::process::Process;
pub use counters::NetCounters;
pub use listener::ListenerSample;
pub use remote::{FoldedSample, RemoteCounts, RemoteSample};
pub use service::{Ends, Rtts, SendLimits, ServiceSample, Side};
pub use shortage::{Shortage, What};
pub use socket::SocketSample;
pub use survey::{Example, Group, Memory, Plan, Survey, Trouble, Tuple};
pub use sysctls::{HostLimits, Sysctls};
pub use vitals::{NO_ERROR, Vitals, error_name, error_number};

/// Numbers of sockets by [`TcpState::index`].
pub type StateCounts = [u64; TcpState::COUNT];

/// Where a sample comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// eBPF programs that count every transition.
    Ebpf,
    /// Netlink and `/proc`: states now, no transitions.
    Netlink,
}

impl SourceKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ebpf => "ebpf",
            Self::Netlink => "netlink",
        }
    }
}

/// One instant of the host.
#[derive(Clone, Debug)]
pub struct Sample {
    pub at: SystemTime,
    /// Since the source was opened.
    pub elapsed: Duration,
    pub source: SourceKind,
    pub namespaces: Vec<NamespaceSample>,
    pub host: Option<Box<HostCounters>>,
    /// Resets sent by the kernel's reason; empty where it gives none.
    pub reset_reasons: Vec<(String, u64)>,
    /// Every listener of every namespace.
    pub listeners: Vec<ListenerSample>,
    /// Remote ends that something went wrong with.
    pub remotes: Vec<RemoteSample>,
    /// What went wrong with remotes that are not told apart.
    pub folded: Vec<FoldedSample>,
    /// Connections that have ended, by service.
    pub services: Vec<ServiceSample>,
    /// Those of services that are not told apart; `None` if the source does not see ends.
    pub other_ends: Option<Ends>,
    /// The processes that listeners, surveys and remotes speak of, by host pid.
    pub processes: BTreeMap<u32, Arc<Process>>,
    /// What is in the cgroups that surveys speak of, by id: of these processes nothing is known but where they run.
    pub cgroups: BTreeMap<u32, Arc<Process>>,
    pub limits: HostLimits,
    pub programs: Vec<ProgramSample>,
    /// Kernel fields that this kernel lacks, and what is lost without each.
    pub lost_fields: Vec<(String, String)>,
    pub ring: RingSample,
    /// What could not be read this time, for a person.
    pub problems: Vec<String>,
    /// What there is no room for, so that findings may be missing.
    pub shortages: Vec<Shortage>,
    /// Bytes of kernel memory that the maps take.
    pub kernel_memory: Option<u64>,
}

/// One network namespace.
#[derive(Clone, Debug, Default)]
pub struct NamespaceSample {
    /// Its inode number, the name people know it by.
    pub inode: u64,
    /// Tells it from an earlier namespace that had the same number.
    pub generation: u64,
    pub name: Option<String>,
    pub is_own: bool,
    /// It exists now, and can be looked into.
    pub is_alive: bool,
    /// What happened in it since the start, by [`cell`]; `None` from a source that sees no transitions.
    pub cells: Option<cell::Row>,
    /// Sockets older than the programs, by the state they were first met in.
    pub adopted: StateCounts,
    /// Transitions that the reference machine calls illegal.
    pub illegal: Vec<(TcpState, TcpState, u64)>,
    /// Every socket older than the programs has been met, so that the counts are exact.
    pub is_complete: bool,
    pub census: Option<Census>,
    /// The kernel's own counters before and after `cells` were read.
    pub kernel: Option<(KernelCounters, KernelCounters)>,
    /// The same and more, as they were last.
    pub counters: Option<NetCounters>,
    pub sysctls: Option<Arc<Sysctls>>,
    /// The last walk that put sockets in groups.
    pub survey: Option<Arc<Survey>>,
}

/// A walk over all sockets of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// [`Sample::elapsed`] when it was taken.
    pub elapsed: Duration,
    /// As the kernel lists them: TIME_WAIT are mini-sockets. Where `minis` are known they are not in here.
    pub counts: StateCounts,
    /// Mini-sockets that `ss` shows in another state, if the source tells them apart.
    pub minis: Option<Minis>,
}

/// Mini-sockets by what they stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Minis {
    /// Half-open requests; `ss` shows them in SYN_RECV.
    pub half_open: u64,
    /// Orphans whose peer has not closed; `ss` shows them in FIN_WAIT2.
    pub fin_wait2: u64,
}

/// The kernel's own counters of one namespace that a sample is held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounters {
    pub active_opens: u64,
    pub passive_opens: u64,
    pub attempt_fails: u64,
    pub estab_resets: u64,
    pub curr_estab: u64,
    pub embryonic_resets: u64,
    /// TIME_WAIT mini-sockets, those that stand for FIN_WAIT2 among them.
    pub time_wait: u64,
}

/// One eBPF program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramSample {
    pub name: String,
    /// The kernel's number of it, while it is loaded.
    pub id: Option<u32>,
    pub hook: String,
    /// What is lost without it; `None` if nothing works without it.
    pub lost: Option<String>,
    /// Why it does not run, if it does not.
    pub error: Option<String>,
    /// Runs and nanoseconds, while the kernel keeps them.
    pub runs: u64,
    pub nanoseconds: u64,
    /// Runs that the kernel skipped.
    pub missed: u64,
}

/// Transitions that the first of those who count them did not see; another may have.
pub fn missed(programs: &[ProgramSample]) -> u64 {
    let first = programs.iter().find(|program| program.name == program::TRANSITION);
    first.map_or(0, |program| program.missed)
}

/// The fate of facts told one by one: `seen = delivered + lost + filtered`, once the ring is drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingSample {
    pub seen: u64,
    pub filtered: u64,
    pub lost: u64,
    pub delivered: u64,
}

impl RingSample {
    /// Facts in the ring that nobody has taken out yet.
    pub fn in_flight(&self) -> u64 {
        self.seen.saturating_sub(self.filtered + self.lost + self.delivered)
    }
}

impl Sample {
    /// One in which nothing is known but when it was taken, and by what.
    pub fn empty(at: SystemTime, elapsed: Duration, source: SourceKind) -> Self {
        Self {
            at,
            elapsed,
            source,
            namespaces: Vec::new(),
            host: None,
            reset_reasons: Vec::new(),
            listeners: Vec::new(),
            remotes: Vec::new(),
            folded: Vec::new(),
            services: Vec::new(),
            other_ends: None,
            processes: BTreeMap::new(),
            cgroups: BTreeMap::new(),
            limits: HostLimits::default(),
            programs: Vec::new(),
            lost_fields: Vec::new(),
            ring: RingSample::default(),
            problems: Vec::new(),
            shortages: Vec::new(),
            kernel_memory: None,
        }
    }

    /// Who has the sockets of a group, as far as it is known: a process, or only where it runs.
    pub fn owner(&self, group: &Group) -> Option<&Arc<Process>> {
        match group.pid {
            Some(pid) => self.processes.get(&pid),
            None => self.cgroups.get(&group.cgroup?),
        }
    }

    /// Transitions that happened and were counted by no program.
    pub fn missed_transitions(&self) -> u64 {
        let recovered = self.host.as_ref().map_or(0, |host| host.nested);
        missed(&self.programs).saturating_sub(recovered)
    }

    /// Sockets that the last surveys had no group for; `None` if no namespace was surveyed.
    pub fn ungrouped(&self) -> Option<u64> {
        ungrouped(&self.namespaces)
    }
}

/// Sockets that the last surveys of these had no group for; `None` if none was surveyed.
pub fn ungrouped(namespaces: &[NamespaceSample]) -> Option<u64> {
    let alive = namespaces.iter().filter(|namespace| namespace.is_alive);
    let surveys = alive.filter_map(|namespace| namespace.survey.as_ref());
    surveys.map(|survey| survey.folded).reduce(|all, folded| all + folded)
}
