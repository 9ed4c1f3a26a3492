//! Loads the eBPF object: offsets from BTF, sizes from options, programs by the table.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use aya::maps::{Array, Map, MapError, Queue};
use aya::{Ebpf, EbpfError, EbpfLoader, include_bytes_aligned};
use aya_log::EbpfLogger;
use tcpwatch_common::event::{Control, phase};
use tcpwatch_common::host::TASK_NOTES;
use tcpwatch_common::names::{global, map};
use tcpwatch_common::socket::WAYS;

use super::attach::{self, ProgramStatus};
use super::btf::{Btf, BtfError};
use super::object::ConnectionsError;
use super::offsets::{self, LostField, OffsetError};
use super::older::Older;
use super::sweep::{self, Running, Sweep};

pub(super) const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

pub(super) static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpwatch-ebpf"));

/// Listeners that the kernel side can hold for each that is watched: what is opened between two ticks has room, and user
/// space takes out again what is too much.
const LISTENERS_BETWEEN: u32 = 4;

/// Entries of a map that forgets, for each CPU. Such a map gives each CPU some 128 free entries of its own, so that a small
/// map on a large host would forget what is young.
const EACH_CPU: u32 = 256;

#[expect(clippy::cast_possible_truncation, reason = "eight")]
const WAYS_PER_SET: u32 = WAYS as u32;

/// How much the kernel side is to remember.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most sockets whose age and owner can be known at once; rounded up to a power of two. There is room for fewer
    /// where few are open at the start.
    pub sockets: u32,
    /// Network namespaces counted apart.
    pub namespaces: u32,
    /// Listeners that are watched at each tick; the kernel side has room for [`LISTENERS_BETWEEN`] times as many.
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    pub what: &'static str,
    /// From 0 to 1.
    pub done: f64,
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

pub(super) fn load_object(
    idle_maps: &[&str],
    options: &Options,
    types: &Btf,
    offsets: &tcpwatch_common::offsets::Offsets,
) -> Result<Ebpf, LoadError> {
    let Sizes { sets, rows } = Sizes::new(options);
    let arguments = |tracepoint| u32::try_from(types.tracepoint_args(tracepoint).unwrap_or(0)).unwrap_or(0);
    let (reset_args, retransmit_args) = (arguments("tcp_send_reset"), arguments("tcp_retransmit_skb"));
    let (set_mask, quarter) = (sets - 1, u64::from(options.ring_bytes / 4));
    let tcp_cast = u32::from(types.has_function("bpf_skc_to_tcp_sock"));
    let is_preemptible = is_preemptible(types);
    let (preemptible, notes) = (u32::from(is_preemptible), if is_preemptible { TASK_NOTES } else { 1 });
    let cpus = cpus();
    let remotes = forgetting(options.remotes, cpus);
    let listeners = options.listeners.saturating_mul(LISTENERS_BETWEEN);
    let listeners_each = u64::from(listeners / 2);
    let salt = salt();
    let log_level: u8 = if options.log { 0xff } else { 0 };
    let mut loader = EbpfLoader::new();
    loader
        .map_max_entries(map::SOCKETS, sets)
        .map_max_entries(map::NAMESPACES, options.namespaces)
        .map_max_entries(map::FREE_ROWS, options.namespaces)
        .map_max_entries(map::CELLS, rows)
        .map_max_entries(map::ADOPTED, rows)
        .map_max_entries(map::ACTIVE, rows)
        .map_max_entries(map::LISTENERS, listeners)
        .map_max_entries(map::REMOTES, remotes)
        .map_max_entries(map::SHARES, remotes)
        .map_max_entries(map::FOLDED, forgetting(1024, cpus))
        .map_max_entries(map::LISTENER_SHARES, forgetting(1024, cpus))
        .map_max_entries(map::CLIENTS, forgetting(options.remotes / 2, cpus))
        .map_max_entries(map::TASK_NOTES, notes)
        .map_max_entries(map::EVENTS, options.ring_bytes);
    for map in idle_maps {
        loader.map_max_entries(map, 1);
    }
    loader
        .override_global(global::OFFSETS, offsets, true)
        .override_global(global::SET_MASK, &set_mask, true)
        .override_global(global::RESET_ARGS, &reset_args, true)
        .override_global(global::RETRANSMIT_ARGS, &retransmit_args, true)
        .override_global(global::TCP_CAST, &tcp_cast, true)
        .override_global(global::PREEMPTIBLE, &preemptible, true)
        .override_global(global::SALT, &salt, true)
        .override_global(global::REMOTES_MOST, &remotes, true)
        .override_global(global::LISTENERS_EACH, &listeners_each, true)
        .override_global(global::RING_QUARTER, &quarter, true)
        .override_global("AYA_LOG_LEVEL", &log_level, false)
        .load(OBJECT)
        .map_err(|source| LoadError::Maps { source, hint: HINT })
}

