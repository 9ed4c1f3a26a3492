//! Every change of a TCP socket's state.
//!
//! `inet_sock_set_state` fires before the new state is stored, for every full socket and for TCP, MPTCP, SCTP and
//! DCCP alike. Request and TIME_WAIT mini-sockets never fire it.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use tcpwatch_common::cause::{Cause, Ending};
use tcpwatch_common::cell;
use tcpwatch_common::event::{Kind, NO_CAUSE, UNKNOWN};
use tcpwatch_common::histogram::{Histogram, bucket};
use tcpwatch_common::host::{HostCounters, Role};
use tcpwatch_common::machine::{CELL_BY_PAIR, pair};
use tcpwatch_common::offsets::Field;
use tcpwatch_common::socket::{BIRTH_UNKNOWN, PASSIVE, ROLE_UNKNOWN, SINCE_UNKNOWN};
use tcpwatch_common::state::TcpState;

use crate::emit::{self, Fact};
use crate::maps::{ADOPTED, CELLS, CONTROL, HOST, ILLEGAL, LISTENERS};
use crate::namespace::row_of;
use crate::programs::add;
use crate::read::Typed;
use crate::table::{self, Found, Place};

const IPPROTO_TCP: u16 = 6;
const IPPROTO_MPTCP: u16 = 262;

/// `SOCK_DEAD` and `SOCK_DONE`, the first two socket flags in every kernel.
const SOCK_DEAD: u64 = 1;
const SOCK_DONE: u64 = 2;

const CLOSE: u64 = TcpState::Close as u64;
const ESTABLISHED: u64 = TcpState::Established as u64;
const LISTEN: u64 = TcpState::Listen as u64;
const SYN_SENT: u64 = TcpState::SynSent as u64;
const SYN_RECV: u64 = TcpState::SynRecv as u64;
const CLOSE_WAIT: u64 = TcpState::CloseWait as u64;
const FIN_WAIT1: u64 = TcpState::FinWait1 as u64;
const LAST_ACK: u64 = TcpState::LastAck as u64;

/// A transition sooner after another is taken for part of the same call of the kernel.
const HANDSHAKE_INSTANT_NS: u64 = 20_000;

#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn transition(ctx: BtfTracePointContext) -> i32 {
    let socket = Typed(ctx.arg::<*const u8>(0));
    let old = ctx.arg::<u64>(1);
    let new = ctx.arg::<u64>(2);
    let Some(host) = HOST.get_ptr_mut(0) else { return 0 };
    // SAFETY: the record of this CPU; only programs of ours on this CPU touch it, field by field.
    let host = unsafe { &mut *host };
    // Impossible numbers are kept impossible: 0 is no state. Whole registers are compared, so that the verifier
    // knows the bounds wherever a state is an index.
    let old = if old <= TcpState::COUNT as u64 { old } else { 0 };
    let new = if new <= TcpState::COUNT as u64 { new } else { 0 };
    match socket.load::<u16>(Field::Protocol) {
        IPPROTO_TCP => on_transition(host, socket, old, new),
        IPPROTO_MPTCP => add(host.mptcp.get_mut(new.wrapping_sub(1) as usize), 1),
        _ => {}
    }
    0
}

/// One event.
struct Change {
    socket: Typed,
    old: u64,
    new: u64,
    now: u64,
}

/// What became known of a socket from its place in the table.
struct Past {
    row: u32,
    in_state: u64,
    flags: u8,
    owner: u32,
    /// The state it was last seen in, where that is not the event's old state.
    expected: u8,
}

#[inline(always)]
fn on_transition(host: &mut HostCounters, socket: Typed, old: u64, new: u64) {
    // SAFETY: a helper without preconditions.
    let change = Change { socket, old, new, now: unsafe { bpf_ktime_get_ns() } };
    let is_birth = (old == CLOSE && new != CLOSE) || (old == LISTEN && new == SYN_RECV);
    let past = match table::find(socket.identity()) {
        Found::Known(place) if !is_birth => follow(host, &change, &place),
        Found::Known(place) => {
            // It was closed without our seeing it, or the address was used again behind our back.
            let expected = place.meta().state();
            Past { expected, ..begin(host, &change, Some(place)) }
        }
        Found::Missing(place) if is_birth => begin(host, &change, place),
        Found::Missing(place) => meet(host, &change, place),
    };
    let cause = if new == CLOSE { end(host, &change, past.row) } else { NO_CAUSE };
    let cell = CELL_BY_PAIR[pair(old as usize, new as usize)];
    if cell == cell::NONE {
        illegal(host, past.row, old, new);
    } else {
        count(past.row, cell as usize);
    }
    let Some(control) = CONTROL.get(0) else { return };
    if control.wanted != 0 || cell == cell::NONE || past.expected != 0 {
        tell(host, &change, &past, cause);
    }
}

