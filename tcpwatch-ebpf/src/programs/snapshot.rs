//! All sockets of a namespace, by the kernel's own iterator: counted, or told row by row.
//!
//! The iterator walks the namespace of whoever opens it, and shows TIME_WAIT and half-open mini-sockets too, which
//! no event tells of. It also meets sockets that are older than the programs: each of them is entered in the
//! table and counted once, here or at its first event, whichever comes first.

use core::ffi::c_void;
use core::mem::MaybeUninit;

use aya_ebpf::helpers::{bpf_ktime_get_ns, generated::bpf_seq_write};
use tcpwatch_common::event::{CENSUS_SLOTS, FIN_WAIT2_MINIS, Row, UNKNOWN, detail, phase};
use tcpwatch_common::offsets::Field;
use tcpwatch_common::socket::{self, BIRTH_UNKNOWN, ROLE_UNKNOWN, SINCE_UNKNOWN};
use tcpwatch_common::state::TcpState;

use crate::add::add_shared_to;
use crate::emit;
use crate::maps::{CENSUS_COUNTS, CONTROL, HOST, salt};
use crate::namespace::row_of;
use crate::older;
use crate::programs::{add_shared, kernels_own, listener, vitals};
use crate::read::{Any, Typed, has};
use crate::table;
use crate::unlearn::unlearn;
use crate::zero::zeroed;

/// `struct bpf_iter__tcp`.
#[repr(C)]
pub(crate) struct IterContext {
    meta: *const Meta,
    /// Null at the end of the walk.
    pub(super) socket: *const u8,
    uid: u32,
}

/// `struct bpf_iter_meta`, as far as it is used.
#[repr(C)]
struct Meta {
    seq: *mut c_void,
}

const LISTEN: u8 = TcpState::Listen as u8;
const FIN_WAIT2: u8 = TcpState::FinWait2 as u8;
const CLOSE: u8 = TcpState::Close as u8;
const TIME_WAIT: u8 = TcpState::TimeWait as u8;
const SYN_SENT: u8 = TcpState::SynSent as u8;
const CLOSE_WAIT: u8 = TcpState::CloseWait as u8;
const LAST_ACK: u8 = TcpState::LastAck as u8;
const CLOSING: u8 = TcpState::Closing as u8;
const NEW_SYN_RECV: u8 = TcpState::NewSynRecv as u8;

/// `SOCK_DEAD` and `SOCK_KEEPOPEN` are the first and the fourth flag of a socket in every kernel.
const SOCK_DEAD: u64 = 1;
pub(super) const SOCK_KEEPOPEN: u64 = 1 << 3;

/// Counts the sockets of a namespace by state, and meets those older than the programs.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
fn census(ctx: *mut IterContext) -> i32 {
    // SAFETY: the kernel passes its context.
    let socket = unsafe { (*ctx).socket };
    if socket.is_null() {
        return 0;
    }
    let socket = Typed(socket);
    let state = shown_state(socket);
    tally(socket, state);
    0
}

/// Counts a socket, and meets it if it is older than the programs.
#[inline(always)]
fn tally(socket: Typed, state: u8) {
    if let Some(counts) = CENSUS_COUNTS.get_ptr_mut(0) {
        let is_mini = state == FIN_WAIT2 && !is_full(state, socket);
        let slot = if is_mini { FIN_WAIT2_MINIS } else { state as usize & (CENSUS_SLOTS - 1) };
        // SAFETY: a whole record of the map.
        add_shared(unsafe { (*counts).get_mut(slot) }, 1);
    }
    if is_full(state, socket) && CONTROL.get(0).is_some_and(|control| control.phase == phase::ADOPTING) {
        meet(socket, state);
        if state == LISTEN {
            listener::found(socket);
        }
    }
}

/// Writes one [`Row`] for each socket of a namespace.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
fn rows(ctx: *mut IterContext) -> i32 {
    tell(ctx, false)
}

