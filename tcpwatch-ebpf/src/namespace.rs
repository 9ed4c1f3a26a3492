//! Which row of counters a network namespace has.

use core::ptr::{read_volatile, write_volatile};

use tcpwatch_common::cell;
use tcpwatch_common::offsets::Field;

use crate::maps::ACTIVE;
use crate::read::{Typed, has};
use crate::rows::row_for;

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

/// Notes that something happened in the namespace of a row. Whatever it was must be counted before.
#[inline(always)]
pub(crate) fn touch(row: u32) {
    if let Some(active) = ACTIVE.get_ptr_mut(row) {
        // SAFETY: a word of the map. It is mostly set already, and to look leaves the cache line to all CPUs.
        unsafe {
            if read_volatile(active) == 0 {
                write_volatile(active, 1);
            }
        }
    }
}

/// The same for the namespace that `socket` lives in.
#[inline(never)]
pub(crate) fn touch_of(socket: Typed) {
    touch(row_of(socket, None));
}

/// The inode number of the socket's namespace, 0 on a kernel without namespaces.
#[inline(always)]
pub(crate) fn inode_of(socket: Typed) -> u32 {
    if has(Field::Net) { socket.follow(Field::Net).load(Field::NetInode) } else { 0 }
}
