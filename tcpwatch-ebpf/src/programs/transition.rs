//! Every change of a TCP socket's state. The programs that run this are in [`nested`](super::nested).
//!
//! `inet_sock_set_state` fires before the new state is stored, for every full socket and for TCP, MPTCP, SCTP and
//! DCCP alike. Request and TIME_WAIT mini-sockets never fire it.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::programs::BtfTracePointContext;
use tcpwatch_common::cell;
use tcpwatch_common::event::{Control, Kind, NO_CAUSE, UNKNOWN, phase};
use tcpwatch_common::host::HostCounters;
use tcpwatch_common::machine::{CELL_BY_PAIR, TRAITS_BY_PAIR, pair, traits};
use tcpwatch_common::offsets::Field;
use tcpwatch_common::socket::{BIRTH_UNKNOWN, Meta, PASSIVE, ROLE_UNKNOWN, SINCE_UNKNOWN};
use tcpwatch_common::state::TcpState;

use crate::emit::{self, Fact};
use crate::maps::{CELLS, CONTROL, ILLEGAL};
use crate::namespace::{row_of, touch};
use crate::older;
use crate::programs::{add, add_shared, ending, listener, observe};
use crate::read::Typed;
use crate::table::{self, Place, launder};

const IPPROTO_TCP: u16 = 6;
const IPPROTO_MPTCP: u16 = 262;
const CLOSE: u64 = TcpState::Close as u64;
const LISTEN: u64 = TcpState::Listen as u64;

/// A transition sooner after another is taken for part of the same call of the kernel.
const SAME_CALL_NS: u64 = 20_000;

/// Counts one event in `host`, a record that nobody else writes meanwhile.
#[inline(always)]
pub(super) fn on_event(host: &mut HostCounters, ctx: &BtfTracePointContext) {
    let Some(control) = CONTROL.get(0) else { return };
    if control.phase == phase::IDLE {
        return;
    }
    let socket = Typed(ctx.arg::<*const u8>(0));
    let old = ctx.arg::<u64>(1);
    let new = ctx.arg::<u64>(2);
    // Impossible numbers are kept impossible: 0 is no state. Whole registers are compared, so that the verifier
    // knows the bounds wherever a state is an index.
    let old = if old <= TcpState::COUNT as u64 { old } else { 0 };
    let new = if new <= TcpState::COUNT as u64 { new } else { 0 };
    match socket.load::<u16>(Field::Protocol) {
        IPPROTO_TCP => on_transition(host, control, socket, old, new),
        IPPROTO_MPTCP => add(host.mptcp.get_mut(new.wrapping_sub(1) as usize), 1),
        _ => {}
    }
}

/// One event.
pub(super) struct Change {
    pub(super) socket: Typed,
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
}

impl Past {
    /// The same facts, without what the verifier knows of them on each of the many ways here: from here on it walks
    /// one way.
    #[inline(always)]
    fn launder(self, scratch: &mut [u64; 3]) -> Self {
        let [_, in_state, rest] = scratch;
        let Self { row, owner, expected, flags, .. } = self;
        let packed =
            u64::from(owner) << 32 | u64::from(row) << 16 | u64::from(expected) << 8 | u64::from(flags);
        let packed = launder(packed, rest);
        Self {
            row: (packed >> 16) as u32 & 0xffff,
            in_state: launder(self.in_state, in_state),
            flags: packed as u8,
            owner: (packed >> 32) as u32,
            expected: (packed >> 8) as u8,
        }
    }
}

#[inline(always)]
fn on_transition(host: &mut HostCounters, control: &Control, socket: Typed, old: u64, new: u64) {
    let pair = pair(old as usize, new as usize);
    let traits = TRAITS_BY_PAIR[pair];
    let change = Change { socket, old, new, traits, now: now(socket, traits) };
    let (place, meta) = table::find(socket.identity(), &mut host.scratch[0]);
    let past = match (&place, meta) {
        (Some(place), Some(meta)) if !change.is(traits::BIRTH) => follow(host, &change, place, meta),
        _ => meet(host, control, &change, place, meta),
    };
    let past = past.launder(&mut host.scratch);
    let cell = CELL_BY_PAIR[pair];
    if cell == cell::NONE {
        illegal(host, past.row, &change);
    } else {
        count(past.row, cell as usize);
    }
    let cause =
        if change.is(traits::END) { ending::end(host, &change, past.row, past.owner) } else { NO_CAUSE };
    if control.wanted != 0 || cell == cell::NONE || past.expected != 0 {
        tell(host, &change, &past, cause);
    }
}

