//! What is wrong with a single established socket.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use tcpwatch_common::offsets::Field;
use tcpwatch_common::state::TcpState;
use tcpwatch_common::survey::{Request, trouble};

use crate::branchless::{below, is_zero, not, wrapped};
use crate::programs::snapshot::{SOCK_KEEPOPEN, load};
use crate::read::{Typed, has};
use crate::unlearn::unlearn;

const ESTABLISHED: u64 = TcpState::Established as u64;
const LOOKED_AT: u64 = 1 << ESTABLISHED | 1 << TcpState::CloseWait as u64;

/// One of [`trouble`]; at most one of the conditions below holds.
#[inline(always)]
pub(super) fn of(state: u64, tcp: Typed, unread: u64, unsent: u64, request: &Request) -> u64 {
    if !has(Field::LastAck) || !has(Field::LastSent) || !has(Field::PacketsOut) || !has(Field::SendWindow) {
        return trouble::NONE.into();
    }
    // SAFETY: a helper without preconditions.
    let now = unsafe { bpf_jiffies64() } as u32;
    let since = |field: Field| wrapped(now.wrapping_sub(tcp.load(field)));
    let is_none = |field: Field| is_zero(tcp.load::<u32>(field).into());
    let (ack, sent) = (since(Field::LastAck), since(Field::LastSent));
    let sent_lately = below(sent, request.stalled_ticks);

    let is_waiting = not(is_none(Field::PacketsOut));
    // One that is only about to answer has not been asked twice.
    let again = if has(Field::Retries) { not(is_zero(load::<u8>(tcp, Field::Retries).into())) } else { 1 };
    let unacknowledged =
        is_waiting & again & not(below(ack, request.unacknowledged_ticks)) & below(sent, ack);

    let has_all_sent = not(is_waiting) & is_zero(unsent);
    let peer_window = not(is_waiting) & not(is_zero(unsent)) & is_none(Field::SendWindow) & not(sent_lately);

    let (mut has_all_read, mut own_window) = (1, 0);
    if has(Field::ReceiveWindow) && has(Field::LastReceived) {
        has_all_read = is_zero(unread);
        let received_lately = below(since(Field::LastReceived), request.stalled_ticks);
        own_window = has_all_sent & not(has_all_read) & is_none(Field::ReceiveWindow) & not(received_lately);
    }
    // Neither came nor went anything.
    let is_silent = not(below(ack, request.silent_ticks) | below(sent, request.silent_ticks));
    let keepalive = not(is_zero(tcp.load::<u64>(Field::Flags) & SOCK_KEEPOPEN));
    let is_established = 1 << ESTABLISHED >> state & 1;
    let no_keepalive = is_established & has_all_sent & has_all_read & is_silent & not(keepalive);

    let found = unacknowledged * u64::from(trouble::UNACKNOWLEDGED)
        + no_keepalive * u64::from(trouble::NO_KEEPALIVE)
        + peer_window * u64::from(trouble::PEER_WINDOW_ZERO)
        + own_window * u64::from(trouble::OWN_WINDOW_ZERO);
    unlearn(found * (LOOKED_AT >> state & 1))
}
