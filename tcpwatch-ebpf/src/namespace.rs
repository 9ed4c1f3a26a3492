//! Which row of counters a network namespace has.

use aya_ebpf::bindings::BPF_NOEXIST;
use tcpwatch_common::cell;
use tcpwatch_common::event::Namespace;
use tcpwatch_common::offsets::Field;

use crate::maps::{FREE_ROWS, NAMESPACES};
use crate::read::{Typed, has};

/// The row of the namespace that `socket` lives in; [`cell::OVERFLOW_ROW`] if no row is left.
#[inline(always)]
pub(crate) fn row_of(socket: Typed) -> u32 {
    if !has(Field::Net) {
        return cell::OVERFLOW_ROW;
    }
    let net = socket.follow(Field::Net);
    let inode: u32 = net.load(Field::NetInode);
    // The cookie is never used again, an inode number is. Kernels before 5.12 make it on demand only: there it
    // has another type, and the loader passes no offset for it.
    let key = if has(Field::NetCookie) { net.load::<u64>(Field::NetCookie) } else { u64::from(inode) };
    row_for(key, inode)
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
    let Ok(Some(row)) = FREE_ROWS.pop() else { return cell::OVERFLOW_ROW };
    if NAMESPACES.insert(key, Namespace { row, inode }, u64::from(BPF_NOEXIST)).is_ok() {
        return row;
    }
    // Another CPU was faster (or the map is full): the row goes back, its entry counts.
    let _ = FREE_ROWS.push(row, 0);
    // SAFETY: as above.
    unsafe { NAMESPACES.get(key) }.map_or(cell::OVERFLOW_ROW, |namespace| namespace.row)
}
