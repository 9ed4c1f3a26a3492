//! Every change of a TCP socket's state, also the rare ones. [`usual`](super::usual) counts what nearly every connection
//! does; [`nested`](super::nested) has the programs that are attached, and says when this one is run.
//!
//! `inet_sock_set_state` fires before the new state is stored, for every full socket and for TCP, MPTCP, SCTP and
//! DCCP alike. Request and TIME_WAIT mini-sockets never fire it.

use core::ptr::read_volatile;

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use tcpwatch_common::cell;
use tcpwatch_common::event::{Control, Kind, NO_CAUSE, UNKNOWN, phase};
use tcpwatch_common::machine::{CELL_BY_PAIR, TRAITS_BY_PAIR, pair, traits};
use tcpwatch_common::offsets::Field;
use tcpwatch_common::socket::{BIRTH_UNKNOWN, Meta, PASSIVE, ROLE_UNKNOWN, SINCE_UNKNOWN};
use tcpwatch_common::state::TcpState;

use crate::emit::{self, Fact};
use crate::maps::{CELLS, CONTROL, ILLEGAL, RARE, never};
use crate::namespace::{row_of, touch};
use crate::older;
use crate::programs::record::{Record, counter};
use crate::programs::{add_shared, ending, kernels_own, listener, observe};
use crate::read::{Typed, has};
use crate::settle::{MAY_DISPLACE, settle};
use crate::table::{self, Place};
use crate::unlearn::unlearn;

pub(super) const IPPROTO_TCP: u16 = 6;
const IPPROTO_MPTCP: u16 = 262;
const CLOSE: u64 = TcpState::Close as u64;
const LISTEN: u64 = TcpState::Listen as u64;

/// A transition sooner after another is taken for part of the same call of the kernel.
const SAME_CALL_NS: u64 = 20_000;

/// Counts any transition. Attached to nothing: the state-change programs go on with it. Several events can be in the
/// midst of it at once on one CPU, so it keeps nothing between two instructions that another could change.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn transition_rare(ctx: BtfTracePointContext) -> i32 {
    share_no_stack(&ctx);
    let (Some(control), Some(record)) = (CONTROL.get(0), Record::of_others()) else { return 0 };
    if control.phase == phase::IDLE {
        return 0;
    }
    let socket = Typed(ctx.arg::<*const u8>(0));
    let (old, new) = states(&ctx);
    match socket.load::<u16>(Field::Protocol) {
        IPPROTO_TCP => on_transition(record, control, socket, old, new),
        IPPROTO_MPTCP => record.add(counter!(record, mptcp), new.wrapping_sub(1) as usize & 15, 1),
        _ => {}
    }
    0
}

/// Keeps the kernel from giving this program one stack for each CPU, as it does since 6.13 to programs that it runs once at a
/// time on a CPU. It takes this one for such a program too, but reached by tail calls several of it can run within each
/// other: they would write over each other's variables, and so over the kernel's memory. Programs that could make a tail
/// call are left out of it, whether or not they ever make it.
#[inline(always)]
fn share_no_stack(ctx: &BtfTracePointContext) {
    if never() != 0 {
        // SAFETY: it is never reached, and the verifier takes it out.
        unsafe { RARE.tail_call(ctx, 0) }
    }
}

/// The old and the new state. Impossible numbers are kept impossible: 0 is no state. Whole registers are compared, so that
/// the verifier knows the bounds wherever a state is an index.
#[inline(always)]
pub(super) fn states(ctx: &BtfTracePointContext) -> (u64, u64) {
    let (old, new) = (ctx.arg::<u64>(1), ctx.arg::<u64>(2));
    let bounded = |state: u64| if state <= TcpState::COUNT as u64 { state } else { 0 };
    (bounded(old), bounded(new))
}

/// One event.
pub(super) struct Change {
    pub(super) socket: Typed,
    /// The same socket with the fields of a TCP socket, on kernels that can tell that it is one.
    pub(super) tcp: Option<Typed>,
    pub(super) old: u64,
    pub(super) new: u64,
    pub(super) traits: u8,
    pub(super) now: u64,
}

impl Change {
    #[inline(always)]
    fn is(&self, traits: u8) -> bool {
        self.traits & traits != 0
    }
}

/// What became known of a socket from its place in the table.
struct Past {
    row: u32,
    in_state: u64,
    flags: u8,
    owner: u32,
    /// The state it was last seen in, where that is not the event's old state.
    expected: u8,
    /// When it leaves the old state.
    now: u64,
}

impl Past {
    /// The same facts, without what the verifier knows of them on each of the many ways here: from here on it walks
    /// one way.
    #[inline(always)]
    fn unlearned(self) -> Self {
        let Self { row, owner, expected, flags, .. } = self;
        let packed =
            u64::from(owner) << 32 | u64::from(row) << 16 | u64::from(expected) << 8 | u64::from(flags);
        let packed = unlearn(packed);
        Self {
            row: (packed >> 16) as u32 & 0xffff,
            in_state: unlearn(self.in_state),
            now: unlearn(self.now),
            flags: packed as u8,
            owner: (packed >> 32) as u32,
            expected: (packed >> 8) as u8,
        }
    }
}

