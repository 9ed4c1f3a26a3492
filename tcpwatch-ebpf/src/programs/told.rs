//! Facts about a socket that stays in its state: resets and retransmits.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use tcpwatch_common::event::{Kind, UNKNOWN};
use tcpwatch_common::host::HostCounters;
use tcpwatch_common::offsets::Field;

use crate::emit::{self, Fact};
use crate::maps::CONTROL;
use crate::read::Typed;
use crate::table;
use crate::unlearn::unlearn;

/// What is remembered of a socket.
#[derive(Clone, Copy)]
pub(super) struct Remembered {
    pub(super) owner: u32,
    pub(super) flags: u8,
}

/// What is remembered of a socket that something happens to.
#[inline(always)]
pub(super) fn remembered(socket: Typed) -> Remembered {
    let (owner, flags) = table::recall_by(socket.identity(), unlearn);
    let packed = unlearn(u64::from(owner) << 8 | u64::from(flags));
    Remembered { owner: (packed >> 8) as u32, flags: packed as u8 }
}

/// Tells the fact if somebody asked for its kind.
#[inline(always)]
pub(super) fn tell(
    host: *mut HostCounters,
    socket: Typed,
    kind: Kind,
    what: u8,
    detail: u32,
    known: Remembered,
) {
    if CONTROL.get(0).is_none_or(|control| control.wanted & kind.bit() == 0) {
        return;
    }
    let state: u8 = socket.load(Field::State);
    let fact = Fact {
        kind,
        // SAFETY: a helper without preconditions.
        now: unsafe { bpf_ktime_get_ns() },
        in_state: UNKNOWN,
        old: state,
        new: state,
        what,
        flags: known.flags,
        owner: known.owner,
        in_owner: false,
        detail,
    };
    // SAFETY: a whole record of the map; nothing is read.
    emit::emit(unsafe { &raw mut (*host).ring }, socket, &fact);
}
