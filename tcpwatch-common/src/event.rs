//! Facts told one by one: what a `trace` subscriber asked for, and what is too rare and grave to be only counted.

use crate::state::TcpState;
use crate::vitals::Vitals;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    Transition = 1,
    Retransmit = 2,
    ResetSent = 3,
    ResetReceived = 4,
    /// The old state was not the socket's last known one: an event in between was missed.
    Gap = 5,
}

impl Kind {
    pub const ALL: [Self; 5] =
        [Self::Transition, Self::Retransmit, Self::ResetSent, Self::ResetReceived, Self::Gap];

    pub const fn from_raw(raw: u8) -> Option<Self> {
        if raw >= 1 && raw as usize <= Self::ALL.len() { Some(Self::ALL[raw as usize - 1]) } else { None }
    }

    /// The kind's bit in [`Control::wanted`].
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// One fact, as the ring buffer carries it. Plain integers only: user space checks what they mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub at: u64,
    /// Tells sockets apart without giving their kernel address away.
    pub socket: u64,
    /// Nanoseconds in the old state; [`UNKNOWN`] if its beginning was not seen.
    pub in_state: u64,
    pub local: [u8; 16],
    pub remote: [u8; 16],
    pub comm: [u8; 16],
    pub netns: u32,
    /// Owner's process id, 0 if unknown.
    pub pid: u32,
    /// `sk_err` of an ending, reset reason, or retransmit error.
    pub detail: u32,
    pub local_port: u16,
    pub remote_port: u16,
    pub kind: u8,
    pub old: u8,
    pub new: u8,
    /// A [`crate::Cause`], a [`crate::host::Retransmit`], or for a gap the state that was expected.
    pub what: u8,
    /// 4 or 6; v4-mapped addresses are family 6.
    pub family: u8,
    /// Flags of [`crate::socket`].
    pub flags: u8,
    /// 1 if `comm` and `pid` are the owner's (the call ran in its context), 2 if remembered from earlier.
    pub owner: u8,
    pub padding: [u8; 1],
}

/// No duration is known.
pub const UNKNOWN: u64 = u64::MAX;

/// The event is not an ending, or has no cause.
pub const NO_CAUSE: u8 = u8::MAX;

const _: () = assert!(size_of::<Event>() == 96);

impl Event {
    /// Size of the record in the ring.
    pub const SIZE: usize = size_of::<Self>();

    /// Reads a record as the kernel side wrote it; `None` if the length is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::SIZE {
            return None;
        }
        let mut reader = Reader { bytes };
        Some(Self {
            at: u64::from_ne_bytes(reader.take()?),
            socket: u64::from_ne_bytes(reader.take()?),
            in_state: u64::from_ne_bytes(reader.take()?),
            local: reader.take()?,
            remote: reader.take()?,
            comm: reader.take()?,
            netns: u32::from_ne_bytes(reader.take()?),
            pid: u32::from_ne_bytes(reader.take()?),
            detail: u32::from_ne_bytes(reader.take()?),
            local_port: u16::from_ne_bytes(reader.take()?),
            remote_port: u16::from_ne_bytes(reader.take()?),
            kind: reader.byte()?,
            old: reader.byte()?,
            new: reader.byte()?,
            what: reader.byte()?,
            family: reader.byte()?,
            flags: reader.byte()?,
            owner: reader.byte()?,
            padding: reader.take()?,
        })
    }
}

/// Takes fixed-size fields off a record in order.
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
}

impl Reader<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*head)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }
}

/// What the programs do with an event.
pub mod phase {
    /// Nothing: not all of them are attached yet, and a part of them would miss events.
    pub const IDLE: u32 = 0;
    /// Count, and take sockets that are not in the table for older ones.
    pub const ADOPTING: u32 = 1;
    /// Count, and take sockets that are not in the table for those that had no room in it.
    pub const COUNTING: u32 = 2;
}

/// What user space asks of the running programs: one record, read at every event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Control {
    /// Kinds that a subscriber wants, see [`Kind::bit`]; 0 if there is none.
    pub wanted: u32,
    /// One of [`phase`].
    pub phase: u32,
    pub filter: Filter,
}

