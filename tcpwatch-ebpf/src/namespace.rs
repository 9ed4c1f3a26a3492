//! Which row of counters a network namespace has.

use core::ptr::{read_volatile, write_volatile};

use tcpwatch_common::cell;
use tcpwatch_common::host::Underway;
use tcpwatch_common::offsets::Field;

use crate::maps::{ACTIVE, NAMESPACES};
use crate::read::{Typed, has};
use crate::rows::row_for;

/// The row of the namespace that `socket` lives in; [`cell::OVERFLOW_ROW`] if no row is left.
#[inline(always)]
pub(crate) fn row_of(socket: Typed) -> u32 {
    if !has(Field::Net) {
        return cell::OVERFLOW_ROW;
    }
    let net = socket.follow(Field::Net);
    row_for(key_of(net), net.load(Field::NetInode))
}

/// The row of the namespace that `socket` lives in, if that has one; `underway` remembers it for the next socket of the
/// same namespace.
#[inline(always)]
pub(crate) fn known_row(socket: Typed, underway: *mut Underway) -> Option<u32> {
    if !has(Field::Net) {
        return None;
    }
    let key = key_of(socket.follow(Field::Net));
    // SAFETY: a whole record of the map, of which nobody else uses this part meanwhile.
    let last = unsafe { &raw mut (*underway).last_namespace }.cast::<u64>();
    // SAFETY: as above.
    unsafe {
        // The cookie is never used again, an inode number is.
        if has(Field::NetCookie) && *last == key {
            return Some(*last.add(1) as u32 & 0xffff);
        }
        // SAFETY: entries are only removed by user space when the namespace is long gone.
        let row = NAMESPACES.get(key)?.row;
        *last.add(1) = row.into();
        *last = key;
        Some(row)
    }
}

/// What tells the namespace from others. Kernels before 5.12 make the cookie on demand only: there it has another type,
/// and the loader passes no offset for it.
#[inline(always)]
fn key_of(net: Typed) -> u64 {
    if has(Field::NetCookie) {
        net.load::<u64>(Field::NetCookie)
    } else {
        net.load::<u32>(Field::NetInode).into()
    }
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
    touch(row_of(socket));
}

/// The inode number of the socket's namespace, 0 on a kernel without namespaces.
#[inline(always)]
pub(crate) fn inode_of(socket: Typed) -> u32 {
    if has(Field::Net) { socket.follow(Field::Net).load(Field::NetInode) } else { 0 }
}
