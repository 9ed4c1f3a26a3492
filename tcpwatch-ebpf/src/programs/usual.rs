//! The transitions of nearly every connection, counted as cheaply as they can be.
//!
//! What is rare is left to [`transition`](super::transition), which counts anything: so here each question has one answer
//! that goes on, and the verifier walks hardly more than the program is long. A transition that is not counted here has
//! changed nothing.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::programs::BtfTracePointContext;
use tcpwatch_common::cell::{self, Row};
use tcpwatch_common::event::phase;
use tcpwatch_common::host::Underway;
use tcpwatch_common::machine::{CELL_BY_PAIR, TRAITS_BY_PAIR, pair, traits};
use tcpwatch_common::offsets::Field;
use tcpwatch_common::socket::{Meta, PASSIVE, SINCE_UNKNOWN};

use crate::add::add_shared_to;
use crate::maps::{CELLS, CONTROL};
use crate::namespace::{known_row, touch};
use crate::programs::record::Record;
use crate::programs::service::{self, Ends};
use crate::programs::transition::{IPPROTO_TCP, is_told, now, states};
use crate::programs::{ending, kernels_own, observe};
use crate::read::Typed;
use crate::table::{self, Place};
use crate::unlearn::unlearn;

/// One event.
struct Change {
    socket: Typed,
    tcp: Option<Typed>,
    old: u64,
    new: u64,
    traits: u8,
    now: u64,
}

/// Counts the transition; `None` if it has to be left to the other program.
#[inline(always)]
pub(super) fn count(underway: *mut Underway, ctx: &BtfTracePointContext) -> Option<()> {
    let control = CONTROL.get(0)?;
    // While older sockets are met, those that are born are entered among them.
    if control.phase != phase::COUNTING || is_told(control) {
        return None;
    }
    let socket = Typed(ctx.arg::<*const u8>(0));
    let (old, new) = states(ctx);
    let pair = pair(old as usize, new as usize);
    let traits = TRAITS_BY_PAIR[pair];
    if traits & traits::RARE != 0 || socket.load::<u16>(Field::Protocol) != IPPROTO_TCP {
        return None;
    }
    let tcp = socket.sure_tcp()?;
    let now = unlearn(now(socket, tcp, traits));
    let change = Change { socket, tcp, old, new, traits, now };
    let (place, meta) = table::find_first(socket.identity());
    let place = place?;
    let (row, beside) = match meta {
        None => (bear(underway, &change, &place)?, 0),
        Some(meta) => follow(&change, &place, meta)?,
    };
    let (row, beside) = (unlearn(row.into()) as u32, unlearn(beside as u64) as usize);
    if let Some(counters) = CELLS.get_ptr_mut(row) {
        const { assert!(size_of::<Row>() / 8 == cell::CELLS && cell::CELLS.is_power_of_two()) };
        let (counters, cells) = (counters.cast::<u64>(), cell::CELLS - 1);
        // SAFETY: this CPU's row, and a cell of it. The other program may count in it meanwhile.
        unsafe {
            add_shared_to(counters.add(usize::from(CELL_BY_PAIR[pair]) & cells), 1);
            if beside != 0 {
                add_shared_to(counters.add(beside & cells), 1);
            }
        }
    }
    touch(row);
    Some(())
}

/// A connection that is born; the row of its namespace.
#[inline(always)]
fn bear(underway: *mut Underway, change: &Change, place: &Place) -> Option<u32> {
    if change.traits & traits::BIRTH == 0 {
        return None;
    }
    let row = known_row(change.socket, underway)?;
    if row == cell::OVERFLOW_ROW || !place.is_still_free() {
        return None;
    }
    let (flags, owner) = if change.traits & traits::PASSIVE != 0 {
        (PASSIVE, 0)
    } else {
        if kernels_own::is_marked(change.socket) {
            return None;
        }
        // connect() runs in the owner's context.
        (0, (bpf_get_current_pid_tgid() >> 32) as u32)
    };
    place.claim(row, change.new, flags, change.now, owner);
    Some(row)
}

/// A connection that was met before; the row of its namespace, and the cell that is counted beside the edge's own.
#[inline(always)]
fn follow(change: &Change, place: &Place, meta: Meta) -> Option<(u32, usize)> {
    let &Change { socket, tcp, old, new, traits, now } = change;
    let flags = meta.flags();
    if traits & traits::BIRTH != 0 || u64::from(meta.state()) != old || flags & SINCE_UNKNOWN != 0 {
        return None;
    }
    let record = Record::of_the_first()?;
    let since = place.since();
    // See the other program.
    let now = unlearn(now.max(since));
    let in_state = now.wrapping_sub(since);
    if traits & traits::END != 0 {
        let ends = ends_of(change, meta)?;
        observe::state(record, old, in_state);
        observe::lifetime(record, old, flags, now.saturating_sub(place.birth()));
        place.release();
        if let (Some(ends), Some(tcp)) = (ends, tcp) {
            ends.add(socket, tcp, flags, old);
        }
        return Some((meta.row(), ending::derive(record, socket, tcp, old).cell));
    }
    observe::state(record, old, in_state);
    if traits & traits::ESTABLISHES != 0 {
        observe::handshake(record, tcp, old, in_state);
    }
    place.enter(meta, new, now);
    Some((meta.row(), 0))
}

/// Where the end of a connection is added up; `None` inside on kernels that tell nothing of it.
#[expect(clippy::option_option, reason = "one is asked for by `?`")]
#[inline(always)]
fn ends_of(change: &Change, meta: Meta) -> Option<Option<Ends>> {
    if !service::is_connection(change.old) {
        return None;
    }
    match change.tcp {
        Some(tcp) => service::known(meta.row(), meta.flags(), tcp).map(Some),
        None => Some(None),
    }
}
