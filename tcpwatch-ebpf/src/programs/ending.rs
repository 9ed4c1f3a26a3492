//! What a transition to CLOSE means: the cause, the mini-sockets it leaves, and what the kernel counts for it.

use tcpwatch_common::cause::{ENDINGS, ending_index, found};
use tcpwatch_common::cell;
use tcpwatch_common::offsets::Field;
use tcpwatch_common::state::TcpState;

use crate::maps::LISTENERS;
use crate::programs::record::{Record, counter};
use crate::programs::transition::{Change, count};
use crate::programs::{remote, service};
use crate::read::{Typed, has};
use crate::unlearn::unlearn;

/// `SOCK_DEAD` and `SOCK_DONE`, the first two socket flags in every kernel.
const FLAGS: u64 = (found::ORPHAN | found::DONE) as u64;

/// What is counted for an ending.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    pub(super) cause: u8,
    /// The cell that is counted beside the edge's own, 0 for none.
    pub(super) cell: usize,
}

/// Derives the cause and counts it.
#[inline(always)]
pub(super) fn derive(record: Record, socket: Typed, tcp: Option<Typed>, old: u64) -> Ending {
    let mut bits = (socket.load::<u64>(Field::Flags) & FLAGS) as u8;
    if let Some(tcp) = tcp {
        bits |= unread(tcp, bits);
        // A negative TCP_LINGER2 forbids the mini-socket.
        if has(Field::Linger2) {
            bits |= (tcp.load::<u32>(Field::Linger2) >> 31) as u8 * found::NO_LINGER;
        }
    }
    let bits = unlearn(bits.into()) as u8;
    let entry = ENDINGS[ending_index(old, socket.load(Field::Error), bits)];
    let cause = entry & 7;
    // SAFETY of the index: as in `observe`, 16 states of 8 causes; what is behind the array is part of the record.
    let state = old.wrapping_sub(1) as usize & 15;
    record.add(counter!(record, endings), state * 8 + usize::from(cause), 1);
    Ending { cause, cell: usize::from(entry >> 3) }
}

/// Counts all that an ending means; the cause.
#[inline(always)]
pub(super) fn end(record: Record, change: &Change, row: u32, flags: u8, owner: u32) -> u8 {
    let &Change { socket, tcp, old, .. } = change;
    if let Some(tcp) = tcp
        && service::is_connection(old)
        && let Some(ends) = service::known_or_new(row, flags, tcp)
    {
        ends.add(socket, tcp, flags, old);
    }
    let ending = derive(record, socket, tcp, old);
    let ending = Ending { cause: unlearn(ending.cause.into()) as u8 & 7, ..ending };
    if ending.cell != 0 {
        count(row, ending.cell);
    }
    if old == TcpState::Listen as u64 {
        let _ = LISTENERS.remove(socket.identity());
    }
    if old == TcpState::SynSent as u64 {
        let error: u32 = socket.load(Field::Error);
        if error == 0
            && has(Field::SegmentsOut)
            && let Some(tcp) = tcp
            && tcp.load::<u32>(Field::SegmentsOut) == 0
        {
            count(row, cell::CONNECT_NEVER_SENT);
        }
        remote::failed(record.host, socket, owner, error);
    }
    ending.cause
}

/// Whether data was received that the application never read. At this point the kernel has emptied the queue, but
/// the sequence numbers still tell; a received FIN takes one.
#[inline(always)]
fn unread(tcp: Typed, bits: u8) -> u8 {
    if !has(Field::ReceiveNext) || !has(Field::CopiedSequence) {
        return 0;
    }
    let (next, copied) = (tcp.load::<u32>(Field::ReceiveNext), tcp.load::<u32>(Field::CopiedSequence));
    let done = u32::from(bits & found::DONE != 0);
    if next.wrapping_sub(copied) > done { found::UNREAD } else { 0 }
}
