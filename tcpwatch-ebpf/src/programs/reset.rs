//! RST segments, sent and received.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use tcpwatch_common::event::{Kind, NO_CAUSE, UNKNOWN};
use tcpwatch_common::host::HostCounters;
use tcpwatch_common::offsets::Field;
use tcpwatch_common::remote::Count;
use tcpwatch_common::state::TcpState;

use crate::emit::{self, Fact};
use crate::maps::{CONTROL, HOST, RESET_REASONS, reset_args};
use crate::namespace::touch_of;
use crate::programs::{add_shared, remote};
use crate::read::Typed;
use crate::table;

#[btf_tracepoint(function = "tcp_receive_reset")]
pub(crate) fn reset_received(ctx: BtfTracePointContext) -> i32 {
    let socket = Typed(ctx.arg::<*const u8>(0));
    let Some(host) = HOST.get_ptr_mut(0) else { return 0 };
    // SAFETY: the record of this CPU.
    let host = unsafe { &mut *host };
    add_shared(Some(&mut host.resets_received), 1);
    let (owner, flags) = table::recall(socket.identity());
    remote::count(socket, flags, owner, Count::ResetReceived);
    touch_of(socket);
    if is_wanted(Kind::ResetReceived) {
        tell(host, socket, Kind::ResetReceived, 0);
    }
    0
}

#[btf_tracepoint(function = "tcp_send_reset")]
pub(crate) fn reset_sent(ctx: BtfTracePointContext) -> i32 {
    let socket = Typed(ctx.arg::<*const u8>(0));
    let Some(host) = HOST.get_ptr_mut(0) else { return 0 };
    // SAFETY: the record of this CPU.
    let host = unsafe { &mut *host };
    add_shared(Some(&mut host.resets_sent), 1);
    // Newer kernels pass their reason. The loader says how many arguments this one passes.
    let reason = if reset_args() > 2 { ctx.arg::<u32>(2) } else { 0 };
    if let Some(counter) = RESET_REASONS.get_ptr_mut(reason) {
        // SAFETY: this CPU's counter.
        add_shared(unsafe { counter.as_mut() }, 1);
    }
    if socket.0.is_null() {
        add_shared(Some(&mut host.resets_sent_no_socket), 1);
        return 0;
    }
    // Mini-sockets are told by newer kernels; they share only the common part with a socket.
    let state: u8 = socket.load(Field::State);
    let is_full = state != TcpState::TimeWait as u8 && state != TcpState::NewSynRecv as u8;
    // A listener that answers with a reset has no remote end of its own.
    if is_full && state != TcpState::Listen as u8 {
        let (owner, flags) = table::recall(socket.identity());
        remote::count(socket, flags, owner, Count::ResetSent);
        touch_of(socket);
    }
    if is_full && is_wanted(Kind::ResetSent) {
        tell(host, socket, Kind::ResetSent, reason);
    }
    0
}

#[inline(always)]
fn is_wanted(kind: Kind) -> bool {
    CONTROL.get(0).is_some_and(|control| control.wanted & kind.bit() != 0)
}

#[inline(always)]
fn tell(host: &mut HostCounters, socket: Typed, kind: Kind, reason: u32) {
    let state: u8 = socket.load(Field::State);
    let (owner, flags) = table::recall(socket.identity());
    let fact = Fact {
        kind,
        // SAFETY: a helper without preconditions.
        now: unsafe { bpf_ktime_get_ns() },
        in_state: UNKNOWN,
        old: state,
        new: state,
        what: NO_CAUSE,
        flags,
        owner,
        in_owner: false,
        detail: reason,
    };
    emit::emit(&mut host.ring, socket, &fact);
}