/// Which facts a subscriber wants; zero means any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Filter {
    pub netns: u32,
    pub pid: u32,
    /// Bits by kernel state number: the old or the new state is among them.
    pub states: u32,
    /// Local or remote port.
    pub port: u16,
    pub local_port: u16,
    pub remote_port: u16,
    /// Prefix length of `peer` in bits, 0 for any; v4 peers are v4-mapped.
    pub peer_bits: u8,
    /// 1: only transitions that are unusual or illegal.
    pub odd_only: u8,
    pub peer: [u64; 2],
    pub peer_mask: [u64; 2],
}

impl Control {
    /// The record as the words that a map holds.
    pub fn to_words(&self) -> [u64; 8] {
        let Filter {
            netns,
            pid,
            states,
            port,
            local_port,
            remote_port,
            peer_bits,
            odd_only,
            peer,
            peer_mask,
        } = self.filter;
        let bytes = |parts: [&[u8]; 5]| {
            let mut word = [0; 8];
            let all = parts.into_iter().flatten();
            for (byte, part) in word.iter_mut().zip(all) {
                *byte = *part;
            }
            u64::from_ne_bytes(word)
        };
        let four = |a: u32, b: u32| bytes([&a.to_ne_bytes(), &b.to_ne_bytes(), &[], &[], &[]]);
        [
            four(self.wanted, self.phase),
            four(netns, pid),
            bytes([&states.to_ne_bytes(), &port.to_ne_bytes(), &local_port.to_ne_bytes(), &[], &[]]),
            bytes([&remote_port.to_ne_bytes(), &[peer_bits], &[odd_only], &[], &[]]),
            peer[0],
            peer[1],
            peer_mask[0],
            peer_mask[1],
        ]
    }
}

const _: () = assert!(size_of::<Control>() == 64);

/// A socket as the iterator tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Row {
    pub socket: u64,
    /// Nanoseconds in the state; [`UNKNOWN`] if not known.
    pub in_state: u64,
    /// Nanoseconds since birth; [`UNKNOWN`] if not known.
    pub lifetime: u64,
    pub inode: u64,
    pub local: [u8; 16],
    pub remote: [u8; 16],
    pub pid: u32,
    pub uid: u32,
    /// Bytes received and not read; of a listener, connections to be accepted.
    pub unread: u32,
    /// Bytes not acknowledged by the peer; of a listener, the limit of its queue.
    pub unsent: u32,
    /// Segments sent again.
    pub retransmits: u32,
    /// Smoothed round-trip time in eighths of a microsecond, 0 if none was measured.
    pub rtt: u32,
    pub local_port: u16,
    pub remote_port: u16,
    pub state: u8,
    pub family: u8,
    pub flags: u8,
    /// See [`detail`].
    pub details: u8,
    /// Not there in a brief row.
    pub vitals: Vitals,
}

const _: () = assert!(Row::BRIEF_SIZE == 96 && Row::SIZE == Row::BRIEF_SIZE + size_of::<Vitals>());

/// Bits of [`Row::details`].
pub mod detail {
    /// The other details and numbers are known: it is a whole socket, on a kernel that tells them.
    pub const KNOWN: u8 = 1;
    pub const KEEPALIVE: u8 = 2;
    /// No process has it any more.
    pub const ORPHAN: u8 = 4;
    /// No process has it yet.
    pub const NEVER_ACCEPTED: u8 = 8;
    /// Only the queues are known, no age, owner or role.
    pub const BRIEF: u8 = 16;
    /// The kernel made it for itself, and no process has it.
    pub const KERNEL: u8 = 32;
    /// The kernel has marked it as its own, which it does with what MPTCP makes for processes, too.
    pub const MARKED: u8 = 64;
}

impl Row {
    pub const SIZE: usize = size_of::<Self>();

    /// Size of a row that ends before its [`Vitals`].
    pub const BRIEF_SIZE: usize = core::mem::offset_of!(Self, vitals);

    pub const fn size(is_brief: bool) -> usize {
        if is_brief { Self::BRIEF_SIZE } else { Self::SIZE }
    }

