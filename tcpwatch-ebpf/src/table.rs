//! The table of sockets: see [`tcpwatch_common::socket`] for its layout and why it is not a hash map.

use core::ptr::{NonNull, read_volatile, write_volatile};

use tcpwatch_common::socket::{
    Meta, ROLE_UNKNOWN, Slot, SocketSet, WAYS, owner_pass, owner_pid, owner_word, set_index, tag,
};

use crate::maps::{SOCKETS, set_mask};

/// A way of a set: where one socket's key and slot are kept.
pub(crate) struct Place {
    key: NonNull<u64>,
    slot: NonNull<Slot>,
    socket: u64,
}

/// Looks for `socket`: where it is kept and what is known of it, or else a free place if its set has one.
/// `scratch` is a word that nobody else uses meanwhile; see [`launder`].
#[inline(always)]
pub(crate) fn find(socket: u64, scratch: &mut u64) -> (Option<Place>, Option<Meta>) {
    match set_of(socket) {
        Some(set) => find_in(set, socket, scratch),
        None => (None, None),
    }
}

/// The set in which `socket` is kept if it is kept at all; there always is one.
#[inline(always)]
pub(crate) fn set_of(socket: u64) -> Option<*mut SocketSet> {
    SOCKETS.get_ptr_mut(set_index(socket, set_mask()))
}

/// Like [`find`], in the socket's set.
#[inline(always)]
pub(crate) fn find_in(set: *mut SocketSet, socket: u64, scratch: &mut u64) -> (Option<Place>, Option<Meta>) {
    search(set, socket, |way| launder(way, scratch))
}

/// Like [`find`], with a function that makes the verifier forget what it knows of a number.
#[inline(always)]
pub(crate) fn find_by(socket: u64, forget: impl FnMut(u64) -> u64) -> (Option<Place>, Option<Meta>) {
    match set_of(socket) {
        Some(set) => search(set, socket, forget),
        None => (None, None),
    }
}

#[inline(always)]
fn search(
    set: *mut SocketSet,
    socket: u64,
    mut forget: impl FnMut(u64) -> u64,
) -> (Option<Place>, Option<Meta>) {
    let way = forget(way_of(set, socket));
    // A key of 0 is a free way.
    let way = if way & NOT_FOUND == 0 { way | IS_SOCKET } else { way_of(set, 0) };
    let way = forget(way);
    if way & NOT_FOUND != 0 {
        return (None, None);
    }
    let place = place(set, way, socket);
    let meta = if way & IS_SOCKET != 0 { place.meta() } else { None };
    (Some(place), meta)
}

/// Starts to remember `socket` in another place than the one that was found first; false if its set has none.
#[inline(never)]
pub(crate) fn claim_again(socket: u64, meta: Meta, now: u64, owner: u32) -> bool {
    let mut scratch = 0;
    let (Some(place), None) = find(socket, &mut scratch) else { return false };
    if !place.is_still_free() {
        return false;
    }
    place.claim(meta.row(), meta.state().into(), meta.flags(), now, owner);
    true
}

/// The owner and the flags remembered of `socket`; where nothing is, the owner is 0 and the role unknown.
#[inline(always)]
pub(crate) fn recall(socket: u64) -> (u32, u8) {
    let mut scratch = 0;
    recall_by(socket, |way| launder(way, &mut scratch))
}

/// The same, with a function that makes the verifier forget what it knows of a number.
#[inline(always)]
pub(crate) fn recall_by(socket: u64, forget: impl FnMut(u64) -> u64) -> (u32, u8) {
    if let (Some(place), Some(meta)) = find_by(socket, forget) {
        return (place.owner(), meta.flags());
    }
    closed_lately(socket).unwrap_or((0, ROLE_UNKNOWN))
}

/// The owner and the flags of a socket that was closed a moment ago: what was kept of it is there until another takes
/// its place.
#[inline(always)]
fn closed_lately(socket: u64) -> Option<(u32, u8)> {
    let set = set_of(socket)?;
    let mut way = 0;
    while way < WAYS {
        // SAFETY: inside the map value; another CPU may write it, so each word is read once and as a whole.
        let (meta, owner) = unsafe {
            let slot = (&raw const (*set).slots).cast::<Slot>().add(way);
            (Meta(read_volatile(&raw const (*slot).meta)), read_volatile(&raw const (*slot).owner))
        };
        if meta.tag() == tag(socket) {
            return Some((owner_pid(owner, tag(socket)).unwrap_or(0), meta.flags()));
        }
        way += 1;
    }
    None
}

/// The bit that is set in the way of a key that is not there. Tested as a bit, so that the compiler does not think
/// the mask on the way superfluous: the verifier needs it.
const NOT_FOUND: u64 = WAYS as u64;
/// The bit that is set in the way of the socket that was looked for.
const IS_SOCKET: u64 = NOT_FOUND << 1;

