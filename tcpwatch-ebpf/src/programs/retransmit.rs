//! Segments sent again.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use tcpwatch_common::event::{Kind, UNKNOWN};
use tcpwatch_common::host::{HostCounters, Retransmit};
use tcpwatch_common::offsets::Field;
use tcpwatch_common::remote::{Count, cause};
use tcpwatch_common::state::TcpState;

use crate::emit::{self, Fact};
use crate::maps::{CONTROL, HOST, retransmit_args};
use crate::namespace::touch_of;
use crate::programs::{add_shared, listener, remote};
use crate::read::Typed;
use crate::table;

/// SYN, data and FIN segments of full sockets, tail loss probes among them.
#[btf_tracepoint(function = "tcp_retransmit_skb")]
pub(crate) fn retransmit(ctx: BtfTracePointContext) -> i32 {
    let socket = Typed(ctx.arg::<*const u8>(0));
    // Newer kernels tell of failed attempts too. The loader says how many arguments this one passes.
    let error = if retransmit_args() > 2 { ctx.arg::<u32>(2) } else { 0 };
    let kind = if error != 0 {
        Retransmit::Failed
    } else if socket.load::<u8>(Field::State) == TcpState::SynSent as u8 {
        Retransmit::Syn
    } else {
        Retransmit::Data
    };
    count(socket, kind, error);
    let (owner, flags) = table::recall(socket.identity());
    match kind {
        Retransmit::Syn => remote::count(socket, flags, owner, Count::Syn),
        Retransmit::Data => {
            let cause = cause(socket.any().read_bits(Field::CongestionState));
            if let Some(host) = HOST.get_ptr_mut(0) {
                // SAFETY: the record of this CPU.
                add_shared(unsafe { (*host).retransmit_causes.get_mut(cause as usize & 3) }, 1);
            }
            remote::count(socket, flags, owner, cause);
        }
        Retransmit::SynAck | Retransmit::Failed => {}
    }
    touch_of(socket);
    0
}

/// SYN-ACKs, of a listener's request or of a Fast Open child.
#[btf_tracepoint(function = "tcp_retransmit_synack")]
pub(crate) fn retransmit_synack(ctx: BtfTracePointContext) -> i32 {
    let socket = Typed(ctx.arg::<*const u8>(0));
    let request = Typed(ctx.arg::<*const u8>(1));
    count(socket, Retransmit::SynAck, 0);
    if socket.load::<u8>(Field::State) == TcpState::Listen as u8 {
        listener::synack_again(socket, request.any());
        remote::synack(socket, request);
    }
    touch_of(socket);
    0
}

#[inline(always)]
fn count(socket: Typed, kind: Retransmit, error: u32) {
    let Some(host) = HOST.get_ptr_mut(0) else { return };
    // SAFETY: the record of this CPU.
    let host = unsafe { &mut *host };
    add_shared(host.retransmits.get_mut(kind as usize), 1);
    if CONTROL.get(0).is_some_and(|control| control.wanted & Kind::Retransmit.bit() != 0) {
        tell(host, socket, kind, error);
    }
}

#[inline(always)]
fn tell(host: &mut HostCounters, socket: Typed, kind: Retransmit, error: u32) {
    let state: u8 = socket.load(Field::State);
    let (owner, flags) = table::recall(socket.identity());
    let fact = Fact {
        kind: Kind::Retransmit,
        // SAFETY: a helper without preconditions.
        now: unsafe { bpf_ktime_get_ns() },
        in_state: UNKNOWN,
        old: state,
        new: state,
        what: kind as u8,
        flags,
        owner,
        in_owner: false,
        detail: error,
    };
    emit::emit(&mut host.ring, socket, &fact);
}
