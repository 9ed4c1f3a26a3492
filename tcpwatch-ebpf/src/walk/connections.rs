//! The program that walks a stretch of the table. It is attached to nothing: user space runs it.

use core::ffi::c_void;
use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_loop};
use aya_ebpf::macros::{map, raw_tracepoint};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::RawTracePointContext;
use tcpwatch_common::offsets::Field;
use tcpwatch_common::state::TcpState;
use tcpwatch_common::walk::{HEADS, Part, ROWS, Short};

use crate::read::{Object, copy, has, link, read};

const TIME_WAIT: u8 = TcpState::TimeWait as u8;
const CLOSE: u8 = TcpState::Close as u8;
const SYN_SENT: u8 = TcpState::SynSent as u8;
const CLOSE_WAIT: u8 = TcpState::CloseWait as u8;
const LAST_ACK: u8 = TcpState::LastAck as u8;
const CLOSING: u8 = TcpState::Closing as u8;
const NEW_SYN_RECV: u8 = TcpState::NewSynRecv as u8;
const AF_INET6: u16 = 10;

/// `BPF_F_MMAPABLE`
const MAPPED: u32 = 1 << 10;

/// Chains and sockets that one run looks at: as long as it takes, nothing else runs on this CPU but interrupts.
const STEPS: u32 = 1 << 14;

/// How often one run reads a chain again.
const STRAYED: u32 = 64;

/// How often a chain is read again that changes all the time.
const AGAIN: u32 = 4;

/// No link of any chain, and no chain's end either.
const ASTRAY: u64 = u64::MAX;

/// One for each thread of user space, which gives the number of them.
#[map]
static PARTS: Array<Part> = Array::with_max_entries(1, MAPPED);

/// Walks the caller's network namespace. The arguments are the number of a part, the first chain, the one to end before,
/// and how many sockets of the first chain to pass over.
#[raw_tracepoint]
pub(crate) fn connections(ctx: RawTracePointContext) -> i32 {
    // SAFETY: user space passes so many arguments, and the kernel checks the length.
    let (mut number, chain, end, skip) = unsafe {
        let args = ctx.as_ptr().cast::<u64>();
        (*args as u32, *args.add(1) as u32, *args.add(2) as u32, *args.add(3) as u32)
    };
    let Some(part) = PARTS.get_ptr_mut(number) else { return 1 };
    // SAFETY: a record that is this run's alone.
    let part = unsafe { &mut *part };
    // SAFETY: a helper without preconditions.
    let task = unsafe { bpf_get_current_task() };
    part.net = read(read(task, Field::TaskNamespaces), Field::NamespacesNet);
    let hash = read(part.net, Field::NetHash);
    part.table = read(hash, Field::Table);
    part.mask = read(hash, Field::TableMask);
    part.rows = 0;
    part.begun = 0;
    part.strayed = 0;
    part.first = chain;
    part.skip = skip;
    part.end = if part.table == 0 { 0 } else { end.min(part.mask.wrapping_add(1)) };
    // As if the chain before had just ended.
    part.chain = chain.wrapping_sub(1);
    part.link = end_of(part.chain);
    // SAFETY: the function is one that the helper calls, and the word outlives the call.
    unsafe {
        bpf_loop(STEPS, step as *mut c_void, (&raw mut number).cast(), 0);
    }
    let skipped = skipped(part);
    part.skip = 0;
    if part.chain < part.end {
        if part.begun == 0 && part.rows > 0 {
            // All of it is one chain, which is longer than there is room for.
            part.skip = skipped.wrapping_add(part.rows);
        } else {
            part.rows = part.begun;
        }
    }
    0
}

/// Sockets of the current chain that runs before have told of.
#[inline(always)]
fn skipped(part: &Part) -> u32 {
    if part.chain == part.first { part.skip } else { 0 }
}

/// What the last link of a chain is: a number instead of an address, made odd.
#[inline(always)]
fn end_of(chain: u32) -> u64 {
    u64::from(chain) << 1 | 1
}

/// One chain or one socket further; 1 where the run ends.
extern "C" fn step(_: u32, number: *mut u32) -> u64 {
    // SAFETY: the word that the program passes.
    let Some(part) = PARTS.get_ptr_mut(unsafe { *number }) else { return 1 };
    // SAFETY: a record that is this run's alone.
    let part = unsafe { &mut *part };
    if part.link & 1 != 0 && !begin(part) {
        return 1;
    }
    if part.link & 1 != 0 {
        return 0;
    }
    u64::from(!socket(part, part.link.wrapping_sub(link())))
}

/// Begins the next chain, or the same again if it has led into another; false where the run ends.
#[inline(always)]
fn begin(part: &mut Part) -> bool {
    let is_astray = part.link != end_of(part.chain);
    let is_again = is_astray || is_changed(part);
    if is_again {
        part.rows = part.begun;
        part.strayed += 1;
    } else {
        part.chain = part.chain.wrapping_add(1);
        part.begun = part.rows;
        part.again = 0;
    }
    part.left = skipped(part);
    let chain = part.chain;
    if chain >= part.end || part.strayed > STRAYED {
        return false;
    }
    let place = chain as usize & (HEADS - 1);
    if place == 0 || chain == part.first || is_again {
        // A table fills whole pages, so nothing behind its last one is read, even if it has fewer chains.
        let first = u64::from(chain) - place as u64;
        copy(part.heads.as_mut_ptr().cast(), HEADS * 8, part.table.wrapping_add(first * 8));
    }
    // SAFETY: the index is masked.
    part.link = unsafe { read_volatile(part.heads.as_ptr().add(place)) };
    true
}

