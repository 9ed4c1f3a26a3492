//! Who a socket is counted for: its process, or the cgroup that it was made in.
//!
//! A connection that is not accepted yet has its listener's cgroup, and one that its process has closed still has its own.

use tcpwatch_common::offsets::Field;
use tcpwatch_common::survey::Key;

use crate::branchless::{is_zero, not};
use crate::read::Any;
use crate::unlearn::unlearn;

/// The part of a key that says whose it is.
#[inline(always)]
pub(super) fn of(pid: u64, socket: Any) -> u64 {
    let id = unlearn(if unlearn(pid) == 0 { cgroup(socket) } else { 0 });
    ((pid | id) << 32) | (not(is_zero(id)) * Key::BY_CGROUP)
}

/// The id of its cgroup of version 2, below 2^32; 0 if that is not known.
#[inline(always)]
fn cgroup(socket: Any) -> u64 {
    let word = socket.read::<u64>(Field::Cgroup).unwrap_or(0);
    // Until Linux 5.15 the word may be something else, which these bits tell.
    if word & 3 != 0 {
        return 0;
    }
    let node = Any(word as *const u8).read::<u64>(Field::CgroupNode).unwrap_or(0);
    let id = Any(node as *const u8).read::<u64>(Field::CgroupId).unwrap_or(0);
    // Ids begin anew, with other upper halves, after two billion cgroups: such a one is not known.
    if id >> 32 == 0 { id } else { 0 }
}
