//! The maps of the daemon's programs, which the loader puts in the place of these; and two of its own.
//!
//! Sizes and types must be those of the other object: the verifier reads them here.

use aya_ebpf::btf_maps;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, Queue};
use tcpwatch_common::event::Namespace;
use tcpwatch_common::host::{HostCounters, RECORDS};
use tcpwatch_common::listener::Listener;
use tcpwatch_common::socket::SocketSet;
use tcpwatch_common::sweep::{Minis, Net, Search, Work};

/// `BPF_F_MMAPABLE`
const MAPPED: u32 = 1 << 10;

#[map]
pub(crate) static SOCKETS: Array<SocketSet> = Array::with_max_entries(64, 0);

#[map]
pub(crate) static NAMESPACES: HashMap<u64, Namespace> = HashMap::with_max_entries(64, 0);

#[map]
pub(crate) static FREE_ROWS: Queue<u32> = Queue::with_max_entries(64, 0);

#[map]
pub(crate) static ADOPTED: Array<[u64; 16]> = Array::with_max_entries(64, 0);

#[btf_map]
pub(crate) static OLDER: btf_maps::ArrayOfMaps<btf_maps::HashMap<u64, u8, 1>, 1> =
    btf_maps::ArrayOfMaps::new();

#[map]
pub(crate) static HOST: PerCpuArray<HostCounters> = PerCpuArray::with_max_entries(RECORDS, 0);

#[map]
pub(crate) static LISTENERS: HashMap<u64, Listener> = HashMap::with_max_entries(64, 0);

/// What the run in hand works with.
#[map]
pub(crate) static WORK: Array<Work> = Array::with_max_entries(1, MAPPED);

/// Mini-sockets by namespace row.
#[map]
pub(crate) static MINIS: Array<Minis> = Array::with_max_entries(64, MAPPED);

/// Namespaces that were found.
#[map]
pub(crate) static FOUND: Array<Net> = Array::with_max_entries(64, MAPPED);

/// What the walk over namespaces works with.
#[map]
pub(crate) static SEARCH: Array<Search> = Array::with_max_entries(1, MAPPED);

/// Number of sets in [`SOCKETS`] less one.
#[unsafe(no_mangle)]
static SET_MASK: u32 = 63;

/// The fixed address from which the daemon's programs reckon where a socket is.
#[unsafe(no_mangle)]
static ORIGIN: u64 = 0;

/// Bytes from one chain of listeners to the next.
#[unsafe(no_mangle)]
static LISTEN_STRIDE: u32 = 0;

/// Reads globals in a way that the compiler cannot fold: the loader changes them after it ran.
macro_rules! global {
    ($name:ident, $type:ty, $static:ident) => {
        #[inline(always)]
        pub(crate) fn $name() -> $type {
            // SAFETY: the static is initialised, aligned and read-only once the program runs.
            unsafe { core::ptr::read_volatile(&raw const $static) }
        }
    };
}

global!(set_mask, u32, SET_MASK);
global!(origin, u64, ORIGIN);
global!(listen_stride, u32, LISTEN_STRIDE);
