//! Loads the eBPF object: offsets from BTF, sizes from options, programs by the table.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use aya::maps::{Array, MapError};
use aya::{Ebpf, EbpfError};
use aya_log::EbpfLogger;
use tcpwatch_common::event::{Control, phase};
use tcpwatch_common::names::map;

use super::attach::{self, ProgramStatus};
use super::btf::{Btf, BtfError};
use super::maps::{
    Sizes, TCP_CAST, cpus, fill_rows, fill_services, forgetting, is_preemptible, load_object, room, shared,
};
use super::object::ConnectionsError;
use super::offsets::{self, LostField, OffsetError};
use super::older::Older;
use super::sweep::{Running, Sweep};

pub(super) const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// How much the kernel side is to remember.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most sockets whose age and owner can be known at once; rounded up to a power of two. There is room for fewer
    /// where few are open at the start.
    pub sockets: u32,
    /// Network namespaces counted apart.
    pub namespaces: u32,
    /// Listeners that are watched at each tick; the kernel side has room for four times as many.
    pub listeners: u32,
    /// Remotes that are told apart; more on hosts with very many CPUs.
    pub remotes: u32,
    /// Bytes of the ring buffer; a power of two, at least a page.
    pub ring_bytes: u32,
    /// Diagnostics of the programs themselves, by aya-log.
    pub log: bool,
    /// Whether sockets older than the programs shall be met; off where only new ones are of interest.
    pub adopt: bool,
    /// How long a namespace that is gone keeps its counters when rows get scarce.
    pub retire_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sockets: 1 << 20,
            namespaces: 1024,
            listeners: 4096,
            remotes: 2048,
            ring_bytes: 1 << 19,
            log: false,
            adopt: true,
            retire_after: Duration::from_mins(10),
        }
    }
}

/// How far the start has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    pub what: &'static str,
    pub done: usize,
    pub of: usize,
}

