//! Sockets summed up in groups while the kernel side walks them, so that user space need not see each.

use crate::state::TcpState;

/// What user space asks of a walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Request {
    /// Nanoseconds in its state from which on a socket counts as aged, by kernel state number. Like all limits here it is
    /// below [`NEVER`], so that the kernel side can compare by subtracting.
    pub aged: [u64; 16],
    /// Ticks of the kernel without a word from either side, from which on a peer is silent.
    pub silent_ticks: u64,
    /// Ticks without an acknowledgement of data that was sent.
    pub unacknowledged_ticks: u64,
    /// Ticks that a closed window lasts.
    pub stalled_ticks: u64,
    /// The first and the last ephemeral port.
    pub port_low: u64,
    pub port_high: u64,
    /// Not 0: count the local ports in use toward each destination.
    pub tuples: u64,
    /// Tells one walk over all files from the one before.
    pub pass: u64,
}

/// A limit that nothing reaches.
pub const NEVER: u64 = u64::MAX >> 1;

/// A bit for every port that somebody listens on in the namespace that is walked.
pub type Ports = [u64; 1024];

/// The word and the bit of [`Ports`] that stand for a port.
#[inline]
pub const fn port_bit(port: u16) -> (usize, u64) {
    ((port >> 6) as usize, 1 << (port & 63))
}

/// Words of a [`Request`].
pub const REQUEST_WORDS: usize = 23;

const _: () = assert!(size_of::<Request>() == REQUEST_WORDS * 8);
const _: () = assert!(TcpState::COUNT < 16);

impl Request {
    /// The record as the words that a map holds.
    pub fn to_words(&self) -> [u64; REQUEST_WORDS] {
        let mut words = [0; REQUEST_WORDS];
        let rest = [
            self.silent_ticks,
            self.unacknowledged_ticks,
            self.stalled_ticks,
            self.port_low,
            self.port_high,
            self.tuples,
            self.pass,
        ];
        for (word, value) in words.iter_mut().zip(self.aged.into_iter().chain(rest)) {
            *word = value;
        }
        words
    }
}

/// What the sockets of a group have in common, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub u64);

/// The connection was opened here.
pub const ACTIVE: u8 = 1;
/// The connection was opened by the peer.
pub const PASSIVE: u8 = 2;
/// No process has it yet.
pub const NEVER_ACCEPTED: u8 = 4;
/// No process has it any more.
pub const ORPHAN: u8 = 8;

/// What is wrong with an established socket.
pub mod trouble {
    pub const NONE: u8 = 0;
    pub const UNACKNOWLEDGED: u8 = 1;
    pub const NO_KEEPALIVE: u8 = 2;
    pub const PEER_WINDOW_ZERO: u8 = 3;
    pub const OWN_WINDOW_ZERO: u8 = 4;
}

#[expect(clippy::cast_possible_truncation, reason = "each part is taken out of its own bits")]
impl Key {
    /// `state` is a kernel number below 16; `flags` and `trouble` fill four bits each.
    #[inline]
    pub const fn new(pid: u32, port: u16, state: u8, flags: u8, trouble: u8) -> Self {
        Self(
            (pid as u64) << 32
                | (port as u64) << 16
                | ((trouble & 15) as u64) << 8
                | ((flags & 15) as u64) << 4
                | (state & 15) as u64,
        )
    }

    /// The bit that says that the upper half is the id of a cgroup, not of a process.
    pub const BY_CGROUP: u64 = 1 << 12;

    /// The owner; 0 if it is not known.
    pub const fn pid(self) -> u32 {
        if self.0 & Self::BY_CGROUP == 0 { self.upper() } else { 0 }
    }

    /// The cgroup of sockets whose owner is not known; 0 if that is not known either.
    pub const fn cgroup(self) -> u32 {
        if self.0 & Self::BY_CGROUP == 0 { 0 } else { self.upper() }
    }

