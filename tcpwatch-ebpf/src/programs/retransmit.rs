//! Segments sent again.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use tcpwatch_common::event::{Kind, Listener, UNKNOWN};
use tcpwatch_common::host::{HostCounters, Retransmit};
use tcpwatch_common::offsets::Field;
use tcpwatch_common::state::TcpState;

use crate::emit::{self, Fact};
use crate::maps::{CONTROL, HOST, LISTENERS, retransmit_args};
use crate::namespace::inode_of;
use crate::programs::add_shared;
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
    0
}

/// SYN-ACKs, of a listener's request or of a Fast Open child.
#[btf_tracepoint(function = "tcp_retransmit_synack")]
pub(crate) fn retransmit_synack(ctx: BtfTracePointContext) -> i32 {
    let socket = Typed(ctx.arg::<*const u8>(0));
    count(socket, Retransmit::SynAck, 0);
    if socket.load::<u8>(Field::State) == TcpState::Listen as u8 {
        of_listener(socket);
    }
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

/// Counts for one listener. Rare: a listener is only entered when it first sends a SYN-ACK again.
#[inline(always)]
fn of_listener(socket: Typed) {
    let key = socket.identity();
    if let Some(listener) = LISTENERS.get_ptr_mut(key) {
        // SAFETY: a record of the map.
        return add_shared(Some(unsafe { &mut (*listener).synack_retransmits }), 1);
    }
    let mut listener = Listener { synack_retransmits: 1, ..Listener::default() };
    listener.netns = inode_of(socket);
    listener.local_port = socket.load(Field::LocalPort);
    let family: u16 = socket.load(Field::Family);
    listener.family = emit::local_address(&mut listener.local, socket, family);
    if LISTENERS.insert(key, listener, u64::from(BPF_NOEXIST)).is_err()
        && let Some(listener) = LISTENERS.get_ptr_mut(key)
    {
        // SAFETY: as above; another CPU entered it first.
        add_shared(Some(unsafe { &mut (*listener).synack_retransmits }), 1);
    }
}
