//! Listening sockets: remembered from `listen()` on, and read when user space asks.
//!
//! Their queues change with every connection, and no event tells of that; so user space runs [`poll`] for each at
//! its own tick. Nothing is attached for it.

use core::mem::MaybeUninit;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use tcpwatch_common::listener::{GONE, Listener, POLLED, V6_ONLY};
use tcpwatch_common::offsets::Field;
use tcpwatch_common::state::TcpState;

use crate::add::add_shared_to;
use crate::emit;
use crate::maps::{ANSWERS, HOST, LISTENER_SHARES, LISTENERS, listeners_each, origin};
use crate::namespace::inode_of;
use crate::programs::add_shared;
use crate::read::{Any, Typed};
use crate::table::{self, launder};
use crate::zero::zeroed;

const LISTEN: u8 = TcpState::Listen as u8;

/// `-EEXIST`.
const EXISTS: i32 = -17;

/// Remembers a socket that has just begun to listen. What is there for its address is of an earlier socket, whose close
/// was not seen: it is replaced.
///
/// Somebody who opens and closes listeners faster than user space looks could keep the map full, so that others find no
/// room: between two ticks a user of a namespace gets no more than its part.
#[inline(always)]
pub(crate) fn opened(socket: Typed, pid: u32) {
    let user =
        u64::from(inode_of(socket)) << 32 | u64::from(socket.any().read::<u32>(Field::Uid).unwrap_or(0));
    match LISTENER_SHARES.get_ptr_mut(user) {
        // SAFETY: a counter of the map.
        Some(count) => unsafe {
            if *count >= listeners_each() {
                let _ = LISTENERS.remove(socket.identity());
                return untracked();
            }
            add_shared(Some(&mut *count), 1);
        },
        None => {
            let _ = LISTENER_SHARES.insert(user, 1, 0);
        }
    }
    met(socket, pid, 0);
}

/// Remembers a listener that is met later than at its `listen()`, so that its owner is not known, if it is not known yet.
#[inline(always)]
pub(crate) fn found(socket: Typed) {
    met(socket, 0, u64::from(BPF_NOEXIST));
}

#[inline(never)]
fn met(socket: Typed, pid: u32, flags: u64) {
    let mut listener = MaybeUninit::<Listener>::uninit();
    // SAFETY: plain integers.
    let listener = unsafe { zeroed(&mut listener) };
    listener.address = socket.0 as u64;
    listener.pid = pid;
    listener.netns = inode_of(socket);
    listener.local_port = socket.load(Field::LocalPort);
    let family: u16 = socket.load(Field::Family);
    listener.family = emit::local_address(&mut listener.local, socket, family);
    match LISTENERS.insert(socket.identity(), &*listener, flags) {
        Ok(()) | Err(EXISTS) => {}
        Err(_) => untracked(),
    }
}

#[inline(always)]
fn untracked() {
    if let Some(host) = HOST.get_ptr_mut(0) {
        // SAFETY: the record of this CPU.
        unsafe { add_shared_to(&raw mut (*host).listeners_untracked, 1) };
    }
}

/// Counts a SYN-ACK sent again for `request`.
#[inline(always)]
pub(super) fn synack_again(socket: Typed, request: Any) {
    let key = socket.identity();
    if LISTENERS.get_ptr_mut(key).is_none() {
        found(socket);
    }
    let Some(listener) = LISTENERS.get_ptr_mut(key) else { return };
    // SAFETY: a record of the map.
    unsafe {
        add_shared(Some(&mut (*listener).synack_retransmits), 1);
        if request.read_bits(Field::RequestAcked).unwrap_or(0) & 1 != 0 {
            add_shared(Some(&mut (*listener).stuck), 1);
        }
    }
}

/// Reads the queues of the listener whose key is the first argument; for 0, what is in [`ANSWERS`].
#[raw_tracepoint]
pub(crate) fn poll(ctx: RawTracePointContext) -> i32 {
    // SAFETY: user space passes one argument, and the kernel checks the length.
    let key = unsafe { *ctx.as_ptr().cast::<u64>() };
    if key == 0 {
        if let Some(answers) = ANSWERS.get_ptr_mut(0) {
            // SAFETY: words of the map that user space reads next; and a helper without preconditions.
            unsafe {
                (*answers)[0] = bpf_jiffies64();
                launder(origin(), &mut (*answers)[1]);
            }
        }
        return 0;
    }
    let Some(listener) = LISTENERS.get_ptr_mut(key) else { return 0 };
    // SAFETY: a record of the map.
    let listener = unsafe { &mut *listener };
    let socket = Any(listener.address as *const u8);
    // At `listen()` a socket that was not bound has no port yet.
    let port: u16 = socket.read(Field::LocalPort).unwrap_or(0);
    let is_other = listener.flags & POLLED != 0 && port != listener.local_port;
    // User space puts back listeners that it had taken out, and nobody told of their end meanwhile: by then the memory
    // may be another socket's, or anything else.
    if socket.read::<u8>(Field::State) != Some(LISTEN)
        || socket.read::<u16>(Field::Family).map(emit::family) != Some(listener.family)
        || is_other
    {
        listener.flags |= GONE;
        return 0;
    }
    listener.local_port = port;
    listener.uid = socket.read(Field::Uid).unwrap_or(u32::MAX);
    listener.accept_queue = socket.read(Field::AcceptQueue).unwrap_or(0);
    listener.accept_limit = socket.read(Field::AcceptLimit).unwrap_or(0);
    listener.syn_queue = socket.read(Field::SynQueue).unwrap_or(u32::MAX);
    listener.young = socket.read(Field::Young).unwrap_or(u32::MAX);
    listener.drops = socket.read(Field::Drops).unwrap_or(0);
    let v6_only = socket.read_bits(Field::V6Only).unwrap_or(0) & 1 != 0;
    let (owner, _) = table::recall(key);
    if owner != 0 {
        listener.pid = owner;
    }
    listener.flags = POLLED | if v6_only { V6_ONLY } else { 0 };
    0
}