/// When the transition happens.
///
/// To read the clock costs more than all the rest of this program. Where a segment made the transition, TCP has
/// just read it: `tcp_mstamp_refresh()` runs at the start of receive processing.
#[inline(always)]
fn now(socket: Typed, traits: u8) -> u64 {
    if traits & traits::BY_SEGMENT != 0
        && let Some(now) = socket.tcp_field::<u64>(Field::Clock)
    {
        return now;
    }
    // SAFETY: a helper without preconditions.
    unsafe { bpf_ktime_get_ns() }
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
fn row(host: &mut HostCounters, socket: Typed) -> u32 {
    let row = row_of(socket, Some(&mut host.last_namespace));
    if row == cell::OVERFLOW_ROW {
        add(Some(&mut host.folded), 1);
    }
    row
}

/// A socket that was met before, in a transition that is not its birth.
#[inline(always)]
fn follow(host: &mut HostCounters, change: &Change, place: &Place, meta: Meta) -> Past {
    let &Change { socket, old, new, now, .. } = change;
    let flags = meta.flags();
    let mut past = Past { row: meta.row(), in_state: UNKNOWN, flags, owner: place.owner(), expected: 0 };
    if u64::from(meta.state()) != old {
        past.expected = meta.state();
        add(Some(&mut host.gaps), 1);
    } else if flags & SINCE_UNKNOWN == 0 {
        past.in_state = now.saturating_sub(place.since());
    }
    if change.is(traits::SELF_LOOP) {
        // It marks that the owner is gone; the socket goes on being in its state.
        return past;
    }
    observe::state(host, old, past.in_state);
    if change.is(traits::END) {
        observe::lifetime(host, old, flags, now.saturating_sub(place.birth()));
        place.release();
    } else {
        if change.is(traits::ESTABLISHES) {
            observe::handshake(host, socket, old, past.in_state);
        }
        place.enter(meta, new, now);
    }
    past
}

/// A socket that is born, or that is older than the programs, or for which there was no room.
#[inline(always)]
fn meet(
    host: &mut HostCounters,
    control: &Control,
    change: &Change,
    place: Option<Place>,
    stale: Option<Meta>,
) -> Past {
    let &Change { socket, old, new, now, .. } = change;
    let row = row(host, socket);
    // Also one that is born now: nobody shall take it for an older one.
    let is_first = control.phase == phase::ADOPTING && older::enter(socket.identity());
    let mut past = Past { row, in_state: UNKNOWN, flags: 0, owner: 0, expected: 0 };
    if change.is(traits::BIRTH) {
        if change.is(traits::PASSIVE) {
            past.flags = PASSIVE;
        } else {
            // connect() and listen() run in the owner's context.
            past.owner = (bpf_get_current_pid_tgid() >> 32) as u32;
            if new == LISTEN {
                listener::opened(socket, past.owner);
            }
        }
        if let Some(stale) = stale {
            // A socket of this address was closed without our seeing it.
            past.expected = stale.state();
            add(Some(&mut host.gaps), 1);
        }
    } else {
        past.flags = BIRTH_UNKNOWN | ROLE_UNKNOWN;
        if change.is(traits::SELF_LOOP) {
            past.flags |= SINCE_UNKNOWN;
        }
        if old != CLOSE {
            observe::state(host, old, UNKNOWN);
            if is_first {
                older::adopt(row, old);
            }
        }
    }
    if !change.is(traits::END) {
        let met = Meta::new(0, row as u16, new as u8, past.flags);
        match place {
            Some(place) if place.is_still_free() => place.claim(row, new, past.flags, now, past.owner),
            Some(_) if table::claim_again(socket.identity(), met, now, past.owner) => {}
            _ => add(Some(&mut host.untracked), 1),
        }
    }
    past
}

#[inline(never)]
fn illegal(host: &mut HostCounters, row: u32, change: &Change) {
    add(Some(&mut host.illegal), 1);
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
#[inline(never)]
fn tell(host: &mut HostCounters, change: &Change, past: &Past, cause: u8) {
    let socket = change.socket;
    let error: u32 = if change.is(traits::END) { socket.load(Field::Error) } else { 0 };
    let fact = Fact {
        kind: if past.expected == 0 { Kind::Transition } else { Kind::Gap },
        now: change.now,
        in_state: past.in_state,
        old: change.old as u8,
        new: change.new as u8,
        what: if past.expected == 0 { cause } else { past.expected },
        flags: past.flags,
        owner: past.owner,
        in_owner: runs_in_owner(change, error, past.in_state),
        detail: error,
    };
    emit::emit(&mut host.ring, socket, &fact);
}

/// Whether the transition was made by a call of the socket's owner. All others happen when a segment or a timer
/// is processed, in whatever task that interrupted.
#[inline(always)]
fn runs_in_owner(change: &Change, error: u32, in_state: u64) -> bool {
    if change.is(traits::BY_OWNER) {
        // A close during the handshake is made up for right after ESTABLISHED, when the last segment comes; and
        // MPTCP closes its subflows from a worker.
        return (in_state > SAME_CALL_NS || change.old != TcpState::Established as u64)
            && change.socket.tcp_field::<u8>(Field::IsMptcp).unwrap_or(0) & 1 == 0;
    }
    change.is(traits::END)
        && !change.is(traits::BY_SEGMENT)
        && error == 0
        && change.socket.load::<u64>(Field::Socket) != 0
}