/// Writes one [`Row`] for each socket without what lies far from the rest, in the table of sockets or elsewhere: each
/// cache line that is not touched makes the walk faster.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
fn brief(ctx: *mut IterContext) -> i32 {
    tell(ctx, true)
}

#[inline(always)]
fn tell(ctx: *mut IterContext, is_brief: bool) -> i32 {
    // SAFETY: the kernel passes its context.
    let (meta, socket, uid) = unsafe { ((*ctx).meta, (*ctx).socket, (*ctx).uid) };
    if socket.is_null() {
        return 0;
    }
    let mut row = MaybeUninit::<Row>::uninit();
    // SAFETY: plain integers.
    let row = unsafe { zeroed(&mut row) };
    (row.in_state, row.lifetime, row.uid) = (UNKNOWN, UNKNOWN, uid);
    describe(row, Typed(socket), is_brief);
    // SAFETY: the kernel's own sequence file and a record on our stack. A full buffer makes the kernel grow it
    // and call us again for the same socket, so the result needs no look.
    unsafe {
        let _ = bpf_seq_write((*meta).seq.cast(), (&raw mut *row).cast(), Row::size(is_brief) as u32);
    }
    0
}

/// The state as `ss` shows it: a TIME_WAIT mini-socket may stand for FIN_WAIT2.
#[inline(always)]
pub(super) fn shown_state(socket: Typed) -> u8 {
    let state: u8 = socket.load(Field::State);
    if state == TIME_WAIT {
        return socket.any().read::<u8>(Field::TimeWaitSubstate).unwrap_or(TIME_WAIT);
    }
    state
}

/// Whether it is a whole socket, not a mini-socket.
#[inline(always)]
fn is_full(shown: u8, socket: Typed) -> bool {
    shown != NEW_SYN_RECV && shown != CLOSE && socket.load::<u8>(Field::State) != TIME_WAIT
}

/// Enters a socket that no event has told of.
#[inline(always)]
fn meet(socket: Typed, state: u8) {
    // There is no other socket here, and the verifier need not walk on with one.
    let Some(tcp) = socket.sure_tcp() else { return };
    if !older::enter(socket.identity()) {
        return;
    }
    // What takes long comes first: between the search and the claim, other sockets are claimed by events.
    let row = row_of(socket);
    // SAFETY: a helper without preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let flags = BIRTH_UNKNOWN | SINCE_UNKNOWN | ROLE_UNKNOWN;
    let owner = unlearn(tcp.map_or(0, |tcp| kernels_own::owner(tcp, state)).into()) as u32;
    let met = socket::Meta::new(0, row as u16, state, flags);
    older::adopt(row, u64::from(state));
    match table::find_or_free(socket.identity()) {
        (Some(place), None) if place.is_still_free() => place.claim(row, u64::from(state), flags, now, owner),
        (Some(_), None) if table::claim_again(socket.identity(), met, now, owner) => {}
        (_, Some(_)) => {}
        _ => untracked(),
    }
}

/// Counts a socket of which nothing is remembered.
#[inline(always)]
fn untracked() {
    if let Some(host) = HOST.get_ptr_mut(0) {
        // SAFETY: the record of this CPU.
        unsafe {
            add_shared_to(&raw mut (*host).untracked, 1);
            add_shared_to(&raw mut (*host).placeless, 1);
        }
    }
}