/// Sizes of maps that follow from the options.
struct Sizes {
    sets: u32,
    rows: u32,
}

impl Sizes {
    fn new(options: &Options) -> Self {
        let sets = (options.sockets.next_power_of_two() / WAYS_PER_SET).max(1);
        // One row more than namespaces: the first counts what has none.
        Self { sets, rows: options.namespaces.saturating_add(1) }
    }
}

/// How many sockets the table has room for, where `open` are open now: sets fill up unevenly, and more may come.
fn room(most: u32, open: u64) -> u32 {
    const FEWEST: u32 = 1 << 17;
    let wanted = u32::try_from(open.saturating_mul(2)).unwrap_or(u32::MAX).max(FEWEST);
    wanted.checked_next_power_of_two().unwrap_or(most).min(most)
}

/// The maps that the walk over all namespaces works on, opened once more.
fn shared(ebpf: &Ebpf) -> Vec<(&'static str, OwnedFd)> {
    let open = |name: &'static str| {
        let fd = match ebpf.map(name)? {
            Map::Array(data) | Map::PerCpuArray(data) | Map::HashMap(data) | Map::Queue(data) => data.fd(),
            Map::ArrayOfMaps(data) => data.fd(),
            _ => return None,
        };
        Some((name, fd.as_fd().try_clone_to_owned().ok()?))
    };
    sweep::SHARED.into_iter().filter_map(open).collect()
}

/// It has a replacement.
fn note_no_sweep(error: &ConnectionsError) {
    log::info!("namespaces are walked one by one: {error}");
}

/// Whether tasks can be preempted in the middle of a tracepoint. Kernels where they can protect tracepoints by SRCU
/// instead, and wait for its grace periods by this field.
fn is_preemptible(types: &Btf) -> bool {
    types.member("tp_transition_snapshot", "srcu_gp").is_ok()
}

/// Entries of a map that forgets, which should have at least `least`.
fn forgetting(least: u32, cpus: u32) -> u32 {
    least.max(EACH_CPU.saturating_mul(cpus))
}

/// CPUs that there could be.
fn cpus() -> u32 {
    aya::util::nr_cpus().ok().and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(1)
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

/// A secret of this run.
fn salt() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// Puts every row but the overflow row on the list of free ones.
fn fill_rows(ebpf: &mut Ebpf, namespaces: u32) -> Result<(), LoadError> {
    let error = |source| LoadError::Map { name: map::FREE_ROWS, source };
    let queue = ebpf.map_mut(map::FREE_ROWS).ok_or(MapError::InvalidName { name: map::FREE_ROWS.into() });
    let mut queue: Queue<_, u32> = Queue::try_from(queue.map_err(error)?).map_err(error)?;
    for row in 1..=namespaces {
        queue.push(row, 0).map_err(error)?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_that_forget_have_room_for_the_free_entries_of_every_cpu() {
        for (cpus, expected) in [(1, 1024), (4, 1024), (8, 2048), (64, 16_384), (u32::MAX, u32::MAX)] {
            assert_eq!(forgetting(1024, cpus), expected, "{cpus}");
        }
    }
}