/// Why the programs cannot run on this host.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read the kernel's type information, which tells where its fields are: {0}")]
    Btf(#[from] BtfError),
    #[error(transparent)]
    Offsets(#[from] OffsetError),
    #[error("cannot load the eBPF maps: {source}; {hint}")]
    Maps { source: EbpfError, hint: &'static str },
    #[error("cannot use the eBPF map {name}: {source}")]
    Map { name: &'static str, source: MapError },
    #[error("the program {name}, which everything needs, cannot run: {error}")]
    Required { name: &'static str, error: String },
    #[error("told to stop while the programs were loaded")]
    Stopped,
}

pub(super) const HINT: &str = "it takes root, or CAP_BPF and CAP_PERFMON (CAP_SYS_ADMIN before Linux 5.8), \
    in a container a filter of system calls that lets bpf through (old engines ask for CAP_SYS_ADMIN), \
    and on kernels before 5.11 a high memlock limit, or CAP_SYS_RESOURCE to raise it";

/// The running programs and their maps.
pub struct Kernel {
    pub(super) ebpf: Ebpf,
    programs: Vec<ProgramStatus>,
    lost_fields: Vec<LostField>,
    reset_reasons: Vec<String>,
    pub(super) control: ControlMap,
    wanted: Control,
    /// Diagnostics of the programs themselves, if they were asked for.
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    older: Older,
    sweep: Option<Sweep>,
    has_sweep: bool,
    sees_ends: bool,
    /// Sockets that there is room for.
    room: u32,
    rows: u32,
    /// Listeners that are watched, and remotes that there is room for.
    pub(super) listeners: u32,
    pub(super) remotes: u32,
}

impl Kernel {
    /// Loads and attaches everything that this kernel allows.
    pub fn open(options: &Options) -> Result<Self, LoadError> {
        Self::open_unless(options, 0, &mut |_| false)
    }

    /// The same with `open` sockets on the host. It takes a while; before each program `stopped` is asked whether to go
    /// on.
    pub fn open_unless(
        options: &Options,
        open: u64,
        stopped: &mut dyn FnMut(Stage) -> bool,
    ) -> Result<Self, LoadError> {
        raise_memlock();
        let types = Btf::load(Path::new(BTF_PATH))?;
        let (offsets, lost_fields) = offsets::resolve(&types)?;
        let btf = aya::Btf::from_sys_fs()
            .map_err(|source| LoadError::Maps { source: source.into(), hint: HINT })?;
        let options = &Options { sockets: room(options.sockets, open), ..options.clone() };
        let mut ebpf = load_object(&[], options, &types, &offsets)?;
        fill_rows(&mut ebpf, options.namespaces)?;
        fill_services(&mut ebpf)?;
        // Before their maps are taken out.
        let shared = shared(&ebpf);
        let mut control = take_control(&mut ebpf)?;
        let is_preemptible = is_preemptible(&types);
        let programs = attach::attach_all(&mut ebpf, &btf, is_preemptible, stopped);
        let programs = programs.ok_or(LoadError::Stopped)?;
        for program in &programs {
            if let (None, Some(error)) = (program.lost, &program.error) {
                return Err(LoadError::Required { name: program.name, error: error.clone() });
            }
        }
        let mut older = Older::open(&mut ebpf)?;
        if options.adopt {
            older.begin(open)?;
        }
        // Only now, when none of them can miss what another would have counted.
        let phase = if options.adopt { phase::ADOPTING } else { phase::COUNTING };
        let wanted = Control { phase, ..Control::default() };
        set_control(&mut control, &wanted)?;
        let reset_reasons = reset_reasons(&types);
        let logger = if options.log { logger(&mut ebpf) } else { None };
        let (listeners, remotes) = (options.listeners, forgetting(options.remotes, cpus()));
        let mut kernel = Self {
            ebpf,
            programs,
            lost_fields,
            reset_reasons,
            control,
            wanted,
            logger,
            listeners,
            remotes,
            older,
            sweep: None,
            has_sweep: false,
            sees_ends: types.has_function(TCP_CAST),
            room: options.sockets,
            rows: Sizes::new(options).rows,
        };
        kernel.sweep = kernel.load_sweep(&types, shared, options).inspect_err(note_no_sweep).ok();
        kernel.has_sweep = kernel.sweep.is_some();
        Ok(kernel)
    }

    fn load_sweep(
        &mut self,
        types: &Btf,
        shared: Vec<(&'static str, OwnedFd)>,
        options: &Options,
    ) -> Result<Sweep, ConnectionsError> {
        let origin = self.origin().ok_or(ConnectionsError::NoTable)?;
        let sizes = Sizes::new(options);
        let (set_mask, rows) = (sizes.sets - 1, sizes.rows);
        Sweep::load(types, Running { shared, set_mask, origin, rows })
    }

    /// Whether this kernel lists its namespaces, and walks the sockets of all of them at once.
    pub fn lists_namespaces(&self) -> bool {
        self.has_sweep
    }

    /// Whether the programs can read what a connection leaves behind at its end.
    pub fn sees_ends(&self) -> bool {
        self.sees_ends
    }

    /// The program that walks the sockets of all namespaces at once, if this kernel can run it. It is given away once.
    pub fn take_sweep(&mut self) -> Option<Sweep> {
        self.sweep.take()
    }

    /// Rows of counters, with the one for what has none.
    pub(super) fn row_count(&self) -> u32 {
        self.rows
    }

    /// Sockets whose age and owner can be known at once.
    pub fn room(&self) -> u32 {
        self.room
    }

    /// Hands on what the programs themselves logged.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    pub fn programs(&self) -> &[ProgramStatus] {
        &self.programs
    }

    pub fn lost_fields(&self) -> &[LostField] {
        &self.lost_fields
    }

    /// The kernel's names for the reasons of sent resets, by number; empty where it gives none.
    pub fn reset_reasons(&self) -> &[String] {
        &self.reset_reasons
    }

    /// Tells the programs which facts to tell one by one.
    pub fn want(&mut self, wanted: u32, filter: tcpwatch_common::event::Filter) -> Result<(), LoadError> {
        self.wanted = Control { wanted, filter, ..self.wanted };
        set_control(&mut self.control, &self.wanted)
    }

    /// Whether sockets that are older than the programs are still being met.
    pub fn is_adopting(&self) -> bool {
        self.wanted.phase == phase::ADOPTING
    }

    /// Whether a socket that is not in the table is taken for one older than the programs; otherwise it is one for
    /// which there was no room.
    pub fn adopt(&mut self, adopting: bool) -> Result<(), LoadError> {
        self.wanted.phase = if adopting { phase::ADOPTING } else { phase::COUNTING };
        set_control(&mut self.control, &self.wanted)
    }

    /// Gives up the memory that meeting older sockets took. By now no event must be under way that began before
    /// adopting ended.
    pub fn forget_older(&mut self) -> Result<(), LoadError> {
        self.older.end()
    }
}

/// The program that does nothing, attached where the state changes are: what any program costs at the least.
pub struct Yardstick {
    _ebpf: Ebpf,
    pub program: ProgramStatus,
}

impl Yardstick {
    pub fn open() -> Result<Self, LoadError> {
        let types = Btf::load(Path::new(BTF_PATH))?;
        let (offsets, _) = offsets::resolve(&types)?;
        let btf = aya::Btf::from_sys_fs()
            .map_err(|source| LoadError::Maps { source: source.into(), hint: HINT })?;
        let options = Options { sockets: 8, namespaces: 1, ring_bytes: 4096, ..Options::default() };
        let mut ebpf = load_object(&[], &options, &types, &offsets)?;
        let program = attach::attach_one(&mut ebpf, &btf, &attach::EMPTY);
        Ok(Self { _ebpf: ebpf, program })
    }
}

/// It has a replacement.
fn note_no_sweep(error: &ConnectionsError) {
    log::info!("namespaces are walked one by one: {error}");
}

/// Diagnostics are no reason not to run.
fn logger(ebpf: &mut Ebpf) -> Option<EbpfLogger<&'static dyn log::Log>> {
    EbpfLogger::init(ebpf).map_err(|error| log::warn!("the programs cannot log: {error}")).ok()
}

/// The limit only matters before Linux 5.11, and there the load says so; elsewhere memory is charged to the cgroup.
pub(super) fn raise_memlock() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if let Err(error) = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }) {
        log::debug!("cannot raise the memlock limit ({error}); kernels since 5.11 do not need it");
    }
}

