//! What is remembered beside each socket: the record and the layout of the kernel side's own hash table.
//!
//! The table is a plain BPF array of sets. A socket's address picks the set, and one of its [`WAYS`] keys the
//! slot. Nothing is allocated and no lock is taken, which makes it several times cheaper than the kernel's hash
//! map, where inserting and deleting one entry costs more than everything else tcpwatch does per event.
//!
//! Two CPUs can claim the same empty way at once. Then one key wins, and the loser is *not found* at its next
//! event: its age is unknown and that is counted. To never mix facts of two sockets, each word that must belong
//! to its socket carries the socket's [`tag`], and is written in one piece.
//!
//! Sets fill up unevenly: of a table that is half full one set in fifty has no free way. What its set has no way for
//! goes to one of the spare sets ([`spare_index`]), which lie behind the others.

/// Sockets in one set: their keys fill one cache line.
pub const WAYS: usize = 8;

/// One set of the table.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SocketSet {
    /// Socket addresses, 0 for a free way.
    pub keys: [u64; WAYS],
    pub slots: [Slot; WAYS],
}

/// What is known about one socket.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Slot {
    /// See [`Meta`].
    pub meta: u64,
    /// When it entered its state, `CLOCK_MONOTONIC` in nanoseconds.
    pub since: u64,
    /// When it was first seen.
    pub birth: u64,
    /// See [`owner_word`].
    pub owner: u64,
}

const _: () = assert!(size_of::<SocketSet>() == WAYS * 40);

/// The beginning of the socket's life was not seen: `birth` is when it was first met.
pub const BIRTH_UNKNOWN: u8 = 1;
/// The socket was in its state before it was met: `since` is when it was first met.
pub const SINCE_UNKNOWN: u8 = 2;
/// The socket came from a listener.
pub const PASSIVE: u8 = 4;
/// It is not known which side opened the connection.
pub const ROLE_UNKNOWN: u8 = 8;

/// The set of a socket, given the number of sets (a power of two) less one.
#[inline]
pub const fn set_index(socket: u64, mask: u32) -> u32 {
    // Sockets are cache line aligned slab objects: the low bits say nothing, a multiplication spreads the rest.
    ((socket >> 6).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32 & mask
}

/// The spare set of a socket, where it is kept if its own set has no free way. Other bits of its address pick it, so that
/// sockets of one set are spread over many spare sets.
#[inline]
pub const fn spare_index(socket: u64, mask: u32) -> u32 {
    let spread = ((socket >> 6).wrapping_mul(0xC2B2_AE3D_27D4_EB4F) >> 32) as u32;
    mask.wrapping_add(1).wrapping_add(spread & (mask >> SPARE_SHIFT))
}

/// There is one spare set for so many others, as a power of two. Where the table has twice as many places as there are
/// sockets, one in five hundred is kept in them.
const SPARE_SHIFT: u32 = 3;

/// All sets of a table, given the number of those that are not spare (a power of two).
pub const fn all_sets(sets: u32) -> u32 {
    sets + (sets.wrapping_sub(1) >> SPARE_SHIFT) + 1
}

/// Bits that tell one socket from another in a slot's words.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "32 bits of the address, above those that are always equal"
)]
pub const fn tag(socket: u64) -> u32 {
    (socket >> 4) as u32
}

/// The state, flags and namespace row of a socket, with its tag, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta(pub u64);

#[expect(clippy::cast_possible_truncation, reason = "each part is taken out of its own bits")]
impl Meta {
    #[inline]
    pub const fn new(tag: u32, row: u16, state: u8, flags: u8) -> Self {
        Self((tag as u64) << 32 | (row as u64) << 16 | (flags as u64) << 8 | state as u64)
    }

