//! What a transition to CLOSE means: the cause, the mini-sockets it leaves, and what the kernel counts for it.

use tcpwatch_common::cause::{Cause, Ending};
use tcpwatch_common::cell;
use tcpwatch_common::event::NO_CAUSE;
use tcpwatch_common::host::HostCounters;
use tcpwatch_common::offsets::Field;
use tcpwatch_common::state::TcpState;

use crate::maps::LISTENERS;
use crate::programs::transition::{Change, count};
use crate::programs::{add, remote};
use crate::read::Typed;

/// `SOCK_DEAD` and `SOCK_DONE`, the first two socket flags in every kernel.
const SOCK_DEAD: u64 = 1;
const SOCK_DONE: u64 = 2;

/// Derives the cause and counts it.
#[inline(always)]
pub(super) fn end(host: &mut HostCounters, change: &Change, row: u32, owner: u32) -> u8 {
    let &Change { socket, old, .. } = change;
    let Some(from) = TcpState::from_kernel(old as u32) else { return NO_CAUSE };
    let flags: u64 = socket.load(Field::Flags);
    let mut ending = Ending {
        error: socket.load::<u32>(Field::Error),
        done: flags & SOCK_DONE != 0,
        unread: false,
        orphan: flags & SOCK_DEAD != 0,
    };
    // A negative TCP_LINGER2 forbids the mini-socket: an orphan in FIN_WAIT2 is then closed by force.
    if matches!(from, TcpState::FinWait2)
        && socket.tcp_field::<i32>(Field::Linger2).is_some_and(|time| time < 0)
    {
        ending.orphan = false;
    }
    if ending.may_be_unread(from) {
        ending.unread = has_unread(socket, ending.done);
    }
    match from {
        TcpState::FinWait2 | TcpState::Closing => {
            if Cause::is_time_wait(from, ending) {
                count(row, cell::TIME_WAIT_ENTERED);
            } else if Cause::is_orphan_fin_wait2(from, ending) {
                count(row, cell::FIN_WAIT2_ORPHANED);
            }
        }
        TcpState::SynSent if ending.error != 0 => remote::failed(host, socket, owner, ending.error),
        TcpState::SynSent => {
            count(row, cell::CONNECT_GIVEN_UP);
            if socket.tcp_field::<u32>(Field::SegmentsOut) == Some(0) {
                count(row, cell::CONNECT_NEVER_SENT);
            }
            remote::failed(host, socket, owner, 0);
        }
        TcpState::SynRecv if ending.error != 0 || ending.orphan => count(row, cell::SYN_RECV_FAILED),
        TcpState::Listen => {
            let _ = LISTENERS.remove(socket.identity());
        }
        _ => {}
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
    let (Some(next), Some(copied)) =
        (socket.tcp_field::<u32>(Field::ReceiveNext), socket.tcp_field::<u32>(Field::CopiedSequence))
    else {
        return false;
    };
    next.wrapping_sub(copied) > u32::from(done)
}
