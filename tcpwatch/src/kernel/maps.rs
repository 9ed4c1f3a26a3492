//! The maps of the programs: how large each is made for this host, and the globals that are set with them.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::maps::{Map, MapError, Queue};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use tcpwatch_common::host::TASK_NOTES;
use tcpwatch_common::names::{global, map};
use tcpwatch_common::service::SERVICES;
use tcpwatch_common::socket::{WAYS, all_sets};

use super::btf::Btf;
use super::load::{HINT, LoadError, Options};
use super::sweep;

pub(super) static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpwatch-ebpf"));

/// The helper by which programs get at the fields of a TCP socket.
pub(super) const TCP_CAST: &str = "bpf_skc_to_tcp_sock";

/// Listeners that the kernel side can hold for each that is watched: what is opened between two ticks has room, and user
/// space takes out again what is too much.
const LISTENERS_BETWEEN: u32 = 4;

/// Entries of a map that forgets, for each CPU. Such a map gives each CPU some 128 free entries of its own, so that a small
/// map on a large host would forget what is young.
const EACH_CPU: u32 = 256;

#[expect(clippy::cast_possible_truncation, reason = "eight")]
const WAYS_PER_SET: u32 = WAYS as u32;

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
    let tcp_cast = u32::from(types.has_function(TCP_CAST));
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
        .map_max_entries(map::SOCKETS, all_sets(sets))
        .map_max_entries(map::NAMESPACES, options.namespaces)
        .map_max_entries(map::FREE_ROWS, options.namespaces)
        .map_max_entries(map::CELLS, rows)
        .map_max_entries(map::ADOPTED, rows)
        .map_max_entries(map::ACTIVE, rows)
        .map_max_entries(map::NEW_SERVICES, rows)
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
pub(super) struct Sizes {
    pub(super) sets: u32,
    pub(super) rows: u32,
}

impl Sizes {
    pub(super) fn new(options: &Options) -> Self {
        let sets = (options.sockets.next_power_of_two() / WAYS_PER_SET).max(1);
        // One row more than namespaces: the first counts what has none.
        Self { sets, rows: options.namespaces.saturating_add(1) }
    }
}

/// How many sockets the table has room for, where `open` are open now: sets fill up unevenly, and more may come.
pub(super) fn room(most: u32, open: u64) -> u32 {
    const FEWEST: u32 = 1 << 17;
    let wanted = u32::try_from(open.saturating_mul(2)).unwrap_or(u32::MAX).max(FEWEST);
    wanted.checked_next_power_of_two().unwrap_or(most).min(most)
}

/// The maps that the walk over all namespaces works on, opened once more.
pub(super) fn shared(ebpf: &Ebpf) -> Vec<(&'static str, OwnedFd)> {
    let open = |name: &'static str| {
        let fd = match ebpf.map(name)? {
            Map::Array(data)
            | Map::PerCpuArray(data)
            | Map::HashMap(data)
            | Map::Queue(data)
            | Map::ArrayOfMaps(data) => data.fd(),
            _ => return None,
        };
        Some((name, fd.as_fd().try_clone_to_owned().ok()?))
    };
    sweep::SHARED.into_iter().filter_map(open).collect()
}

/// Whether tasks can be preempted in the middle of a tracepoint. Kernels where they can protect tracepoints by SRCU
/// instead, and wait for its grace periods by this field.
pub(super) fn is_preemptible(types: &Btf) -> bool {
    types.member("tp_transition_snapshot", "srcu_gp").is_ok()
}

/// Entries of a map that forgets, which should have at least `least`.
pub(super) fn forgetting(least: u32, cpus: u32) -> u32 {
    least.max(EACH_CPU.saturating_mul(cpus))
}

/// CPUs that there could be.
pub(super) fn cpus() -> u32 {
    aya::util::nr_cpus().ok().and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(1)
}

/// A secret of this run.
fn salt() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// Puts every row but the overflow row on the list of free ones.
pub(super) fn fill_rows(ebpf: &mut Ebpf, namespaces: u32) -> Result<(), LoadError> {
    fill(ebpf, map::FREE_ROWS, namespaces)
}

/// Puts every slot but that of all others on the list of free ones.
pub(super) fn fill_services(ebpf: &mut Ebpf) -> Result<(), LoadError> {
    fill(ebpf, map::FREE_SERVICES, SERVICES)
}

/// Puts the numbers from 1 to `last` into a queue.
fn fill(ebpf: &mut Ebpf, name: &'static str, last: u32) -> Result<(), LoadError> {
    let error = |source| LoadError::Map { name, source };
    let queue = ebpf.map_mut(name).ok_or(MapError::InvalidName { name: name.into() });
    let mut queue: Queue<_, u32> = Queue::try_from(queue.map_err(error)?).map_err(error)?;
    for number in 1..=last {
        queue.push(number, 0).map_err(error)?;
    }
    Ok(())
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
