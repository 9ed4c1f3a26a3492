//! Which row of counters a network namespace has.

use tcpwatch_common::cell;
use tcpwatch_common::offsets::Field;

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

/// The inode number of the socket's namespace, 0 on a kernel without namespaces.
#[inline(always)]
pub(crate) fn inode_of(socket: Typed) -> u32 {
    if has(Field::Net) { socket.follow(Field::Net).load(Field::NetInode) } else { 0 }
}
