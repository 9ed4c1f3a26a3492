//! The program: from chain to chain of a table, and from socket to socket. It is attached to nothing: user space runs it.

use core::ffi::c_void;
use core::ptr::read_volatile;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::bpf_loop;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use tcpwatch_common::offsets::Field;
use tcpwatch_common::sweep::{HEADS, Work, task};

use crate::maps::{WORK, listen_stride};
use crate::read::{copy, has, link, offset, read};
use crate::socket::{self, Next};

/// Chains and sockets that one run looks at. Meeting a socket takes ten times as long as passing it.
const STEPS: u32 = 1 << 14;
const STEPS_TO_MEET: u32 = 1 << 12;

/// How often one run reads a chain again.
const STRAYED: u32 = 64;

/// `LISTENING_NULLS_BASE`: by this the marks at the end of chains of listeners differ from those of connections.
const LISTENERS_BASE: u64 = 1 << 29;

/// No link of any chain, and no chain's end either.
const ASTRAY: u64 = u64::MAX;

/// Walks a table. The arguments are the first chain, the one to end before, what to do, the number of the pass, and where
/// the tables are.
#[raw_tracepoint]
pub(crate) fn sweep(ctx: RawTracePointContext) -> i32 {
    // SAFETY: user space passes so many arguments, and the kernel checks the length.
    let (chain, end, what, pass, hash) = unsafe {
        let args = ctx.as_ptr().cast::<u64>();
        (*args as u32, *args.add(1) as u32, *args.add(2), *args.add(3) as u32, *args.add(4))
    };
    let Some(work) = WORK.get_ptr_mut(0) else { return 1 };
    // SAFETY: one run at a time uses the record.
    let work = unsafe { &mut *work };
    work.task = what;
    work.pass = pass;
    find_table(work, hash);
    work.first = chain;
    work.strayed = 0;
    work.again = 0;
    work.passed = 0;
    work.met = 0;
    work.net = 0;
    work.end = if work.table == 0 { 0 } else { end.min(work.mask.wrapping_add(1)) };
    // As if the chain before had just ended.
    work.chain = chain.wrapping_sub(1);
    work.link = end_of(work);
    let steps = if what & task::MEET != 0 { STEPS_TO_MEET } else { STEPS };
    // SAFETY: the function is one that the helper calls, and it takes no context.
    unsafe {
        bpf_loop(steps, step as *mut c_void, core::ptr::null_mut(), 0);
    }
    0
}

#[inline(always)]
fn find_table(work: &mut Work, hash: u64) {
    if work.task & task::LISTENERS == 0 {
        work.table = read(hash, Field::Table);
        work.mask = read(hash, Field::TableMask);
        (work.base, work.stride, work.head) = (0, 8, 0);
    } else {
        work.table = if has(Field::ListenTable) { read(hash, Field::ListenTable) } else { 0 };
        work.mask = read(hash, Field::ListenMask);
        (work.base, work.stride, work.head) =
            (LISTENERS_BASE, listen_stride().into(), offset(Field::ListenHead) as u64);
    }
}

/// What the last link of the present chain is: a number instead of an address, made odd.
#[inline(always)]
fn end_of(work: &Work) -> u64 {
    u64::from(work.chain).wrapping_add(work.base) << 1 | 1
}

/// One chain or one socket further; 1 where the run ends.
extern "C" fn step(_: u32, _: *mut c_void) -> u64 {
    let Some(work) = WORK.get_ptr_mut(0) else { return 1 };
    // SAFETY: one run at a time uses the record.
    let work = unsafe { &mut *work };
    if work.link & 1 != 0 && !begin(work) {
        return 1;
    }
    if work.link & 1 != 0 {
        return 0;
    }
    let address = work.link.wrapping_sub(link());
    match socket::pass(work, address) {
        Next::Follow => {}
        Next::Again => work.link = ASTRAY,
    }
    0
}

/// Begins the next chain, or the same again if it has led into another; false where the run ends.
#[inline(always)]
fn begin(work: &mut Work) -> bool {
    let is_again = work.link != end_of(work);
    if is_again {
        work.strayed += 1;
    } else {
        work.chain = work.chain.wrapping_add(1);
        work.again = 0;
    }
    let chain = work.chain;
    if chain >= work.end || work.strayed > STRAYED {
        return false;
    }
    if work.base != 0 {
        let place = u64::from(chain).wrapping_mul(work.stride).wrapping_add(work.head);
        copy((&raw mut work.link).cast(), 8, work.table.wrapping_add(place));
        return true;
    }
    let place = chain as usize & (HEADS - 1);
    // A table fills whole pages, so nothing behind its last one is read, even if it has fewer chains.
    if place == 0 || chain == work.first || is_again {
        let first = u64::from(chain) - place as u64;
        copy(work.heads.as_mut_ptr().cast(), HEADS * 8, work.table.wrapping_add(first * 8));
    }
    skip_empty(work, place);
    true
}

/// Goes on to the first of the chains at hand that is not empty, or to the last of them.
#[inline(always)]
fn skip_empty(work: &mut Work, first: usize) {
    let mut chain = work.chain;
    let mut link = 0;
    for more in 0..HEADS {
        // SAFETY: the index is masked.
        link = unsafe { read_volatile(work.heads.as_ptr().add((first + more) & (HEADS - 1))) };
        let is_last = first + more >= HEADS - 1 || chain.wrapping_add(1) >= work.end;
        if is_last || link != u64::from(chain) << 1 | 1 {
            break;
        }
        chain = chain.wrapping_add(1);
    }
    work.chain = chain;
    work.link = link;
}