/// Counts in the namespace's row.
#[inline(always)]
fn count(row: u32, cell: usize) {
    if let Some(cells) = CELLS.get_ptr_mut(row) {
        // SAFETY: this CPU's row.
        add(unsafe { (*cells).get_mut(cell & (cell::CELLS - 1)) }, 1);
    }
}

/// The row of the socket's namespace; what has none left is counted as folded.
#[inline(always)]
fn row(host: &mut HostCounters, socket: Typed) -> u32 {
    let row = row_of(socket);
    if row == cell::OVERFLOW_ROW {
        add(Some(&mut host.folded), 1);
    }
    row
}

/// A socket that is born with this transition.
#[inline(always)]
fn begin(host: &mut HostCounters, change: &Change, place: Option<Place>) -> Past {
    let row = row(host, change.socket);
    let (flags, owner) = if change.old == LISTEN {
        (PASSIVE, 0)
    } else {
        // connect() and listen() run in the owner's context.
        (0, (bpf_get_current_pid_tgid() >> 32) as u32)
    };
    remember(host, change, place, row, flags, owner);
    Past { row, in_state: UNKNOWN, flags, owner, expected: 0 }
}

/// A socket met before.
#[inline(always)]
fn follow(host: &mut HostCounters, change: &Change, place: &Place) -> Past {
    let &Change { socket, old, new, now } = change;
    let meta = place.meta();
    let flags = meta.flags();
    let mut past = Past { row: meta.row(), in_state: UNKNOWN, flags, owner: place.owner(), expected: 0 };
    if u64::from(meta.state()) != old {
        past.expected = meta.state();
        add(Some(&mut host.gaps), 1);
    } else if flags & SINCE_UNKNOWN == 0 {
        past.in_state = now.saturating_sub(place.since());
    }
    if new == old {
        // A self loop marks that the owner is gone; the socket goes on being in its state.
        return past;
    }
    observe_state(host, old, past.in_state);
    if new == CLOSE {
        if flags & (BIRTH_UNKNOWN | ROLE_UNKNOWN) == 0 && old != LISTEN {
            let role = if flags & PASSIVE == 0 { Role::Active } else { Role::Passive };
            observe(host.lifetime.get_mut(role as usize), now.saturating_sub(place.birth()));
        }
        place.release();
    } else {
        if new == ESTABLISHED {
            observe_handshake(host, socket, old, past.in_state);
        }
        place.enter(meta, new as u8, now);
    }
    past
}

/// A socket that is not in the table: older than the programs, or there was no room for it.
#[inline(never)]
fn meet(host: &mut HostCounters, change: &Change, place: Option<Place>) -> Past {
    let &Change { socket, old, new, .. } = change;
    let row = row(host, socket);
    let mut flags = BIRTH_UNKNOWN | ROLE_UNKNOWN;
    if old != CLOSE {
        observe_state(host, old, UNKNOWN);
        if CONTROL.get(0).is_some_and(|control| control.adopting != 0) {
            adopt(row, old);
        }
    }
    if new == old {
        flags |= SINCE_UNKNOWN;
    }
    if new != CLOSE {
        remember(host, change, place, row, flags, 0);
    }
    Past { row, in_state: UNKNOWN, flags: flags | SINCE_UNKNOWN, owner: 0, expected: 0 }
}

/// Enters the socket in the table, or counts that there was no room.
#[inline(always)]
fn remember(host: &mut HostCounters, change: &Change, place: Option<Place>, row: u32, flags: u8, owner: u32) {
    match place {
        Some(place) => place.claim(change.socket.identity(), row as u16, change.new as u8, flags, change.now, owner),
        None => add(Some(&mut host.untracked), 1),
    }
}

/// Counts a socket that was there before the programs, in the state it is first met in.
#[inline(always)]
pub(crate) fn adopt(row: u32, state: u64) {
    if let Some(states) = ADOPTED.get_ptr_mut(row) {
        // SAFETY: a whole record of the map.
        add(unsafe { (*states).get_mut((state & 15) as usize) }, 1);
    }
}

/// Why the socket ended, and what that adds to the counts.
#[inline(always)]
fn end(host: &mut HostCounters, change: &Change, row: u32) -> u8 {
    let &Change { socket, old, .. } = change;
    let Some(from) = TcpState::from_kernel(old as u32) else { return NO_CAUSE };
    let flags: u64 = socket.load(Field::Flags);
    let mut ending =
        Ending { error: socket.load::<u32>(Field::Error), done: flags & SOCK_DONE != 0, unread: false };
    if ending.error == 0 && (old == ESTABLISHED || old == CLOSE_WAIT) {
        ending.unread = has_unread(socket, ending.done);
    }
    if Cause::is_time_wait(from, ending) {
        count(row, cell::TIME_WAIT_ENTERED);
    } else if Cause::is_orphan_fin_wait2(from, ending) {
        count(row, cell::FIN_WAIT2_ORPHANED);
    } else if old == SYN_SENT && ending.error == 0 {
        count(row, cell::CONNECT_GIVEN_UP);
        if socket.any().read::<u32>(Field::SegmentsOut) == Some(0) {
            count(row, cell::CONNECT_NEVER_SENT);
        }
    } else if old == SYN_RECV && (ending.error != 0 || flags & SOCK_DEAD != 0) {
        count(row, cell::SYN_RECV_FAILED);
    } else if old == LISTEN {
        let _ = LISTENERS.remove(socket.identity());
    }
    let cause = Cause::derive(from, ending) as u8;
    if let Some(endings) = host.endings.get_mut(from.index()) {
        add(endings.get_mut((cause & 7) as usize), 1);
    }
    cause
}

