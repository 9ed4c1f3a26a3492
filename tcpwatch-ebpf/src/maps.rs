//! Every map, with the reason for its size, and the globals that the loader sets.
//!
//! Sizes given here are the least that works; the loader raises them to fit the host.

use aya_ebpf::btf_maps;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray, Queue, RingBuf};
use tcpwatch_common::cell;
use tcpwatch_common::event::{Census, Control, Namespace};
use tcpwatch_common::host::{HostCounters, RECORDS, RESET_REASONS as REASONS, Underway};
use tcpwatch_common::listener::Listener;
use tcpwatch_common::offsets::{self, Offsets};
use tcpwatch_common::remote;
use tcpwatch_common::service;
use tcpwatch_common::socket::SocketSet;
use tcpwatch_common::state::TcpState;
use tcpwatch_common::survey::{Ports, Request, Sum, TupleKey, TupleSum};

/// `BPF_F_MMAPABLE`
const MAPPED: u32 = 1 << 10;

/// What is known beside each socket. The loader sets the number of sets and [`SET_MASK`] alike.
///
/// Nobody maps it into memory, but maps that could be begin at a page: so the keys of a set are in one cache line, and not in
/// two as those of other arrays, which begin behind a header of the kernel's.
#[map]
pub(crate) static SOCKETS: Array<SocketSet> = Array::with_max_entries(64, MAPPED);

/// Network namespaces met so far, by cookie (or inode number where there is no cookie).
#[map]
pub(crate) static NAMESPACES: HashMap<u64, Namespace> = HashMap::with_max_entries(64, 0);

/// Rows of [`CELLS`] that belong to no namespace yet; filled by the loader.
#[map]
pub(crate) static FREE_ROWS: Queue<u32> = Queue::with_max_entries(64, 0);

/// The counters of each namespace.
#[map]
pub(crate) static CELLS: PerCpuArray<cell::Row> = PerCpuArray::with_max_entries(64, 0);

/// Not 0 for a row of [`CELLS`] in whose namespace something happened since user space looked last. User space maps it and
/// leaves namespaces alone in which nothing happens.
#[map]
pub(crate) static ACTIVE: Array<u64> = Array::with_max_entries(64, MAPPED);

/// Sockets that were older than the programs, by the state they were first met in; by namespace row.
#[map]
pub(crate) static ADOPTED: Array<[u64; 16]> = Array::with_max_entries(64, 0);

/// Sockets that are counted already while older ones are being met: see [`older`](crate::older). A map in a map, so that
/// user space can size it by what is open at the start, and free it when all have been met.
#[btf_map]
pub(crate) static OLDER: btf_maps::ArrayOfMaps<btf_maps::HashMap<u64, u8, 1>, 1> =
    btf_maps::ArrayOfMaps::new();

/// Transitions that the machine calls illegal: (row << 16 | from << 8 | to). None is expected.
#[map]
pub(crate) static ILLEGAL: HashMap<u64, u64> = HashMap::with_max_entries(1024, 0);

/// The host's counters.
#[map]
pub(crate) static HOST: PerCpuArray<HostCounters> = PerCpuArray::with_max_entries(RECORDS, 0);

/// What the state-change programs are in the midst of on this CPU.
#[map]
pub(crate) static UNDERWAY: PerCpuArray<Underway> = PerCpuArray::with_max_entries(1, 0);

/// The program that the state-change programs go on with; put in by the loader.
#[map]
pub(crate) static RARE: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// The event that each task is in the midst of, as far as it has been counted; by a number made of the task's. The
/// loader makes it large where [`PREEMPTIBLE`] is set; elsewhere nobody looks.
#[map]
pub(crate) static TASK_NOTES: Array<u64> = Array::with_max_entries(1, 0);

/// Resets sent, by the kernel's number for the reason.
#[map]
pub(crate) static RESET_REASONS: PerCpuArray<u64> = PerCpuArray::with_max_entries(REASONS as u32, 0);

/// Every listener, by socket.
#[map]
pub(crate) static LISTENERS: HashMap<u64, Listener> = HashMap::with_max_entries(64, 0);

/// Remotes that something went wrong with.
#[map]
pub(crate) static REMOTES: LruHashMap<remote::Key, remote::Counts> = LruHashMap::with_max_entries(2048, 0);

/// Clients of listeners to which a SYN-ACK was sent again, and how often. Apart, as a flood fills it.
#[map]
pub(crate) static CLIENTS: LruHashMap<remote::Key, u64> = LruHashMap::with_max_entries(1024, 0);

/// How many entries of [`REMOTES`] each process, service and user has; user space counts them anew at each tick.
#[map]
pub(crate) static SHARES: LruHashMap<remote::Holder, u64> = LruHashMap::with_max_entries(2048, 0);

/// What happened with remotes that got no entry in [`REMOTES`], by the process or service that met them.
#[map]
pub(crate) static FOLDED: LruHashMap<remote::Holder, remote::Counts> = LruHashMap::with_max_entries(1024, 0);

/// How many entries of [`LISTENERS`] each user of a namespace (`namespace << 32 | user`) has made since the last tick,
/// when user space clears it.
#[map]
pub(crate) static LISTENER_SHARES: LruHashMap<u64, u64> = LruHashMap::with_max_entries(1024, 0);

