//! Sockets that the kernel makes for itself (NFS, Ceph, …). Whoever runs when one connects has nothing to do with it:
//! usually a worker of the kernel's.
//!
//! The kernel marks them (`sk_kern_sock`), and also the subflows of MPTCP, which a process has. A plain connection to a
//! listener of MPTCP inherits the mark from it; Linux takes it away at `accept()`, or not at all.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_probe_read_kernel};
use tcpwatch_common::offsets::Field;
use tcpwatch_common::socket::KERNEL_PID;
use tcpwatch_common::state::TcpState;

use crate::maps::offset;
use crate::read::{Typed, has};

/// `PF_KTHREAD`, the same on every kernel.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// Whether the kernel has marked the socket as its own, which it may not be.
#[inline(always)]
pub(super) fn is_marked(socket: Typed) -> bool {
    mark(socket) != 0
}

/// The same as a number, 0 or 1.
#[inline(always)]
pub(super) fn mark(socket: Typed) -> u8 {
    if has(Field::MadeByKernel) { socket.bits(Field::MadeByKernel) & 1 } else { 0 }
}

/// The owner of a socket that connects or begins to listen: whoever calls, or the kernel itself; 0 if it is not known.
/// Computed instead of decided, as the verifier walks each way that a branch opens.
#[inline(always)]
pub(super) fn caller(socket: Typed, tcp: Option<Typed>) -> u32 {
    let caller = (bpf_get_current_pid_tgid() >> 32) as u32;
    let marked = u32::from(mark(socket));
    // Where it cannot be told, it is nobody's.
    let subflow = tcp.map_or(1, subflow);
    // The first subflow is connected by the process, others by a worker of the kernel's.
    let process = caller * (1 - is_worker());
    (1 - marked) * caller + marked * (subflow * process + (1 - subflow) * KERNEL_PID)
}

/// [`KERNEL_PID`] if the socket is the kernel's own for sure, whoever made it and when; else 0. Unlike a subflow of MPTCP
/// and what was made for its listener, most such sockets do not keep their namespace alive; and of listeners only subflows
/// are another's. Without branches, as the verifier walks it in several programs.
#[inline(always)]
pub(super) fn owner(tcp: Typed, state: u8) -> u32 {
    if !has(Field::HoldsNet) {
        return 0;
    }
    let lets_go = !tcp.bits(Field::HoldsNet) | u8::from(state == TcpState::Listen as u8);
    u32::from(mark(tcp) & lets_go) * (1 - subflow(tcp)) * KERNEL_PID
}

/// 1 for a subflow of MPTCP, else 0.
#[inline(always)]
fn subflow(tcp: Typed) -> u32 {
    if has(Field::IsMptcp) { u32::from(tcp.load::<u8>(Field::IsMptcp) & 1) } else { 0 }
}

/// 1 if a thread of the kernel runs, or if this kernel does not tell that; else 0.
#[inline(always)]
fn is_worker() -> u32 {
    if !has(Field::TaskFlags) {
        return 1;
    }
    let mut flags = 0_u32;
    // SAFETY: a word on our stack, and the task that runs, which is there. The result needs no look.
    unsafe {
        let place = (bpf_get_current_task() as *const u8).wrapping_add(offset(Field::TaskFlags) as usize);
        bpf_probe_read_kernel((&raw mut flags).cast(), size_of::<u32>() as u32, place.cast());
    }
    (flags & KERNEL_THREAD) / KERNEL_THREAD
}