/// Whether data was received that the application never read. At this point the kernel has emptied the queue, but
/// the sequence numbers still tell; a received FIN takes one.
#[inline(always)]
fn has_unread(socket: Typed, done: bool) -> bool {
    let socket = socket.any();
    let (Some(next), Some(copied)) =
        (socket.read::<u32>(Field::ReceiveNext), socket.read::<u32>(Field::CopiedSequence))
    else {
        return false;
    };
    next.wrapping_sub(copied) > u32::from(done)
}

#[inline(always)]
fn observe(histogram: Option<&mut Histogram>, nanoseconds: u64) {
    if let Some(histogram) = histogram {
        add(histogram.buckets.get_mut(bucket(nanoseconds)), 1);
        add(Some(&mut histogram.sum_ns), nanoseconds);
    }
}

#[inline(always)]
fn observe_state(host: &mut HostCounters, state: u64, nanoseconds: u64) {
    let index = state.wrapping_sub(1) as usize;
    if nanoseconds == UNKNOWN {
        add(host.unknown_age.get_mut(index), 1);
    } else {
        observe(host.time_in_state.get_mut(index), nanoseconds);
    }
}

#[inline(always)]
fn observe_handshake(host: &mut HostCounters, socket: Typed, old: u64, in_state: u64) {
    if old == SYN_SENT {
        if in_state != UNKNOWN {
            observe(host.handshake.get_mut(Role::Active as usize), in_state);
        }
    } else if let Some(srtt) = socket.any().read::<u32>(Field::Srtt) {
        // The first sample is the time from SYN-ACK to ACK, in eighths of a microsecond. There is none when the
        // SYN-ACK was sent twice or was a cookie.
        if srtt != 0 {
            observe(host.handshake.get_mut(Role::Passive as usize), (u64::from(srtt) * 1000) >> 3);
        }
    }
}

#[inline(never)]
fn illegal(host: &mut HostCounters, row: u32, old: u64, new: u64) {
    add(Some(&mut host.illegal), 1);
    let key = u64::from(row) << 16 | old << 8 | new;
    match ILLEGAL.get_ptr_mut(key) {
        // SAFETY: a counter of the map.
        Some(counter) => add(unsafe { counter.as_mut() }, 1),
        None => {
            let _ = ILLEGAL.insert(key, 1, 0);
        }
    }
}

/// Tells of this one transition.
#[inline(never)]
fn tell(host: &mut HostCounters, change: &Change, past: &Past, cause: u8) {
    let &Change { socket, old, new, now } = change;
    let kind = if past.expected == 0 { Kind::Transition } else { Kind::Gap };
    let error: u32 = if new == CLOSE { socket.load(Field::Error) } else { 0 };
    let fact = Fact {
        kind,
        now,
        in_state: past.in_state,
        old: old as u8,
        new: new as u8,
        what: if past.expected == 0 { cause } else { past.expected },
        flags: past.flags,
        owner: past.owner,
        in_owner: runs_in_owner(socket, old, new, error, past.in_state),
        detail: error,
    };
    emit::emit(&mut host.ring, socket, &fact);
}

/// Whether the transition was made by a call of the socket's owner. All others happen when a segment or a timer
/// is processed, in whatever task that interrupted.
#[inline(always)]
fn runs_in_owner(socket: Typed, old: u64, new: u64, error: u32, in_state: u64) -> bool {
    match (old, new) {
        (CLOSE, LISTEN | SYN_SENT) | (LISTEN, CLOSE) | (SYN_RECV, FIN_WAIT1) => true,
        (ESTABLISHED, FIN_WAIT1) | (CLOSE_WAIT, LAST_ACK) => {
            // A close during the handshake is made up for in softirq, right after ESTABLISHED; MPTCP closes its
            // subflows from a worker.
            in_state > HANDSHAKE_INSTANT_NS && socket.any().read::<u8>(Field::IsMptcp).unwrap_or(0) & 1 == 0
        }
        (ESTABLISHED | CLOSE_WAIT | SYN_SENT | SYN_RECV | FIN_WAIT1, CLOSE) => {
            error == 0 && socket.load::<u64>(Field::Socket) != 0
        }
        _ => old == new && old != CLOSE,
    }
}