type ControlMap = Array<aya::maps::MapData, [u64; 8]>;

fn take_control(ebpf: &mut Ebpf) -> Result<ControlMap, LoadError> {
    let error = |source| LoadError::Map { name: map::CONTROL, source };
    let taken = ebpf.take_map(map::CONTROL).ok_or(MapError::InvalidName { name: map::CONTROL.into() });
    Array::try_from(taken.map_err(error)?).map_err(error)
}

fn set_control(map: &mut ControlMap, control: &Control) -> Result<(), LoadError> {
    map.set(0, control.to_words(), 0).map_err(|source| LoadError::Map { name: map::CONTROL, source })
}

/// Names of `enum sk_rst_reason`, shortened as people read them: `SK_RST_REASON_NOT_SPECIFIED` is `not_specified`.
fn reset_reasons(types: &Btf) -> Vec<String> {
    let Ok(enumerators) = types.enumerators("sk_rst_reason") else { return Vec::new() };
    let mut names = Vec::new();
    for (value, name) in enumerators {
        let Ok(value) = usize::try_from(value) else { continue };
        if value >= tcpwatch_common::host::RESET_REASONS {
            continue;
        }
        names.resize(names.len().max(value + 1), String::new());
        names[value] = name.trim_start_matches("SK_RST_REASON_").to_lowercase();
    }
    names
}