#[inline(always)]
fn on_transition(record: Record, control: &Control, socket: Typed, old: u64, new: u64) {
    let pair = pair(old as usize, new as usize);
    let traits = TRAITS_BY_PAIR[pair];
    // The kernel takes every socket of TCP for one; if it did not, the next transition would be a gap too.
    let Some(tcp) = socket.sure_tcp() else { return record.add(counter!(record, gaps), 0, 1) };
    // Whoever is told of single facts compares their times: so all are of the same clock.
    let now = unlearn(if is_told(control) { clock() } else { now(socket, tcp, traits) });
    let change = Change { socket, tcp, old, new, traits, now };
    let past = match table::find(socket.identity()) {
        (Some(place), Some(meta)) if !change.is(traits::BIRTH) => follow(record, &change, &place, meta),
        (_, stale) => meet(record, control, &change, stale),
    };
    let past = past.unlearned();
    let cell = CELL_BY_PAIR[pair];
    if cell == cell::NONE {
        illegal(record, past.row, &change);
    } else {
        count(past.row, cell as usize);
    }
    let cause = if change.is(traits::END) {
        ending::end(record, &change, past.row, past.flags, past.owner)
    } else {
        NO_CAUSE
    };
    if is_told(control) || cell == cell::NONE || past.expected != 0 {
        tell(record, &change, &past, unlearn(cause.into()) as u8);
    }
}

/// Whether somebody asked for single transitions.
#[inline(always)]
pub(super) fn is_told(control: &Control) -> bool {
    // SAFETY: a plain reference; volatile, so that the verifier need not remember the answer from here to there.
    unsafe { read_volatile(&raw const control.wanted) & Kind::Transition.bit() != 0 }
}