    /// Stands for the places of the fields, so that a program of another build is not read wrongly.
    pub const LAYOUT: u32 = {
        use core::mem::offset_of;
        let places = [
            offset_of!(Self, socket),
            offset_of!(Self, in_state),
            offset_of!(Self, lifetime),
            offset_of!(Self, inode),
            offset_of!(Self, local),
            offset_of!(Self, remote),
            offset_of!(Self, pid),
            offset_of!(Self, uid),
            offset_of!(Self, unread),
            offset_of!(Self, unsent),
            offset_of!(Self, retransmits),
            offset_of!(Self, rtt),
            offset_of!(Self, local_port),
            offset_of!(Self, remote_port),
            offset_of!(Self, state),
            offset_of!(Self, family),
            offset_of!(Self, flags),
            offset_of!(Self, details),
            Self::SIZE,
        ];
        hash(hash(0x811c_9dc5, &places), &Vitals::PLACES)
    };

    /// Reads a row as the iterator wrote it, whole or brief; `None` if the length is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::SIZE && bytes.len() != Self::BRIEF_SIZE {
            return None;
        }
        let mut reader = Reader { bytes };
        Some(Self {
            socket: u64::from_ne_bytes(reader.take()?),
            in_state: u64::from_ne_bytes(reader.take()?),
            lifetime: u64::from_ne_bytes(reader.take()?),
            inode: u64::from_ne_bytes(reader.take()?),
            local: reader.take()?,
            remote: reader.take()?,
            pid: u32::from_ne_bytes(reader.take()?),
            uid: u32::from_ne_bytes(reader.take()?),
            unread: u32::from_ne_bytes(reader.take()?),
            unsent: u32::from_ne_bytes(reader.take()?),
            retransmits: u32::from_ne_bytes(reader.take()?),
            rtt: u32::from_ne_bytes(reader.take()?),
            local_port: u16::from_ne_bytes(reader.take()?),
            remote_port: u16::from_ne_bytes(reader.take()?),
            state: reader.byte()?,
            family: reader.byte()?,
            flags: reader.byte()?,
            details: reader.byte()?,
            vitals: if reader.bytes.is_empty() { Vitals::default() } else { Vitals::take(&mut reader)? },
        })
    }
}

const fn hash(mut sum: u32, places: &[usize]) -> u32 {
    let mut place = 0;
    while place < places.len() {
        // All of them are below the record's size.
        let [low, high, ..] = places[place].to_le_bytes();
        sum = (sum ^ u16::from_le_bytes([low, high]) as u32).wrapping_mul(0x0100_0193);
        place += 1;
    }
    sum
}

/// A network namespace as the kernel side knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Namespace {
    /// Its row of counters.
    pub row: u32,
    /// Its inode number, the name people know it by.
    pub inode: u32,
}

/// Sockets by kernel state number as one walk of the iterator found them.
pub type Census = [u64; CENSUS_SLOTS];

/// Where a [`Census`] counts mini-sockets that stand for FIN_WAIT2.
pub const FIN_WAIT2_MINIS: usize = 14;

/// A power of two above [`TcpState::COUNT`], so that an index can be masked.
pub const CENSUS_SLOTS: usize = 16;

const _: () = assert!(CENSUS_SLOTS > FIN_WAIT2_MINIS && FIN_WAIT2_MINIS > TcpState::COUNT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_field_by_field() {
        let mut bytes = [0u8; Event::SIZE];
        for (place, byte) in (0u8..).zip(bytes.iter_mut()) {
            *byte = place;
        }
        let event = Event::from_bytes(&bytes).expect("right length");
        assert_eq!(event.at, u64::from_ne_bytes([0, 1, 2, 3, 4, 5, 6, 7]));
        assert_eq!(event.local[0], 24);
        assert_eq!(event.netns, u32::from_ne_bytes([72, 73, 74, 75]));
        assert_eq!((event.local_port, event.kind), (u16::from_ne_bytes([84, 85]), 88));
        assert_eq!(event.owner, 94);
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let bytes = [0u8; 200];
        for length in (0..200).filter(|length| *length != Event::SIZE) {
            assert_eq!(Event::from_bytes(&bytes[..length]), None);
        }
        for length in (0..200).filter(|length| ![Row::SIZE, Row::BRIEF_SIZE].contains(length)) {
            assert_eq!(Row::from_bytes(&bytes[..length]), None);
        }
    }

    #[test]
    fn kinds_are_checked() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_raw(kind as u8), Some(kind));
        }
        assert_eq!(Kind::from_raw(0), None);
        assert_eq!(Kind::from_raw(6), None);
    }
}
