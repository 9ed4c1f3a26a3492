//! Telling facts one by one: describe, filter, reserve, submit, or count the loss.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid};
use tcpwatch_common::event::{Control, Event, Kind};
use tcpwatch_common::host::RingCounters;
use tcpwatch_common::machine::{VERDICT_BY_PAIR, Verdict, pair};
use tcpwatch_common::offsets::Field;
use tcpwatch_common::socket::KERNEL_PID;

use crate::add::add_shared_to;
use crate::maps::{CONTROL, EVENTS, ring_quarter, salt};
use crate::namespace::inode_of;
use crate::read::Typed;
use crate::zero::zeroed;

/// What a program knows of a fact before the socket's details are read.
pub(crate) struct Fact {
    pub(crate) kind: Kind,
    pub(crate) now: u64,
    pub(crate) in_state: u64,
    pub(crate) old: u8,
    pub(crate) new: u8,
    pub(crate) what: u8,
    pub(crate) flags: u8,
    /// Remembered owner, 0 if unknown.
    pub(crate) owner: u32,
    /// The program runs in the owner's context.
    pub(crate) in_owner: bool,
    pub(crate) detail: u32,
}

const AF_INET6: u16 = 10;

/// The highest bit of the kernel's number as an owner, which no process id has.
const KERNELS_BIT: u32 = 1 << 23;

const _: () = assert!(KERNEL_PID / KERNELS_BIT == 1 && KERNEL_PID & (KERNEL_PID + 1) == 0);

/// Tells a fact if a subscriber wants it, or if it is too grave to be only counted.
#[inline(always)]
pub(crate) fn emit(ring: *mut RingCounters, socket: Typed, fact: &Fact) {
    let Some(control) = CONTROL.get(0) else { return };
    // SAFETY: here and below, counters of a whole record of the map.
    unsafe { add_shared_to(&raw mut (*ring).seen, 1) };
    let verdict = VERDICT_BY_PAIR[pair(fact.old.into(), fact.new.into())];
    let grave =
        fact.kind == Kind::Gap || (fact.kind == Kind::Transition && verdict == Verdict::Illegal as u8);
    let mut event = MaybeUninit::<Event>::uninit();
    // SAFETY: plain integers.
    let event = unsafe { zeroed(&mut event) };
    describe(event, socket, fact);
    if !grave && !wanted(control, event, verdict) {
        // SAFETY: as above.
        return unsafe { add_shared_to(&raw mut (*ring).filtered, 1) };
    }
    // User space drains the ring on its own tick; only a ring that fills up faster wakes it.
    let flags = if EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) > ring_quarter() {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    };
    if EVENTS.output::<Event>(&*event, u64::from(flags)).is_err() {
        // SAFETY: as above.
        unsafe { add_shared_to(&raw mut (*ring).lost, 1) };
    }
}

#[inline(always)]
fn describe(event: &mut Event, socket: Typed, fact: &Fact) {
    event.at = fact.now;
    event.in_state = fact.in_state;
    event.kind = fact.kind as u8;
    event.old = fact.old;
    event.new = fact.new;
    event.what = fact.what;
    event.flags = fact.flags;
    event.detail = fact.detail;
    event.socket = (socket.identity() ^ salt()).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt();
    event.netns = inode_of(socket);
    if fact.in_owner {
        // Whoever runs when the kernel connects for itself has nothing to do with it. Without a branch: of all owners only
        // the kernel's number has this bit.
        let kernels = fact.owner / KERNELS_BIT * KERNEL_PID;
        event.pid = (bpf_get_current_pid_tgid() >> 32) as u32 | kernels;
        event.comm = bpf_get_current_comm().unwrap_or_default();
        event.owner = 1;
    } else if fact.owner != 0 {
        event.pid = fact.owner;
        event.owner = 2;
    }
    let family: u16 = socket.load(Field::Family);
    event.local_port = socket.load(Field::LocalPort);
    if event.local_port == 0 {
        // At CLOSE an automatically bound socket has given its port back, but still knows it here.
        event.local_port = u16::from_be(socket.tcp_field(Field::SourcePort).unwrap_or(0));
    }
    event.remote_port = u16::from_be(socket.load(Field::RemotePort));
    event.family = local_address(&mut event.local, socket, family);
    remote_address(&mut event.remote, socket, family);
}

