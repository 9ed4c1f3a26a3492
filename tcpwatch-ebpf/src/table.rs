//! The table of sockets: see [`tcpwatch_common::socket`] for its layout and why it is not a hash map.

use core::ptr::{read_volatile, write_volatile};

use tcpwatch_common::socket::{Meta, Slot, WAYS, owner_pid, owner_word, set_index, tag};

use crate::maps::{SOCKETS, set_mask};

/// A way of a set: where one socket's key and slot are kept.
pub(crate) struct Place {
    key: *mut u64,
    slot: *mut Slot,
    tag: u32,
}

/// What a lookup finds.
pub(crate) enum Found {
    Known(Place),
    /// Not there; a free way if the set has one.
    Missing(Option<Place>),
}

/// Looks for `socket`.
#[inline(always)]
pub(crate) fn find(socket: u64) -> Found {
    let Some(set) = SOCKETS.get_ptr_mut(set_index(socket, set_mask())) else { return Found::Missing(None) };
    let tag = tag(socket);
    // SAFETY: `set` points to a whole `SocketSet` of the map, and `way` stays below `WAYS`.
    let place = |way: usize| unsafe {
        Place { key: (&raw mut (*set).keys).cast::<u64>().add(way), slot: (&raw mut (*set).slots).cast::<Slot>().add(way), tag }
    };
    let mut free = WAYS;
    let mut way = 0;
    while way < WAYS {
        let candidate = place(way);
        // SAFETY: inside the map value; another CPU may write it, so it is read once and as a whole.
        let key = unsafe { read_volatile(candidate.key) };
        if key == socket {
            return if candidate.meta().tag() == tag { Found::Known(candidate) } else { Found::Missing(Some(candidate)) };
        }
        if key == 0 {
            free = way;
        }
        way += 1;
    }
    Found::Missing(if free < WAYS { Some(place(free & (WAYS - 1))) } else { None })
}

impl Place {
    #[inline(always)]
    pub(crate) fn meta(&self) -> Meta {
        // SAFETY: points into a live map value.
        Meta(unsafe { read_volatile(&raw const (*self.slot).meta) })
    }

    #[inline(always)]
    pub(crate) fn since(&self) -> u64 {
        // SAFETY: as above.
        unsafe { read_volatile(&raw const (*self.slot).since) }
    }

    #[inline(always)]
    pub(crate) fn birth(&self) -> u64 {
        // SAFETY: as above.
        unsafe { read_volatile(&raw const (*self.slot).birth) }
    }

    /// The owner's process id, 0 if unknown.
    #[inline(always)]
    pub(crate) fn owner(&self) -> u32 {
        // SAFETY: as above.
        owner_pid(unsafe { read_volatile(&raw const (*self.slot).owner) }, self.tag).unwrap_or(0)
    }

    /// Starts to remember `socket` here.
    #[inline(always)]
    pub(crate) fn claim(&self, socket: u64, row: u16, state: u8, flags: u8, now: u64, owner: u32) {
        // SAFETY: as above. The key comes first: from then on other sockets leave this way alone.
        unsafe {
            write_volatile(self.key, socket);
            write_volatile(&raw mut (*self.slot).meta, Meta::new(self.tag, row, state, flags).0);
            write_volatile(&raw mut (*self.slot).since, now);
            write_volatile(&raw mut (*self.slot).birth, now);
            write_volatile(&raw mut (*self.slot).owner, owner_word(self.tag, owner));
        }
    }

    /// Notes that the socket entered `state`.
    #[inline(always)]
    pub(crate) fn enter(&self, meta: Meta, state: u8, now: u64) {
        // SAFETY: as above.
        unsafe {
            write_volatile(&raw mut (*self.slot).meta, meta.entered(state).0);
            write_volatile(&raw mut (*self.slot).since, now);
        }
    }

    /// Forgets the socket.
    #[inline(always)]
    pub(crate) fn release(&self) {
        // SAFETY: as above.
        unsafe { write_volatile(self.key, 0) }
    }
}