/// The slot in [`ENDS`] of each service, by [`key`](service::key). User space removes entries to make room.
#[map]
pub(crate) static SERVICES: HashMap<u64, u32> = HashMap::with_max_entries(service::SERVICES, 0);

/// Slots of [`ENDS`] that belong to no service; filled by user space.
#[map]
pub(crate) static FREE_SERVICES: Queue<u32> = Queue::with_max_entries(service::SERVICES, 0);

/// Services that each row's namespace has got since the last tick, when user space clears it; [`service::EACH`] and more
/// if there was no slot.
#[map]
pub(crate) static NEW_SERVICES: Array<u64> = Array::with_max_entries(64, MAPPED);

/// What is added up at the end of connections, for all CPUs together. It is never cleared: user space remembers what a
/// slot held when it was given away, so that nothing is lost that is added meanwhile.
#[map]
pub(crate) static ENDS: Array<service::Words> = Array::with_max_entries(service::SLOTS, MAPPED);

/// Sockets in groups; user space takes them out after each survey.
#[map]
pub(crate) static GROUPS: HashMap<u64, Sum> = HashMap::with_max_entries(4096, 0);

/// Local ports in use by destination; those used often stay.
#[map]
pub(crate) static TUPLES: LruHashMap<TupleKey, TupleSum> = LruHashMap::with_max_entries(8192, 0);

/// What user space asks of a survey.
#[map]
pub(crate) static SURVEY_REQUEST: Array<Request> = Array::with_max_entries(1, 0);

/// Ports that are listened on in the namespace of the next survey.
#[map]
pub(crate) static SERVICE_PORTS: Array<Ports> = Array::with_max_entries(1, 0);

/// Sockets for which [`GROUPS`] had no room.
#[map]
pub(crate) static SURVEY_RESULT: Array<u64> = Array::with_max_entries(1, 0);

/// What user space asks of the kernel: its ticks, and [`origin`] as a plain number.
#[map]
pub(crate) static ANSWERS: Array<[u64; 2]> = Array::with_max_entries(1, 0);

/// Sockets by state, as the iterator counts them; cleared by user space before each walk.
#[map]
pub(crate) static CENSUS_COUNTS: Array<Census> = Array::with_max_entries(1, 0);

/// What user space asks for: one record.
#[map]
pub(crate) static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

/// Facts told one by one.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Offsets of kernel fields on the running kernel.
#[unsafe(no_mangle)]
static OFFSETS: Offsets = [offsets::ABSENT; offsets::COUNT];

/// Number of sets in [`SOCKETS`] less one.
#[unsafe(no_mangle)]
static SET_MASK: u32 = 63;

/// How many arguments the kernel passes to `tcp_send_reset`.
#[unsafe(no_mangle)]
static RESET_ARGS: u32 = 2;

/// How many arguments the kernel passes to `tcp_retransmit_skb`.
#[unsafe(no_mangle)]
static RETRANSMIT_ARGS: u32 = 2;

/// 1 if the kernel has the helper `bpf_skc_to_tcp_sock`.
#[unsafe(no_mangle)]
static TCP_CAST: u32 = 0;

/// 1 if tasks can be preempted in the middle of a tracepoint.
#[unsafe(no_mangle)]
static PREEMPTIBLE: u32 = 0;

/// 0, which the compiler cannot know.
#[unsafe(no_mangle)]
static NEVER: u32 = 0;

/// A secret that makes socket ids useless for finding kernel addresses.
#[unsafe(no_mangle)]
static SALT: u64 = 0;

/// Entries in [`REMOTES`].
#[unsafe(no_mangle)]
static REMOTES_MOST: u32 = 2048;

/// Listeners that one user of a namespace may open between two ticks and have them all remembered.
#[unsafe(no_mangle)]
static LISTENERS_EACH: u64 = 64;

/// Bytes in the ring at which user space is woken before its tick.
#[unsafe(no_mangle)]
static RING_QUARTER: u64 = 1024;

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
global!(reset_args, u32, RESET_ARGS);
global!(retransmit_args, u32, RETRANSMIT_ARGS);
global!(tcp_cast, u32, TCP_CAST);
global!(preemptible, u32, PREEMPTIBLE);
global!(never, u32, NEVER);
global!(salt, u64, SALT);
global!(remotes_most, u32, REMOTES_MOST);
global!(listeners_each, u64, LISTENERS_EACH);
global!(ring_quarter, u64, RING_QUARTER);

/// An address that is the same for all programs and all of their life.
#[inline(always)]
pub(crate) fn origin() -> u64 {
    (&raw const OFFSETS) as u64
}

/// The offset of `field`, or [`offsets::ABSENT`].
#[inline(always)]
pub(crate) fn offset(field: offsets::Field) -> u16 {
    // SAFETY: `Field` has `offsets::COUNT` variants, so the index is inside the array.
    unsafe { core::ptr::read_volatile((&raw const OFFSETS).cast::<u16>().add(field as usize)) }
}

const _: () = assert!(TcpState::COUNT < 16, "ADOPTED is indexed by kernel state number, masked with 15");
