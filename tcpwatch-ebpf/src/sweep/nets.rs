//! All network namespaces of the host, from the kernel's own list: also those that nobody can enter.

use core::ffi::c_void;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_loop};
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use tcpwatch_common::offsets::Field;
use tcpwatch_common::sweep::Net;

use crate::maps::{FOUND, SEARCH};
use crate::read::{has, offset, read};

/// More than any host has; the array is smaller.
const MOST: u32 = 1 << 17;

/// Inode numbers of namespaces begin here: the initial ones have fixed numbers just below those given out later.
const FIRST_INODE: u32 = 0xEFFF_FF00;

/// Walks the list. The argument is how many there is room for.
#[raw_tracepoint]
pub(crate) fn nets(ctx: RawTracePointContext) -> i32 {
    let Some(search) = SEARCH.get_ptr_mut(0) else { return 1 };
    // SAFETY: one run at a time uses the record.
    let search = unsafe { &mut *search };
    // SAFETY: user space passes one argument, and the kernel checks the length.
    search.room = unsafe { *ctx.as_ptr().cast::<u64>() as u32 };
    // SAFETY: a helper without preconditions.
    let task = unsafe { bpf_get_current_task() };
    search.first = read(read(task, Field::TaskNamespaces), Field::NamespacesNet);
    search.net = search.first;
    search.found = 0;
    search.is_whole = 0;
    if search.first != 0 {
        // SAFETY: the function is one that the helper calls, and it takes no context.
        unsafe {
            bpf_loop(MOST, step as *mut c_void, core::ptr::null_mut(), 0);
        }
    }
    0
}

/// Notes one namespace and goes on to the next; 1 at the end.
extern "C" fn step(_: u32, _: *mut c_void) -> u64 {
    let Some(search) = SEARCH.get_ptr_mut(0) else { return 1 };
    // SAFETY: one run at a time uses the record.
    let search = unsafe { &mut *search };
    let net = search.net;
    let inode: u32 = read(net, Field::NetInode);
    let hash: u64 = read(net, Field::NetHash);
    let cookie: u64 = if has(Field::NetCookie) { read(net, Field::NetCookie) } else { inode.into() };
    // The list's head is in it too, and no namespace: what is beside it looks like none.
    if inode >= FIRST_INODE && hash >> 63 != 0 && cookie != 0 {
        if search.found >= search.room {
            return 1;
        }
        let Some(found) = FOUND.get_ptr_mut(search.found) else { return 1 };
        let time_wait_refs = if has(Field::TimeWaitRefs) { read(net, Field::TimeWaitRefs) } else { 0 };
        // SAFETY: a record of the map.
        unsafe { *found = Net { key: cookie, hash, inode, time_wait_refs } };
        search.found += 1;
    }
    let next: u64 = read(net, Field::NetList);
    if next == 0 {
        return 1;
    }
    search.net = next.wrapping_sub(offset(Field::NetList) as u64);
    if search.net == search.first {
        search.is_whole = 1;
        return 1;
    }
    0
}
