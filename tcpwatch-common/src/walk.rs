//! A walk over the kernel's table of connections by a program of our own: the records that both sides share.
//!
//! The table is an array of chains, one for each value of a hash. User space hands out stretches of it, and for each
//! runs the program, which fills a [`Part`].

/// Sockets that one run tells of at most; a power of two.
pub const ROWS: usize = 4096;

/// Chains whose heads are read at once; a power of two.
pub const HEADS: usize = 32;

/// Stands in the object for the call of the kernel's function that makes a typed pointer of a number. The loader puts
/// the kernel's number for it there, or nothing where there is none.
pub const CAST_CALL: i32 = 0x7fff;

/// What one run tells, and what it needs meanwhile.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Part {
    /// The chain that is walked; after a run the one that the next goes on with.
    pub chain: u32,
    /// The chain that this run ends before.
    pub end: u32,
    /// How many of `told` are told.
    pub rows: u32,
    /// How many were told when the chain was begun.
    pub begun: u32,
    /// The chain that this run began with.
    pub first: u32,
    /// Sockets of that chain that runs before have told of; after a run the same for the next.
    pub skip: u32,
    /// Those that are still to be passed over.
    pub left: u32,
    /// How often a socket led from one chain into another, as it was used again for another connection.
    pub strayed: u32,
    /// Number of chains less one.
    pub mask: u32,
    /// How often the chain was read again, as it changed meanwhile.
    pub again: u32,
    /// The table; 0 if it was not found.
    pub table: u64,
    /// The namespace whose sockets are told.
    pub net: u64,
    /// The next link of the chain; an odd number is its end.
    pub link: u64,
    /// A place where a pointer becomes a plain number.
    pub scratch: u64,
    pub heads: [u64; HEADS],
    pub told: [Short; ROWS],
}

/// A socket in brief.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Short {
    /// An IPv4 address is in the first four bytes, and nothing in the others.
    pub local: [u8; 16],
    pub remote: [u8; 16],
    /// Bytes received and not read.
    pub unread: u32,
    /// Bytes not acknowledged by the peer.
    pub unsent: u32,
    pub local_port: u16,
    pub remote_port: u16,
    /// As `ss` shows it.
    pub state: u8,
    /// 4 or 6.
    pub family: u8,
    /// 1 if it is a whole socket, which has queues.
    pub is_whole: u8,
    /// The lowest bits of its chain's number: the sockets of one chain follow each other.
    pub chain: u8,
}

const _: () = assert!(size_of::<Short>() == 48 && size_of::<Part>().is_multiple_of(8));