/// Whether sockets of the chain may have been told twice: one that was taken out and put in again, as another, stands at
/// its head, and leads to those that were met before it.
#[inline(always)]
fn is_changed(part: &mut Part) -> bool {
    if part.rows.wrapping_sub(part.begun) < 2 || part.again >= AGAIN {
        return false;
    }
    let mut head = 0_u64;
    copy((&raw mut head).cast(), 8, part.table.wrapping_add(u64::from(part.chain) * 8));
    // SAFETY: the index is masked.
    let before = unsafe { read_volatile(part.heads.as_ptr().add(part.chain as usize & (HEADS - 1))) };
    part.again += u32::from(head != before);
    head != before
}

/// Tells of one socket, and finds the next; false if there is no room.
#[inline(always)]
fn socket(part: &mut Part, address: u64) -> bool {
    let socket = Object::socket(address);
    let hash: u32 = socket.load(Field::Hash);
    if hash & part.mask != part.chain {
        part.link = ASTRAY;
        return true;
    }
    number(&mut part.link, socket, Field::Link);
    number(&mut part.scratch, socket, Field::Net);
    let state: u8 = socket.load(Field::State);
    if part.scratch != part.net {
        return true;
    }
    if state == CLOSE {
        // It has just been taken out, and what took its place may be further ahead.
        if part.again < AGAIN {
            part.again += 1;
            part.link = ASTRAY;
        }
        return true;
    }
    if part.left > 0 {
        part.left -= 1;
        return true;
    }
    let row = part.rows as usize;
    if row >= ROWS {
        return false;
    }
    part.rows = row as u32 + 1;
    // SAFETY: inside, as has just been checked.
    let told = unsafe { &mut *part.told.as_mut_ptr().add(row & (ROWS - 1)) };
    told.state = state;
    told.chain = part.chain as u8;
    (told.unread, told.unsent, told.is_whole) = (0, 0, 0);
    addresses(told, socket, address);
    if state == TIME_WAIT {
        if has(Field::TimeWaitSubstate) {
            told.state = Object::timewait(address).load(Field::TimeWaitSubstate);
        }
    } else if state != NEW_SYN_RECV {
        told.is_whole = 1;
        if state != SYN_SENT {
            amounts(told, socket);
        }
    }
    if socket.load::<u32>(Field::Hash) != hash {
        // It has become another meanwhile, and what was told is of both.
        part.link = ASTRAY;
    }
    true
}

/// Loads a pointer as a plain number: the verifier lets nothing be done with a pointer but to follow it.
#[inline(always)]
fn number(into: &mut u64, socket: Object, field: Field) {
    // SAFETY: a plain reference.
    unsafe { write_volatile(into, socket.load(field)) }
}

#[expect(
    clippy::cast_ptr_alignment,
    reason = "the record begins with the addresses, so they are aligned as it is"
)]
#[inline(always)]
fn addresses(told: &mut Short, socket: Object, address: u64) {
    if socket.load::<u16>(Field::Family) == AF_INET6 {
        told.family = 6;
        told.local = read(address, Field::LocalV6);
        told.remote = read(address, Field::RemoteV6);
    } else {
        told.family = 4;
        let (local, remote): (u32, u32) = (socket.load(Field::LocalV4), socket.load(Field::RemoteV4));
        // SAFETY: sixteen bytes each, which are aligned: the record begins with them.
        unsafe {
            *told.local.as_mut_ptr().cast::<[u64; 2]>() = [local.into(), 0];
            *told.remote.as_mut_ptr().cast::<[u64; 2]>() = [remote.into(), 0];
        }
    }
    told.local_port = socket.load(Field::LocalPort);
    told.remote_port = u16::from_be(socket.load(Field::RemotePort));
}

/// Bytes that wait on either side.
#[inline(always)]
fn amounts(told: &mut Short, socket: Object) {
    if has(Field::ReceiveNext) && has(Field::CopiedSequence) {
        let (next, copied): (u32, u32) =
            (socket.load(Field::ReceiveNext), socket.load(Field::CopiedSequence));
        // A FIN that was received takes a number too.
        let fin = u32::from(told.state == CLOSE_WAIT || told.state == LAST_ACK || told.state == CLOSING);
        told.unread = bounded(next.wrapping_sub(copied).wrapping_sub(fin));
    }
    if has(Field::WriteSequence) && has(Field::SendUnacknowledged) {
        let written: u32 = socket.load(Field::WriteSequence);
        told.unsent = bounded(written.wrapping_sub(socket.load(Field::SendUnacknowledged)));
    }
}

/// A difference of sequence numbers; one that is negative because they were not read together is none.
#[inline(always)]
fn bounded(difference: u32) -> u32 {
    if difference >> 31 == 0 { difference } else { 0 }
}