/// The way whose key is `key`, or [`NOT_FOUND`].
#[inline(always)]
fn way_of(set: *mut SocketSet, key: u64) -> u64 {
    let mut way = 0;
    while way < WAYS {
        // SAFETY: inside the map value; another CPU may write it, so it is read once and as a whole.
        if unsafe { read_volatile((&raw const (*set).keys).cast::<u64>().add(way)) } == key {
            break;
        }
        way += 1;
    }
    way as u64
}

/// Makes the verifier forget that it knows the number on each of the search's nine ways out, so that it walks what
/// follows once and not nine times.
#[inline(always)]
pub(crate) fn launder(number: u64, scratch: &mut u64) -> u64 {
    // SAFETY: a plain reference.
    unsafe {
        write_volatile(scratch, number);
        read_volatile(scratch)
    }
}

#[inline(always)]
fn place(set: *mut SocketSet, way: u64, socket: u64) -> Place {
    let way = way as usize & (WAYS - 1);
    // SAFETY: `set` points to a whole `SocketSet` of the map, and `way` is below `WAYS`.
    unsafe {
        Place {
            key: NonNull::new_unchecked((&raw mut (*set).keys).cast::<u64>().add(way)),
            slot: NonNull::new_unchecked((&raw mut (*set).slots).cast::<Slot>().add(way)),
            socket,
        }
    }
}

impl Place {
    /// What is known of the socket; `None` if another socket's facts are here, which a lost race can leave.
    #[inline(always)]
    fn meta(&self) -> Option<Meta> {
        // SAFETY: points into a live map value.
        let meta = Meta(unsafe { read_volatile(&raw const (*self.slot.as_ptr()).meta) });
        (meta.tag() == tag(self.socket)).then_some(meta)
    }

    #[inline(always)]
    pub(crate) fn since(&self) -> u64 {
        // SAFETY: as above.
        unsafe { read_volatile(&raw const (*self.slot.as_ptr()).since) }
    }

    #[inline(always)]
    pub(crate) fn birth(&self) -> u64 {
        // SAFETY: as above.
        unsafe { read_volatile(&raw const (*self.slot.as_ptr()).birth) }
    }

    /// The owner's process id, 0 if unknown.
    #[inline(always)]
    pub(crate) fn owner(&self) -> u32 {
        // SAFETY: as above.
        owner_pid(unsafe { read_volatile(&raw const (*self.slot.as_ptr()).owner) }, tag(self.socket))
            .unwrap_or(0)
    }

    /// Notes that a walk over all files found that `pid` has the socket, unless the same walk found another before.
    #[inline(always)]
    pub(crate) fn hold(&self, pid: u32, pass: u32) {
        // SAFETY: as above.
        unsafe {
            let owner = &raw mut (*self.slot.as_ptr()).owner;
            let word = read_volatile(owner);
            if owner_pid(word, tag(self.socket)).is_none() || owner_pass(word) != pass {
                write_volatile(owner, owner_word(tag(self.socket), pid, pass));
            }
        }
    }

    /// Whether no other socket has been put here since this place was found: an interrupt or another CPU may have
    /// been faster.
    #[inline(always)]
    pub(crate) fn is_still_free(&self) -> bool {
        // SAFETY: as above.
        let key = unsafe { read_volatile(self.key.as_ptr()) };
        key == 0 || key == self.socket
    }

    /// Starts to remember `socket` here.
    #[inline(always)]
    pub(crate) fn claim(&self, row: u32, state: u64, flags: u8, now: u64, owner: u32) {
        // SAFETY: as above. The key comes first: from then on other sockets leave this way alone.
        unsafe {
            write_volatile(self.key.as_ptr(), self.socket);
            write_volatile(
                &raw mut (*self.slot.as_ptr()).meta,
                Meta::new(tag(self.socket), row as u16, state as u8, flags).0,
            );
            write_volatile(&raw mut (*self.slot.as_ptr()).since, now);
            write_volatile(&raw mut (*self.slot.as_ptr()).birth, now);
            write_volatile(&raw mut (*self.slot.as_ptr()).owner, owner_word(tag(self.socket), owner, 0));
        }
    }

    /// Notes that the socket entered `state`.
    #[inline(always)]
    pub(crate) fn enter(&self, meta: Meta, state: u64, now: u64) {
        // SAFETY: as above.
        unsafe {
            write_volatile(&raw mut (*self.slot.as_ptr()).meta, meta.entered(state as u8).0);
            write_volatile(&raw mut (*self.slot.as_ptr()).since, now);
        }
    }

    /// Forgets the socket.
    #[inline(always)]
    pub(crate) fn release(&self) {
        // SAFETY: as above.
        unsafe { write_volatile(self.key.as_ptr(), 0) }
    }
}
