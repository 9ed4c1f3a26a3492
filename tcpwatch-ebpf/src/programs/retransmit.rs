//! Segments sent again.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use tcpwatch_common::event::Kind;
use tcpwatch_common::host::Retransmit;
use tcpwatch_common::offsets::Field;
use tcpwatch_common::remote::{Count, cause};
use tcpwatch_common::state::TcpState;

use crate::maps::retransmit_args;
use crate::namespace::touch_of;
use crate::programs::record::{Record, counter};
use crate::programs::told::{remembered, tell};
use crate::programs::{listener, remote};
use crate::read::Typed;
use crate::unlearn::unlearn;

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
    let kind = unlearn(kind as u64) as usize & 3;
    let Some(record) = Record::of_others() else { return 0 };
    record.add(counter!(record, retransmits), kind, 1);
    let known = remembered(socket);
    if error == 0 {
        let mut what = Count::Syn as usize;
        if kind == Retransmit::Data as usize {
            what = cause(socket.any().read_bits(Field::CongestionState)) as usize;
            record.add(counter!(record, retransmit_causes), what & 3, 1);
        }
        remote::count_as(socket, known.flags, known.owner, unlearn(what as u64) as usize);
    }
    touch_of(socket);
    tell(record.host, socket, Kind::Retransmit, kind as u8, error, known);
    0
}

/// SYN-ACKs, of a listener's request or of a Fast Open child.
#[btf_tracepoint(function = "tcp_retransmit_synack")]
pub(crate) fn retransmit_synack(ctx: BtfTracePointContext) -> i32 {
    let socket = Typed(ctx.arg::<*const u8>(0));
    let request = Typed(ctx.arg::<*const u8>(1));
    let Some(record) = Record::of_others() else { return 0 };
    record.add(counter!(record, retransmits), Retransmit::SynAck as usize, 1);
    tell(record.host, socket, Kind::Retransmit, Retransmit::SynAck as u8, 0, remembered(socket));
    if socket.load::<u8>(Field::State) == TcpState::Listen as u8 {
        listener::synack_again(socket, request.any());
        remote::synack(socket, request);
    }
    touch_of(socket);
    0
}
