//! What goes wrong with a remote end, in fixed memory: remotes that nothing happens to make room for others.
//!
//! The map is shared. A process that meets more remotes than its part of the map, such as one that scans ports, pushes
//! no other's out: what happens with the rest of them is added up for the process. So it is for the clients of a service.
//!
//! SYN-ACKs sent again have a map of their own: a flood from many addresses pushes nothing else out.

use core::mem::MaybeUninit;

use tcpwatch_common::failure::ConnectFailure;
use tcpwatch_common::host::HostCounters;
use tcpwatch_common::offsets::Field;
use tcpwatch_common::remote::{COUNTS, Count, Holder, Key};
use tcpwatch_common::socket::{PASSIVE, ROLE_UNKNOWN};

use crate::add::add_shared_to;
use crate::emit;
use crate::maps::{CLIENTS, FOLDED, HOST, REMOTES, SHARES, remotes_most};
use crate::namespace::inode_of;
use crate::programs::add_shared;
use crate::read::Typed;
use crate::zero::zeroed;

/// Whether the service is on this side. Where it is not known who connected, the lower port is the service.
#[inline(always)]
fn is_client(flags: u8, local_port: u16, remote_port: u16) -> bool {
    if flags & ROLE_UNKNOWN != 0 { local_port <= remote_port } else { flags & PASSIVE != 0 }
}

/// Counts for the remote end of a connection.
#[inline(always)]
pub(super) fn count(socket: Typed, flags: u8, pid: u32, what: Count) {
    count_as(socket, flags, pid, what as usize);
}

/// Counts `what`, the number of a [`Count`].
#[inline(never)]
pub(super) fn count_as(socket: Typed, flags: u8, pid: u32, what: usize) {
    add_to(socket, flags, pid, what);
}

/// Counts a connect that failed.
#[inline(never)]
pub(super) fn failed(host: *mut HostCounters, socket: Typed, pid: u32, error: u32) {
    let failure = ConnectFailure::from_error(error) as usize;
    // SAFETY: a whole record of the map, and failures are fewer than 8; what is behind the array is part of the record.
    unsafe { add_shared_to((&raw mut (*host).connect_failures).cast::<u64>().add(failure & 7), 1) };
    add_to(socket, 0, pid, Count::Failure as usize + failure);
}

#[inline(always)]
fn add_to(socket: Typed, flags: u8, pid: u32, what: usize) {
    let mut local_port: u16 = socket.load(Field::LocalPort);
    if local_port == 0 {
        // A socket that is closed has given its port back, but still knows it here.
        local_port = u16::from_be(socket.tcp_field(Field::SourcePort).unwrap_or(0));
    }
    let remote_port = u16::from_be(socket.load(Field::RemotePort));
    let client = is_client(flags, local_port, remote_port);
    let mut key = MaybeUninit::<Key>::uninit();
    // SAFETY: plain integers.
    let key = unsafe { zeroed(&mut key) };
    key.netns = inode_of(socket);
    key.client = u8::from(client);
    key.port = if client { local_port } else { remote_port };
    let family: u16 = socket.load(Field::Family);
    emit::remote_address(&mut key.address, socket, family);
    match REMOTES.get_ptr_mut(&*key) {
        // SAFETY: a record of the map.
        Some(counts) => unsafe {
            add_shared((*counts).get_mut(what & (COUNTS - 1)), 1);
            if pid != 0 {
                (*counts)[Count::Pid as usize] = pid.into();
            }
        },
        None => first(socket, key, pid, what & (COUNTS - 1)),
    }
}

/// Makes an entry for a remote, unless who met it has as many as it may: then it is counted for that one, whose next
/// remotes cost no more than a search.
#[inline(never)]
fn first(socket: Typed, key: &Key, pid: u32, what: usize) {
    let uid = socket.any().read::<u32>(Field::Uid).unwrap_or(u32::MAX);
    let [holder, user] = Holder::of(key, pid, uid);
    let most = remotes_most();
    let mut counts = MaybeUninit::<[u64; COUNTS]>::uninit();
    // SAFETY: plain integers.
    let counts = unsafe { zeroed(&mut counts) };
    counts[what & (COUNTS - 1)] = 1;
    counts[Count::Pid as usize] = pid.into();
    counts[Count::Uid as usize] = uid.into();
    let Some(host) = HOST.get_ptr_mut(0) else { return };
    if has_room(holder, most) && has_room(user, most) {
        if REMOTES.insert(key, &*counts, 0).is_ok() {
            // SAFETY: the record of this CPU.
            unsafe { add_shared_to(&raw mut (*host).remotes_met, 1) };
        }
        return;
    }
    // SAFETY: as above.
    unsafe { add_shared_to(&raw mut (*host).remotes_folded, 1) };
    if let Some(folded) = FOLDED.get_ptr_mut(holder) {
        // SAFETY: a record of the map.
        unsafe { add_shared((*folded).get_mut(what & (COUNTS - 1)), 1) };
    } else {
        let _ = FOLDED.insert(holder, &*counts, 0);
    }
}

/// Takes a place of the map for `holder`. User space corrects the count at its tick.
#[inline(always)]
fn has_room(holder: Holder, most: u32) -> bool {
    let Some(count) = SHARES.get_ptr_mut(holder) else {
        let _ = SHARES.insert(holder, 1, 0);
        return true;
    };
    // SAFETY: a counter of the map.
    let count = unsafe { &mut *count };
    let has_room = *count < holder.most(most);
    if has_room {
        add_shared(Some(count), 1);
    }
    has_room
}

/// Counts a SYN-ACK sent again, for the client of a request.
#[inline(always)]
pub(super) fn synack(listener: Typed, request: Typed) {
    let mut key = MaybeUninit::<Key>::uninit();
    // SAFETY: plain integers.
    let key = unsafe { zeroed(&mut key) };
    key.netns = inode_of(listener);
    key.client = 1;
    key.port = listener.load(Field::LocalPort);
    // A request shares the common part of a socket.
    let family: u16 = request.load(Field::Family);
    emit::remote_address(&mut key.address, request, family);
    if let Some(count) = CLIENTS.get_ptr_mut(&*key) {
        // SAFETY: a record of the map.
        return add_shared(Some(unsafe { &mut *count }), 1);
    }
    let is_met = CLIENTS.insert(&*key, 1, 0).is_ok();
    if is_met && let Some(host) = HOST.get_ptr_mut(0) {
        // SAFETY: the record of this CPU.
        unsafe { add_shared_to(&raw mut (*host).clients_met, 1) };
    }
}