    const fn upper(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub const fn port(self) -> u16 {
        (self.0 >> 16) as u16
    }

    pub const fn state(self) -> u8 {
        self.0 as u8 & 15
    }

    pub const fn flags(self) -> u8 {
        (self.0 >> 4) as u8 & 15
    }

    pub const fn trouble(self) -> u8 {
        (self.0 >> 8) as u8 & 15
    }
}

/// The sum of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Sum {
    pub count: u64,
    pub aged: u64,
    pub unknown_age: u64,
    /// Nanoseconds.
    pub oldest: u64,
    pub unread_bytes: u64,
    pub unread: u64,
    pub unsent_bytes: u64,
    /// Whole sockets of which the memory is known, and the kernel's memory that they have: what waits to be sent or
    /// acknowledged, what has been received, and what is set aside for more.
    pub measured: u64,
    pub send_memory: u64,
    pub receive_memory: u64,
    pub reserved_memory: u64,
    /// The oldest socket's addresses and ports (local, remote).
    pub local: [u8; 16],
    pub remote: [u8; 16],
    pub ports: [u16; 4],
}

/// Words of a [`Sum`].
pub const SUM_WORDS: usize = 16;

const _: () = assert!(size_of::<Sum>() == SUM_WORDS * 8);

impl Sum {
    /// The record whose words these are.
    pub const fn from_words(words: &[u64; SUM_WORDS]) -> Self {
        let [a, b, c, d, ..] = words[15].to_ne_bytes();
        Self {
            count: words[0],
            aged: words[1],
            unknown_age: words[2],
            oldest: words[3],
            unread_bytes: words[4],
            unread: words[5],
            unsent_bytes: words[6],
            measured: words[7],
            send_memory: words[8],
            receive_memory: words[9],
            reserved_memory: words[10],
            local: joined(words[11].to_ne_bytes(), words[12].to_ne_bytes()),
            remote: joined(words[13].to_ne_bytes(), words[14].to_ne_bytes()),
            ports: [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]), 0, 0],
        }
    }
}

/// Local ports toward one destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TupleKey {
    pub local: [u8; 16],
    pub remote: [u8; 16],
    pub remote_port: u16,
    pub padding: [u8; 6],
}

/// Words of a [`TupleKey`].
pub const TUPLE_WORDS: usize = 5;

const _: () = assert!(size_of::<TupleKey>() == TUPLE_WORDS * 8);

impl TupleKey {
    /// The record whose words these are.
    pub const fn from_words(words: &[u64; TUPLE_WORDS]) -> Self {
        let [a, b, ..] = words[4].to_ne_bytes();
        Self {
            local: joined(words[0].to_ne_bytes(), words[1].to_ne_bytes()),
            remote: joined(words[2].to_ne_bytes(), words[3].to_ne_bytes()),
            remote_port: u16::from_ne_bytes([a, b]),
            padding: [0; 6],
        }
    }
}

/// How many ports are in use, and how many of them by TIME_WAIT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TupleSum {
    pub used: u64,
    pub time_wait: u64,
}

pub(crate) const fn joined(low: [u8; 8], high: [u8; 8]) -> [u8; 16] {
    let mut all = [0; 16];
    let mut at = 0;
    while at < 8 {
        all[at] = low[at];
        all[at + 8] = high[at];
        at += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_parts_apart() {
        let key = Key::new(0xdead_beef, 0xabcd, 12, PASSIVE | ORPHAN, trouble::OWN_WINDOW_ZERO);
        assert_eq!((key.pid(), key.port(), key.state()), (0xdead_beef, 0xabcd, 12));
        assert_eq!((key.flags(), key.trouble()), (PASSIVE | ORPHAN, trouble::OWN_WINDOW_ZERO));
        assert_eq!(key.cgroup(), 0);
        let of_cgroup = Key(key.0 | Key::BY_CGROUP);
        assert_eq!((of_cgroup.pid(), of_cgroup.cgroup()), (0, 0xdead_beef));
        assert_eq!((of_cgroup.port(), of_cgroup.trouble()), (key.port(), key.trouble()));
    }

    #[test]
    fn words_are_in_the_order_of_the_record() {
        let mut request = Request::default();
        request.aged[15] = 7;
        request.pass = 9;
        let words = request.to_words();
        assert_eq!((words[15], words[REQUEST_WORDS - 1]), (7, 9));
        let mut words = [0; SUM_WORDS];
        words[3] = 5;
        words[12] = u64::from_ne_bytes([0, 0, 0xff, 0xff, 127, 0, 0, 1]);
        words[15] = u64::from_ne_bytes([1, 0, 2, 0, 0, 0, 0, 0]);
        let sum = Sum::from_words(&words);
        assert_eq!((sum.oldest, sum.local[12], sum.ports[0].to_ne_bytes()), (5, 127, [1, 0]));
    }
}
