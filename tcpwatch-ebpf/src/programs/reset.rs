//! RST segments, sent and received.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use tcpwatch_common::event::{Kind, NO_CAUSE};
use tcpwatch_common::offsets::Field;
use tcpwatch_common::remote::Count;
use tcpwatch_common::state::TcpState;

use crate::maps::{RESET_REASONS, reset_args};
use crate::namespace::touch_of;
use crate::programs::record::{Record, counter};
use crate::programs::told::{remembered, tell};
use crate::programs::{add_shared, remote};
use crate::read::Typed;

#[btf_tracepoint(function = "tcp_receive_reset")]
pub(crate) fn reset_received(ctx: BtfTracePointContext) -> i32 {
    let socket = Typed(ctx.arg::<*const u8>(0));
    let Some(record) = Record::of_others() else { return 0 };
    record.add(counter!(record, resets_received), 0, 1);
    let known = remembered(socket);
    remote::count(socket, known.flags, known.owner, Count::ResetReceived);
    touch_of(socket);
    tell(record.host, socket, Kind::ResetReceived, NO_CAUSE, 0, known);
    0
}

#[btf_tracepoint(function = "tcp_send_reset")]
pub(crate) fn reset_sent(ctx: BtfTracePointContext) -> i32 {
    let socket = Typed(ctx.arg::<*const u8>(0));
    let Some(record) = Record::of_others() else { return 0 };
    record.add(counter!(record, resets_sent), 0, 1);
    // Newer kernels pass their reason. The loader says how many arguments this one passes.
    let reason = if reset_args() > 2 { ctx.arg::<u32>(2) } else { 0 };
    if let Some(counter) = RESET_REASONS.get_ptr_mut(reason) {
        // SAFETY: this CPU's counter.
        add_shared(unsafe { counter.as_mut() }, 1);
    }
    if socket.0.is_null() {
        record.add(counter!(record, resets_sent_no_socket), 0, 1);
        return 0;
    }
    // Mini-sockets are told by newer kernels; they share only the common part with a socket.
    let state: u8 = socket.load(Field::State);
    if state == TcpState::TimeWait as u8 || state == TcpState::NewSynRecv as u8 {
        return 0;
    }
    let known = remembered(socket);
    // A listener that answers with a reset has no remote end of its own.
    if state != TcpState::Listen as u8 {
        remote::count(socket, known.flags, known.owner, Count::ResetSent);
        touch_of(socket);
    }
    tell(record.host, socket, Kind::ResetSent, NO_CAUSE, reason, known);
    0
}