/// The local address as IPv6, v4-mapped where it is IPv4; returns the family, 4 or 6.
#[inline(always)]
pub(crate) fn local_address(into: &mut [u8; 16], socket: Typed, family: u16) -> u8 {
    address(into, socket, family, Field::LocalV4, Field::LocalV6)
}

/// The remote address likewise.
#[inline(always)]
pub(crate) fn remote_address(into: &mut [u8; 16], socket: Typed, family: u16) -> u8 {
    address(into, socket, family, Field::RemoteV4, Field::RemoteV6)
}

/// The family as records have it: 4 or 6.
#[inline(always)]
pub(crate) fn family(kernel: u16) -> u8 {
    if kernel == AF_INET6 { 6 } else { 4 }
}

/// Both addresses likewise, with one look at the family.
#[inline(always)]
pub(crate) fn addresses(local: &mut [u8; 16], remote: &mut [u8; 16], socket: Typed) {
    if socket.load::<u16>(Field::Family) == AF_INET6 {
        socket.any().read_address(Field::LocalV6, local);
        socket.any().read_address(Field::RemoteV6, remote);
    } else {
        v4_mapped(local, socket.load(Field::LocalV4));
        v4_mapped(remote, socket.load(Field::RemoteV4));
    }
}

#[inline(always)]
fn address(into: &mut [u8; 16], socket: Typed, family: u16, v4: Field, v6: Field) -> u8 {
    if family == AF_INET6 {
        socket.any().read_address(v6, into);
        6
    } else {
        v4_mapped(into, socket.load(v4));
        4
    }
}

/// Writes a v4-mapped address; `bytes` are in network order as the kernel stores them.
#[inline(always)]
fn v4_mapped(into: &mut [u8; 16], bytes: [u8; 4]) {
    into[10] = 0xff;
    into[11] = 0xff;
    into[12] = bytes[0];
    into[13] = bytes[1];
    into[14] = bytes[2];
    into[15] = bytes[3];
}

#[inline(always)]
fn wanted(control: &Control, event: &Event, verdict: u8) -> bool {
    let filter = &control.filter;
    let port = filter.port;
    control.wanted >> (event.kind & 31) & 1 != 0
        && (filter.netns == 0 || filter.netns == event.netns)
        && (filter.pid == 0 || filter.pid == event.pid)
        && (filter.states == 0 || filter.states & (1 << (event.old & 31) | 1 << (event.new & 31)) != 0)
        && (port == 0 || port == event.local_port || port == event.remote_port)
        && (filter.local_port == 0 || filter.local_port == event.local_port)
        && (filter.remote_port == 0 || filter.remote_port == event.remote_port)
        && (filter.odd_only == 0 || (is_change(event) && verdict >= Verdict::Unusual as u8))
        && (filter.peer_bits == 0 || is_peer(filter.peer, filter.peer_mask, &event.remote))
}

/// Whether the event has a verdict: resets and retransmits happen within one state.
#[inline(always)]
fn is_change(event: &Event) -> bool {
    event.kind == Kind::Transition as u8 || event.kind == Kind::Gap as u8
}

/// Compares the remote address with a prefix, eight bytes at a time.
#[inline(always)]
fn is_peer(peer: [u64; 2], mask: [u64; 2], remote: &[u8; 16]) -> bool {
    // SAFETY: 16 bytes, read without assuming their alignment.
    let remote: [u64; 2] = unsafe { core::ptr::read_unaligned(remote.as_ptr().cast()) };
    remote[0] & mask[0] == peer[0] && remote[1] & mask[1] == peer[1]
}