    #[inline]
    pub const fn tag(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The namespace's row of counters.
    #[inline]
    pub const fn row(self) -> u32 {
        (self.0 >> 16) as u32 & 0xffff
    }

    #[inline]
    pub const fn flags(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The state's kernel number.
    #[inline]
    pub const fn state(self) -> u8 {
        self.0 as u8
    }

    /// The same socket after a transition that was seen: its state's beginning is known now.
    #[inline]
    pub const fn entered(self, state: u8) -> Self {
        Self::new(self.tag(), self.row() as u16, state, self.flags() & !SINCE_UNKNOWN)
    }
}

/// A process id with the tag of the socket it owns, in one word; 0 is an unknown owner. `pass` is the walk over all
/// files that found it, 0 if an event told it.
#[inline]
pub const fn owner_word(tag: u32, pid: u32, pass: u32) -> u64 {
    (tag as u64) << 32 | ((pass & ((1 << PASS_BITS) - 1)) << PID_BITS) as u64 | pid as u64 & PIDS
}

/// Process ids are below 2^22 on every kernel.
const PID_BITS: u32 = 24;
/// The bits of an owner's word that hold the process id.
pub const PIDS: u64 = (1 << PID_BITS) - 1;
/// Bits that count walks.
pub const PASS_BITS: u32 = 8;

/// The process id in `word`, if the word belongs to the socket with this tag.
#[inline]
pub const fn owner_pid(word: u64, tag: u32) -> Option<u32> {
    let pid = (word & PIDS) as u32;
    if pid != 0 && (word >> 32) as u32 == tag { Some(pid) } else { None }
}

/// The walk that found the owner in `word`.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low half holds the pass")]
pub const fn owner_pass(word: u64) -> u32 {
    (word >> PID_BITS) as u32 & ((1 << PASS_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_keeps_its_parts_apart() {
        let meta = Meta::new(0xdead_beef, 0xabcd, 11, BIRTH_UNKNOWN | SINCE_UNKNOWN);
        assert_eq!((meta.tag(), meta.row(), meta.state()), (0xdead_beef, 0xabcd, 11));
        let meta = meta.entered(7);
        assert_eq!((meta.tag(), meta.row(), meta.state()), (0xdead_beef, 0xabcd, 7));
        assert_eq!(meta.flags(), BIRTH_UNKNOWN);
    }

    #[test]
    fn an_owner_word_of_another_socket_is_unknown() {
        let word = owner_word(7, 1234, 200);
        assert_eq!(owner_pid(word, 7), Some(1234));
        assert_eq!(owner_pid(word, 8), None);
        assert_eq!(owner_pass(word), 200);
        assert_eq!(owner_pid(0, 0), None);
    }

    #[test]
    fn neighbouring_sockets_spread_over_the_sets() {
        let mask = 1023;
        let mut load = [0u8; 1024];
        for socket in 0..4096u64 {
            load[set_index(0xffff_8880_1234_0000 + socket * 2368, mask) as usize] += 1;
        }
        assert!(load.iter().all(|count| *count as usize <= 2 * WAYS), "mean is 4");
        assert!(load.iter().filter(|count| **count as usize > WAYS).count() < 1024 / 20);
    }

    /// Sockets of a table that has no way for them, neither in their own sets nor in the spare ones.
    fn left_over(sets: u32, sockets: impl Iterator<Item = u64>) -> usize {
        extern crate std;
        let mut load = std::vec![0usize; all_sets(sets) as usize];
        let mut place = |index: u32| {
            let ways = &mut load[index as usize];
            *ways += 1;
            *ways <= WAYS
        };
        let has_none =
            |socket: &u64| !place(set_index(*socket, sets - 1)) && !place(spare_index(*socket, sets - 1));
        sockets.filter(has_none).count()
    }

    #[test]
    fn a_table_that_is_half_full_has_a_place_for_each() {
        // Slabs of 32 KiB with 13 sockets each, scattered over memory.
        let slab =
            |number: u64| 0xffff_8880_0000_0000 + (number.wrapping_mul(0x9E37_79B9) & 0xf_ffff) * 0x8000;
        let sockets = |count: u64| (0..count).map(move |number| slab(number / 13) + number % 13 * 2368);
        for sets in [1 << 9, 1 << 14, 1 << 17] {
            let places = u64::from(sets) * WAYS as u64;
            assert_eq!(left_over(sets, sockets(places / 2)), 0, "{sets} sets");
            assert_eq!(left_over(sets, sockets(places / 8 * 5)), 0, "{sets} sets");
            assert!(left_over(sets, sockets(places * 2)) as u64 >= places / 8 * 7, "{sets} sets");
        }
    }

    #[test]
    fn spare_sets_lie_behind_the_others() {
        assert_eq!([1, 2, 8, 16, 1024].map(all_sets), [2, 3, 9, 18, 1152]);
        for sets in [1, 2, 8, 16, 1024] {
            for socket in 0..1000u64 {
                let index = spare_index(socket * 2368, sets - 1);
                assert!(index >= sets && index < all_sets(sets), "{index} of {sets}");
            }
        }
    }
}
