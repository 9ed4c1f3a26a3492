//! Which row of counters a network namespace has.

use aya_ebpf::bindings::BPF_NOEXIST;
use tcpwatch_common::cell;
use tcpwatch_common::event::Namespace;
use tcpwatch_common::offsets::Field;

use crate::maps::{FREE_ROWS, NAMESPACES};
use crate::read::{Typed, has};

/// The row of the namespace that `socket` lives in; [`cell::OVERFLOW_ROW`] if no row is left. `last` remembers the
/// answer for the next socket of the same namespace.
#[inline(always)]
pub(crate) fn row_of(socket: Typed, last: Option<&mut [u64; 2]>) -> u32 {
    if !has(Field::Net) {
        return cell::OVERFLOW_ROW;
    }
    let net = socket.follow(Field::Net);
    // The cookie is never used again, an inode number is. Kernels before 5.12 make it on demand only: there it
    // has another type, and the loader passes no offset for it.
    if !has(Field::NetCookie) {
        let inode: u32 = net.load(Field::NetInode);
        return row_for(inode.into(), inode);
    }
    let cookie: u64 = net.load(Field::NetCookie);
    let Some(last) = last else { return row_for(cookie, net.load(Field::NetInode)) };
    if last[0] != cookie {
        last[1] = row_for(cookie, net.load(Field::NetInode)).into();
        last[0] = cookie;
    }
    last[1] as u32 & 0xffff
}

/// The inode number of the socket's namespace, 0 on a kernel without namespaces.
#[inline(always)]
pub(crate) fn inode_of(socket: Typed) -> u32 {
    if has(Field::Net) { socket.follow(Field::Net).load(Field::NetInode) } else { 0 }
}

#[inline(always)]
fn row_for(key: u64, inode: u32) -> u32 {
    // SAFETY: entries are only removed by user space when the namespace is long gone.
    match unsafe { NAMESPACES.get(key) } {
        Some(namespace) => namespace.row,
        None => new_row(key, inode),
    }
}

/// Gives a namespace met for the first time a row.
#[inline(never)]
fn new_row(key: u64, inode: u32) -> u32 {
    let Ok(Some(row)) = FREE_ROWS.pop() else {
        aya_log_ebpf::warn!((), "no row left for network namespace {}", inode);
        return cell::OVERFLOW_ROW;
    };
    aya_log_ebpf::info!((), "network namespace {} gets row {}", inode, row);
    if NAMESPACES.insert(key, Namespace { row, inode }, u64::from(BPF_NOEXIST)).is_ok() {
        return row;
    }
    // Another CPU was faster (or the map is full): the row goes back, its entry counts.
    let _ = FREE_ROWS.push(row, 0);
    // SAFETY: as above.
    unsafe { NAMESPACES.get(key) }.map_or(cell::OVERFLOW_ROW, |namespace| namespace.row)
}