#[inline(always)]
fn describe(row: &mut Row, socket: Typed, is_brief: bool) {
    row.state = shown_state(socket);
    row.socket = (socket.identity() ^ salt()).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt();
    let family: u16 = socket.load(Field::Family);
    row.family = emit::local_address(&mut row.local, socket, family);
    emit::remote_address(&mut row.remote, socket, family);
    row.local_port = socket.load(Field::LocalPort);
    row.remote_port = u16::from_be(socket.load(Field::RemotePort));
    if !is_full(row.state, socket) {
        return;
    }
    if !is_brief
        && let Some(file) = socket.any().read::<*const u8>(Field::Socket)
        && !file.is_null()
    {
        row.inode = Any(file).read::<u64>(Field::SocketFileInode).unwrap_or(0);
    }
    // Before the table is searched: the processor fetches these while it waits for the table.
    if let Some(tcp) = socket.tcp() {
        detail(row, tcp, is_brief);
    }
    if is_brief {
        row.flags = ROLE_UNKNOWN;
        return;
    }
    if let (Some(place), Some(meta)) = table::find(socket.identity()) {
        // SAFETY: a helper without preconditions.
        let now = unsafe { bpf_ktime_get_ns() };
        row.flags = meta.flags();
        row.pid = place.owner();
        if row.flags & SINCE_UNKNOWN == 0 {
            row.in_state = now.saturating_sub(place.since());
        }
        if row.flags & BIRTH_UNKNOWN == 0 {
            row.lifetime = now.saturating_sub(place.birth());
        }
    }
}

/// What only a whole socket has.
#[inline(always)]
fn detail(row: &mut Row, tcp: Typed, is_brief: bool) {
    row.details = detail::KNOWN;
    if is_brief {
        row.details |= detail::BRIEF;
    } else {
        let keepalive = tcp.load::<u64>(Field::Flags) & SOCK_KEEPOPEN != 0;
        let kernels = kernels_own::owner(tcp, row.state) as u8 & detail::KERNEL;
        let marked = kernels_own::mark(tcp) * detail::MARKED;
        row.details |= ownership(tcp) | kernels | marked | if keepalive { detail::KEEPALIVE } else { 0 };
    }
    if row.state == LISTEN {
        row.unread = load(tcp, Field::AcceptQueue);
        row.unsent = load(tcp, Field::AcceptLimit);
        return;
    }
    (row.unread, row.unsent) = amounts(row.state, tcp);
    if is_brief {
        return;
    }
    row.retransmits = load(tcp, Field::Retransmitted);
    row.rtt = load(tcp, Field::Srtt);
    vitals::read(&mut row.vitals, tcp);
}

/// A field of a TCP socket, 0 on a kernel without it.
#[inline(always)]
pub(super) fn load<T: Copy + Default>(tcp: Typed, field: Field) -> T {
    if has(field) { tcp.load(field) } else { T::default() }
}

/// Whether a process has the socket: not yet, not any more, or (0) one does.
#[inline(always)]
fn ownership(tcp: Typed) -> u8 {
    if tcp.load::<u64>(Field::Flags) & SOCK_DEAD != 0 {
        detail::ORPHAN
    } else if tcp.load::<u64>(Field::Socket) == 0 && load::<u8>(tcp, Field::IsMptcp) & 1 == 0 {
        // Subflows of MPTCP never have a file of their own.
        detail::NEVER_ACCEPTED
    } else {
        0
    }
}

/// Bytes that wait on either side: received and not read, written and not acknowledged.
#[inline(always)]
fn amounts(state: u8, tcp: Typed) -> (u32, u32) {
    let (mut unread, mut unsent) = (0, 0);
    if state == SYN_SENT {
        return (unread, unsent);
    }
    if has(Field::ReceiveNext) && has(Field::CopiedSequence) {
        let (next, copied) = (tcp.load::<u32>(Field::ReceiveNext), tcp.load::<u32>(Field::CopiedSequence));
        // A FIN that was received takes a number too.
        let fin = u32::from(state == CLOSE_WAIT || state == LAST_ACK || state == CLOSING);
        unread = bounded(next.wrapping_sub(copied).wrapping_sub(fin));
    }
    if has(Field::WriteSequence) && has(Field::SendUnacknowledged) {
        let written: u32 = tcp.load(Field::WriteSequence);
        unsent = bounded(written.wrapping_sub(tcp.load(Field::SendUnacknowledged)));
    }
    (unread, unsent)
}

/// A difference of sequence numbers or ticks; one that is negative because they were not read together is none.
#[inline(always)]
fn bounded(difference: u32) -> u32 {
    if difference >> 31 == 0 { difference } else { 0 }
}
