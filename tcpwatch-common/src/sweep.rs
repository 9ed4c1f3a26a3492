//! One walk over the sockets of all network namespaces: the records that both sides share.
//!
//! The kernel keeps the connections of all namespaces in one table, and their listeners in another. The walk counts
//! mini-sockets, of which no event tells, for each namespace; and at the start it meets the sockets that are older than
//! the programs. A namespace can have a table of its own (`net.ipv4.tcp_child_ehash_entries`), so each table is walked.

/// Chains whose heads are read at once; a power of two.
pub const HEADS: usize = 64;

/// What a run is to do: bits of its third argument.
pub mod task {
    /// Walk the table of listeners, not that of connections.
    pub const LISTENERS: u64 = 1;
    /// Meet sockets that are older than the programs.
    pub const MEET: u64 = 2;
    /// Count mini-sockets.
    pub const COUNT: u64 = 4;
    /// Remember listeners that are not remembered, whether they are older or not.
    pub const FIND: u64 = 8;
}

/// What a run leaves for user space and for the next run.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Work {
    /// The table that is walked; 0 if there is none.
    pub table: u64,
    /// Number of its chains less one.
    pub mask: u32,
    /// The chain that is walked; after a run the one that the next goes on with.
    pub chain: u32,
    /// The chain that this run ends before.
    pub end: u32,
    /// The chain that this run began with.
    pub first: u32,
    /// The pass that the counts are of.
    pub pass: u32,
    /// How often a socket led from one chain into another: what was counted of that chain is counted twice.
    pub strayed: u32,
    /// How often the present chain was read again.
    pub again: u32,
    pub padding: u32,
    /// [`task`]
    pub task: u64,
    /// What the mark at a chain's end is more than the chain's number.
    pub base: u64,
    /// Bytes from one chain's head to the next, and to where it begins.
    pub stride: u64,
    pub head: u64,
    /// The next link of the chain; an odd number is its end.
    pub link: u64,
    /// A place where a pointer becomes a plain number.
    pub scratch: u64,
    /// The namespace of the socket before, and its row.
    pub net: u64,
    pub row: u64,
    /// Whole sockets that were passed, and those that were met for the first time.
    pub passed: u64,
    pub met: u64,
    pub heads: [u64; HEADS],
}

const _: () = assert!(size_of::<Work>().is_multiple_of(8));

/// Mini-sockets of one namespace, as one pass counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Minis {
    /// The pass that they are of: what is of an older pass is 0 by now.
    pub pass: u64,
    pub half_open: u64,
    pub fin_wait2: u64,
    pub time_wait: u64,
}

/// A network namespace, as the kernel's own list has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Net {
    /// What tells it from any other, as [`crate::event::Namespace`] is known by: its cookie, or its inode number on kernels
    /// without cookies.
    pub key: u64,
    /// Where it keeps its tables.
    pub hash: u64,
    pub inode: u32,
    /// References to its TIME_WAIT sockets: one more than there are; 0 if this kernel does not say.
    pub time_wait_refs: u32,
}

/// What the walk over namespaces works with, and how many it found.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Search {
    /// The namespace in hand, and the one that it began with.
    pub net: u64,
    pub first: u64,
    pub found: u32,
    /// Room for so many.
    pub room: u32,
    /// 1 if it came back to where it began: there are no others.
    pub is_whole: u64,
}

const _: () = assert!(size_of::<Net>() == 24 && size_of::<Search>() == 32);
