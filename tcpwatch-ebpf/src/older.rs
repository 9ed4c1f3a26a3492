//! Sockets older than the programs: each is counted exactly once, whoever meets it first.
//!
//! A walk meets them and so do their own events, at the same time and on several CPUs. Whoever enters a socket in
//! [`OLDER`] first counts it in the state it sees: the kernel's hash map lets one of them enter it, whether the table of
//! sockets has room or not. That is exact without any lock of the socket: between the walk's look at a state and its
//! entry no event can have changed the state unseen, as the event would have entered the socket itself. Sockets born
//! meanwhile are entered too, so that the walk leaves them alone.

use aya_ebpf::bindings::BPF_NOEXIST;

use crate::add::add_shared;
use crate::maps::{ADOPTED, HOST, OLDER};

/// `-EEXIST`.
const EXISTS: i32 = -17;

/// Enters a socket; true for whoever is the first to do so.
#[inline(never)]
pub(crate) fn enter(socket: u64) -> bool {
    let Some(older) = OLDER.get(0) else { return false };
    match older.insert(socket, 1, u64::from(BPF_NOEXIST)) {
        Ok(()) => true,
        Err(EXISTS) => false,
        Err(_) => {
            if let Some(host) = HOST.get_ptr_mut(0) {
                // SAFETY: the record of this CPU.
                add_shared(Some(unsafe { &mut (*host).unmet }), 1);
            }
            false
        }
    }
}

/// Counts a socket that was there before the programs, in the state it is first met in.
#[inline(always)]
pub(crate) fn adopt(row: u32, state: u64) {
    if let Some(states) = ADOPTED.get_ptr_mut(row) {
        // SAFETY: a whole record of the map.
        add_shared(unsafe { (*states).get_mut((state & 15) as usize) }, 1);
    }
}