#[inline(always)]
fn clock() -> u64 {
    // SAFETY: a helper without preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// When the transition happens.
///
/// To read the clock costs more than all the rest of this program. Where a segment or a timer made the transition, TCP
/// has just read it: `tcp_mstamp_refresh()` runs at the start of processing either. An end can be made by a call as well;
/// then a task has the socket locked, and TCP's time is that of the last segment. While it has, segments that came
/// meanwhile are processed too, and so the clock is read for some of them.
#[inline(always)]
pub(super) fn now(socket: Typed, tcp: Option<Typed>, traits: u8) -> u64 {
    if traits & traits::BY_SEGMENT != 0
        && (traits & traits::END == 0 || socket.load::<u32>(Field::LockOwned) == 0)
        && has(Field::Clock)
        && let Some(tcp) = tcp
    {
        return tcp.load(Field::Clock);
    }
    clock()
}

/// Counts in the namespace's row.
#[inline(always)]
pub(super) fn count(row: u32, cell: usize) {
    if let Some(cells) = CELLS.get_ptr_mut(row) {
        // SAFETY: this CPU's row.
        add_shared(unsafe { (*cells).get_mut(cell & (cell::CELLS - 1)) }, 1);
    }
    touch(row);
}

/// The row of the socket's namespace; what has none left is counted as folded.
#[inline(always)]
fn row(record: Record, socket: Typed) -> u32 {
    let row = row_of(socket);
    if row == cell::OVERFLOW_ROW {
        record.add(counter!(record, folded), 0, 1);
    }
    unlearn(row.into()) as u32 & 0xffff
}

/// A socket that was met before, in a transition that is not its birth.
#[inline(always)]
fn follow(record: Record, change: &Change, place: &Place, meta: Meta) -> Past {
    let &Change { socket: _, tcp, old, new, .. } = change;
    let flags = unlearn(meta.flags().into()) as u8;
    // TCP's time can be that of the beginning of what made the last transition too, and that one's of the clock.
    let since = place.since();
    let now = change.now.max(since);
    let (row, owner) = (meta.row(), place.owner());
    let mut past = Past { row, in_state: UNKNOWN, flags, owner, expected: 0, now };
    if u64::from(meta.state()) != old {
        past.expected = meta.state();
        record.add(counter!(record, gaps), 0, 1);
    } else if flags & SINCE_UNKNOWN == 0 {
        past.in_state = now.wrapping_sub(since);
    }
    past.in_state = unlearn(past.in_state);
    if change.is(traits::SELF_LOOP) {
        // It marks that the owner is gone; the socket goes on being in its state.
        return past;
    }
    left(record, old, past.in_state);
    if change.is(traits::END) {
        observe::lifetime(record, old, flags, now.saturating_sub(place.birth()));
        place.release();
    } else {
        if change.is(traits::ESTABLISHES) {
            observe::handshake(record, tcp, old, past.in_state);
        }
        place.enter(meta, new, now);
    }
    past
}

/// Counts that a socket leaves a state, after how long if that is known.
#[inline(always)]
fn left(record: Record, old: u64, in_state: u64) {
    if in_state == UNKNOWN {
        observe::unknown_state(record, old);
    } else {
        observe::state(record, old, in_state);
    }
}

/// A socket that is born, or that is older than the programs, or for which there was no room.
#[inline(always)]
fn meet(record: Record, control: &Control, change: &Change, stale: Option<Meta>) -> Past {
    let &Change { socket, old, new, now, .. } = change;
    let row = row(record, socket);
    // Also one that is born now: nobody shall take it for an older one.
    let is_first = control.phase == phase::ADOPTING && older::enter(socket.identity());
    let is_first = unlearn(is_first.into()) != 0;
    let mut past = Past { row, in_state: UNKNOWN, flags: 0, owner: 0, expected: 0, now };
    if change.is(traits::BIRTH) {
        if change.is(traits::PASSIVE) {
            past.flags = PASSIVE;
        } else {
            // connect() and listen() run in the owner's context, unless the kernel calls them for itself.
            past.owner = unlearn(kernels_own::caller(socket, change.tcp).into()) as u32;
            if new == LISTEN {
                listener::opened(socket, past.owner);
            }
        }
        if let Some(stale) = stale {
            // A socket of this address was closed without our seeing it.
            past.expected = stale.state();
            record.add(counter!(record, gaps), 0, 1);
        }
    } else {
        past.flags = BIRTH_UNKNOWN | ROLE_UNKNOWN;
        if change.is(traits::SELF_LOOP) {
            past.flags |= SINCE_UNKNOWN;
        }
        if old != CLOSE {
            observe::unknown_state(record, old);
            if is_first {
                older::adopt(row, old);
            }
        }
    }
    let past = past.unlearned();
    put(record, control, change, &past, is_first);
    past
}

/// Gives the socket a place in the table, and counts those that have none.
#[inline(always)]
fn put(record: Record, control: &Control, change: &Change, past: &Past, is_first: bool) {
    // Numbers that the verifier does not know, so that it walks this once.
    let traits = unlearn(change.traits.into());
    let bit = |which: u8| traits >> which.trailing_zeros() & 1;
    let has_none = if bit(traits::END) != 0 {
        0
    } else {
        // Who is born may have the place of another. While older sockets are met, what is there first stays.
        let may_displace = bit(traits::BIRTH) & u64::from(control.phase == phase::COUNTING);
        let owner = u64::from(past.owner) | may_displace << 32;
        let met = Meta::new(0, past.row as u16, change.new as u8, past.flags);
        const { assert!(MAY_DISPLACE == 1 << 32) };
        1 ^ settle(change.socket.identity(), met.0, past.now, owner)
    };
    // It was met before and not found now. A listener that is aborted closes twice: then it had its place until the first.
    let closes_again = bit(traits::END) & bit(traits::SELF_LOOP);
    let had_none = 1 & !bit(traits::BIRTH) & !unlearn(is_first.into()) & !closes_again;
    record.add(counter!(record, untracked), 0, has_none);
    record.add(counter!(record, placeless), 0, has_none & !had_none);
    record.add(counter!(record, placeless_gone), 0, had_none & !has_none);
}

#[inline(always)]
fn illegal(record: Record, row: u32, change: &Change) {
    record.add(counter!(record, illegal), 0, 1);
    let key = u64::from(row) << 16 | change.old << 8 | change.new;
    match ILLEGAL.get_ptr_mut(key) {
        // SAFETY: a counter of the map.
        Some(counter) => add_shared(unsafe { counter.as_mut() }, 1),
        None => {
            let _ = ILLEGAL.insert(key, 1, 0);
        }
    }
    aya_log_ebpf::warn!((), "illegal transition {} -> {} in row {}", change.old, change.new, row);
}

/// Tells of this one transition.
#[inline(always)]
fn tell(record: Record, change: &Change, past: &Past, cause: u8) {
    let socket = change.socket;
    let error: u32 = if change.is(traits::END) { socket.load(Field::Error) } else { 0 };
    let fact = Fact {
        kind: if past.expected == 0 { Kind::Transition } else { Kind::Gap },
        now: past.now,
        in_state: past.in_state,
        old: change.old as u8,
        new: change.new as u8,
        what: if past.expected == 0 { cause } else { past.expected },
        flags: past.flags,
        owner: past.owner,
        in_owner: runs_in_owner(change, error, past.in_state),
        detail: error,
    };
    // SAFETY: a whole record of the map; nothing is read.
    emit::emit(unsafe { &raw mut (*record.host).ring }, socket, &fact);
}

/// Whether the transition was made by a call of the socket's owner. All others happen when a segment or a timer
/// is processed, in whatever task that interrupted.
#[inline(always)]
fn runs_in_owner(change: &Change, error: u32, in_state: u64) -> bool {
    if change.is(traits::BY_OWNER) {
        // A close during the handshake is made up for right after ESTABLISHED, when the last segment comes; and
        // MPTCP closes its subflows from a worker.
        return (in_state > SAME_CALL_NS || change.old != TcpState::Established as u64)
            && !change.tcp.is_some_and(|tcp| has(Field::IsMptcp) && tcp.load::<u8>(Field::IsMptcp) & 1 != 0);
    }
    change.is(traits::END)
        && !change.is(traits::BY_SEGMENT)
        && error == 0
        && change.socket.load::<u64>(Field::Socket) != 0
}
