//! Where a socket is put that is born or met anew, and who makes room for it in a full table.
//!
//! So that nobody takes the whole table, each set is shared by those who have sockets in it: the owners, and of sockets
//! without a known owner the namespaces. Where there is no free way, who has most ways of the set gives one to a socket that is
//! born, if that are at least two more than the newcomer's own have. What gave its place is not found any more.

use core::ptr::read_volatile;

use tcpwatch_common::socket::{Meta, PIDS, Slot, SocketSet, WAYS, set_index};

use crate::maps::{SOCKETS, set_mask};
use crate::table::{find_or_free, place};
use crate::unlearn::unlearn;

/// In [`settle`]'s last argument, above the owner's process id: the socket may take the place of another.
pub(crate) const MAY_DISPLACE: u64 = 1 << 32;

/// Starts to remember `socket` with its [`Meta`]. 1 if there is a free place, or an earlier socket of this address in it; 0 if
/// there is none, or only that of another socket, which then has none.
///
/// A function that other programs could call, too: the verifier walks those once by themselves, and not again on each way
/// to a call. So it takes plain numbers only.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn settle(socket: u64, meta: u64, now: u64, owner: u64) -> u64 {
    let meta = Meta(meta);
    // Somebody else can be faster to claim a free way, so there is a second attempt.
    for _ in 0..2 {
        let (Some(place), _) = find_or_free(socket) else { break };
        if place.is_still_free() {
            place.claim(meta.row(), meta.state().into(), meta.flags(), now, owner as u32);
            return 1;
        }
    }
    if owner & MAY_DISPLACE != 0
        && let Some(set) = SOCKETS.get_ptr_mut(set_index(socket, set_mask()))
        && let Some(way) = crowded(set, group(owner & PIDS, meta.row().into()))
    {
        // An event of the other can be under way on another CPU and write here as well. Then the words are not of one socket, as
        // after any race for a place, and the newcomer is not found.
        place(set, way, socket).claim(meta.row(), meta.state().into(), meta.flags(), now, owner as u32);
    }
    0
}

/// A way of the group that has most of a set, if `own` has at least two less.
#[inline(always)]
fn crowded(set: *mut SocketSet, own: u64) -> Option<u64> {
    let (mut groups, mut sizes) = ([0; WAYS], [1; WAYS]);
    let mut mine = 0;
    for way in 0..WAYS {
        groups[way] = group_at(set, way);
        mine += same(groups[way], own);
        for other in 0..way {
            let is_same = same(groups[way], groups[other]);
            sizes[way] += is_same;
            sizes[other] += is_same;
        }
    }
    // The largest size, and below it the way.
    let mut most: u64 = 0;
    for way in 0..WAYS {
        let size = (sizes[way] << 3 | way as u64) * (1 ^ same(groups[way], own));
        let less = most.wrapping_sub(size);
        // 1 where this one is larger.
        most = most.wrapping_sub((unlearn(less) >> 63).wrapping_mul(less));
    }
    (unlearn(most) >> 3 >= mine + 2).then_some(most)
}

/// Whose socket is kept at a way.
#[inline(always)]
fn group_at(set: *mut SocketSet, way: usize) -> u64 {
    // SAFETY: inside the map value; another CPU may write it, so each word is read once and as a whole.
    let (meta, owner) = unsafe {
        let slot = (&raw const (*set).slots).cast::<Slot>().add(way);
        (Meta(read_volatile(&raw const (*slot).meta)), read_volatile(&raw const (*slot).owner))
    };
    let is_its = same(owner >> 32, meta.tag().into());
    group((owner & PIDS) * is_its, meta.row().into())
}

/// A number for the owner, or if there is none for the namespace's row.
#[inline(always)]
fn group(owner: u64, row: u64) -> u64 {
    (owner << 16) | (row * same(owner, 0))
}

/// 1 if both are the same, else 0, in a way that neither the compiler nor the verifier knows which: a branch for each two
/// ways of a set would be more than the verifier can walk.
#[inline(always)]
fn same(one: u64, other: u64) -> u64 {
    let difference = one ^ other;
    1 ^ unlearn(difference | difference.wrapping_neg()) >> 63
}
