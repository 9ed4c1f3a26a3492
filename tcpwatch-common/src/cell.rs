//! Counter cells: where the kernel side counts what happened in one network namespace.
//!
//! A namespace has one row of [`CELLS`] counters per CPU: 256 bytes, four cache lines. The first [`EDGES`] are
//! the legal transitions in the order of [`crate::machine::EDGES`]. The others split what one edge alone cannot
//! tell, and are counted beside their edge, never instead of it.

/// Number of legal transitions.
pub const EDGES: usize = 27;

/// A TIME_WAIT mini-socket was made (from FIN_WAIT2 or CLOSING).
pub const TIME_WAIT_ENTERED: usize = 27;

/// A FIN_WAIT2 mini-socket was made: our FIN was acknowledged, nobody owns the socket, the peer has not closed.
pub const FIN_WAIT2_ORPHANED: usize = 28;

/// SYN_SENT ended without an error on the socket: given up locally, so the kernel counts no failed attempt.
pub const CONNECT_GIVEN_UP: usize = 29;

/// SYN_SENT ended before a SYN was sent (no free port, no route), so the kernel counted no active open.
pub const CONNECT_NEVER_SENT: usize = 30;

/// SYN_RECV ended in a way the kernel counts as a failed attempt.
pub const SYN_RECV_FAILED: usize = 31;

/// Counters in a row.
pub const CELLS: usize = 32;

/// No cell: the transition is not legal.
pub const NONE: u8 = u8::MAX;

/// One namespace's counters on one CPU.
pub type Row = [u64; CELLS];

/// The row that counts what belongs to no row of its own: more namespaces exist than rows were made.
pub const OVERFLOW_ROW: u32 = 0;

const _: () = assert!(size_of::<Row>() == 256);
const _: () = assert!(TIME_WAIT_ENTERED == EDGES && SYN_RECV_FAILED + 1 == CELLS);
