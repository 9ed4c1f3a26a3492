//! The reference machine: which transitions a TCP socket may make, and why.
//!
//! RFC 9293 (section 3.3.2, figure 5) plus what Linux really does: the kernel keeps half-open requests and
//! TIME_WAIT in mini-sockets that the tracepoint never names, so some RFC edges show as others. Every pair of
//! the thirteen states gets a verdict with its reason. The same `const` table is compiled into the eBPF program
//! (as a lookup of counter cells) and into the daemon.

use crate::cell;
use crate::state::TcpState;

/// What the machine says of a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// An edge of RFC 9293.
    Rfc = 0,
    /// Linux' own edge: legal, and explained by how the kernel stores sockets.
    Linux = 1,
    /// Legal and rare: simultaneous open or close, self-connect.
    Unusual = 2,
    /// No TCP may do this.
    Illegal = 3,
}

impl Verdict {
    pub const ALL: [Self; 4] = [Self::Rfc, Self::Linux, Self::Unusual, Self::Illegal];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Rfc => "rfc",
            Self::Linux => "linux",
            Self::Unusual => "unusual",
            Self::Illegal => "illegal",
        }
    }
}

/// One legal transition.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    pub from: TcpState,
    pub to: TcpState,
    pub verdict: Verdict,
    /// The RFC edge it is, or why Linux does it.
    pub reason: &'static str,
}

/// The verdict on any pair of states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    pub reason: &'static str,
    /// Where the kernel side counts this pair; `None` for an illegal one.
    pub cell: Option<usize>,
}

const fn edge(from: TcpState, to: TcpState, verdict: Verdict, reason: &'static str) -> Edge {
    Edge { from, to, verdict, reason }
}

use TcpState::{
    BoundInactive, Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, NewSynRecv,
    SynRecv, SynSent, TimeWait,
};
use Verdict::{Linux, Rfc, Unusual};

/// Every legal transition of a protocol 6 socket. The position of an edge is its counter cell.
pub const EDGES: [Edge; cell::EDGES] = [
    edge(Close, Listen, Rfc, "CLOSED to LISTEN: passive OPEN, listen()"),
    edge(Close, SynSent, Rfc, "CLOSED to SYN-SENT: active OPEN, connect()"),
    edge(Close, Close, Linux, "an abort met a socket that was closed already; it stays closed"),
    edge(SynSent, Established, Rfc, "SYN-SENT to ESTABLISHED: SYN-ACK received, ACK sent"),
    edge(
        SynSent,
        SynRecv,
        Unusual,
        "SYN-SENT to SYN-RECEIVED: simultaneous open or a socket connected to itself",
    ),
    edge(SynSent, Close, Rfc, "SYN-SENT to CLOSED: refused, timed out, or closed by the application"),
    edge(
        Listen,
        SynRecv,
        Linux,
        "the final ACK of a handshake made a child socket; the SYN itself is only kept as a request mini-socket",
    ),
    edge(Listen, Close, Rfc, "LISTEN to CLOSED: CLOSE call"),
    edge(SynRecv, Established, Rfc, "SYN-RECEIVED to ESTABLISHED: ACK of our SYN received"),
    edge(
        SynRecv,
        FinWait1,
        Rfc,
        "SYN-RECEIVED to FIN-WAIT-1: CLOSE call before the handshake ended, FIN sent",
    ),
    edge(SynRecv, CloseWait, Unusual, "a FIN arrived with the ACK of our SYN, before ESTABLISHED was stored"),
    edge(
        SynRecv,
        Close,
        Rfc,
        "SYN-RECEIVED to CLOSED: reset, abort, or the child socket could not be set up",
    ),
    edge(Established, FinWait1, Rfc, "ESTABLISHED to FIN-WAIT-1: CLOSE call, FIN queued"),
    edge(Established, CloseWait, Rfc, "ESTABLISHED to CLOSE-WAIT: FIN received, ACK sent"),
    edge(Established, Close, Rfc, "ESTABLISHED to CLOSED: reset, abort or timeout"),
    edge(FinWait1, FinWait2, Rfc, "FIN-WAIT-1 to FIN-WAIT-2: ACK of our FIN received"),
    edge(FinWait1, Closing, Unusual, "FIN-WAIT-1 to CLOSING: both sides closed at once, the FINs crossed"),
    edge(FinWait1, Close, Rfc, "FIN-WAIT-1 to CLOSED: reset, abort or timeout"),
    edge(
        FinWait1,
        FinWait1,
        Linux,
        "close() after shutdown(): the socket lost its owner and waits on as an orphan",
    ),
    edge(
        FinWait2,
        Close,
        Linux,
        "the full socket was handed to a TIME_WAIT or FIN_WAIT2 mini-socket (or was aborted): see the cause",
    ),
    edge(
        FinWait2,
        FinWait2,
        Linux,
        "close() after shutdown(): the socket lost its owner and waits on as an orphan",
    ),
    edge(
        Closing,
        Close,
        Linux,
        "CLOSING to TIME-WAIT: the full socket was handed to a TIME_WAIT mini-socket",
    ),
    edge(
        Closing,
        Closing,
        Linux,
        "close() after shutdown(): the socket lost its owner and waits on as an orphan",
    ),
    edge(CloseWait, LastAck, Rfc, "CLOSE-WAIT to LAST-ACK: CLOSE call, FIN queued"),
    edge(CloseWait, Close, Rfc, "CLOSE-WAIT to CLOSED: reset, abort or timeout"),
    edge(LastAck, Close, Rfc, "LAST-ACK to CLOSED: ACK of our FIN received"),
    edge(
        LastAck,
        LastAck,
        Linux,
        "close() after shutdown(): the socket lost its owner and waits on as an orphan",
    ),
];

/// Counter cell by [`pair`]; [`cell::NONE`] for pairs that are not legal. Without pointers, so that the kernel
/// side can have it in its read-only data.
pub static CELL_BY_PAIR: [u8; PAIRS] = CELLS_BY_PAIR;

/// The verdict's number by [`pair`].
pub static VERDICT_BY_PAIR: [u8; PAIRS] = {
    let mut table = [Verdict::Illegal as u8; PAIRS];
    let mut i = 0;
    while i < EDGES.len() {
        table[pair(EDGES[i].from as usize, EDGES[i].to as usize)] = EDGES[i].verdict as u8;
        i += 1;
    }
    table
};

/// What the kernel side has to do for a pair, so that its program tests bits instead of comparing states: every
/// comparison would split the paths that the verifier has to walk.
pub mod traits {
    /// The socket's life in the machine begins: out of CLOSE, or as a listener's child.
    pub const BIRTH: u8 = 1;
    /// The socket goes to CLOSE.
    pub const END: u8 = 2;
    /// Old and new state are the same.
    pub const SELF_LOOP: u8 = 4;
    /// The socket becomes ESTABLISHED.
    pub const ESTABLISHES: u8 = 8;
    /// A segment makes the transition, or a timer: TCP has just read the clock. An end that a segment can make, a call
    /// can make too.
    pub const BY_SEGMENT: u8 = 16;
    /// The new socket is a listener's child.
    pub const PASSIVE: u8 = 32;
    /// A call of the socket's owner makes the transition, so the running task is the owner.
    pub const BY_OWNER: u8 = 64;
    /// It is not one of those that nearly every connection makes, or takes more than they do.
    pub const RARE: u8 = 128;
}

/// The [`traits`] by [`pair`].
pub static TRAITS_BY_PAIR: [u8; PAIRS] = {
    // What is no state is rare.
    let mut table = [traits::RARE; PAIRS];
    let mut from = 1;
    while from <= TcpState::COUNT {
        let mut to = 1;
        while to <= TcpState::COUNT {
            table[pair(from, to)] = traits_of(TcpState::ALL[from - 1], TcpState::ALL[to - 1]);
            to += 1;
        }
        from += 1;
    }
    table
};

const fn traits_of(from: TcpState, to: TcpState) -> u8 {
    let mut bits = match (from, to) {
        (Close, Close) => traits::END | traits::SELF_LOOP,
        (Close, Listen | SynSent) => traits::BIRTH | traits::BY_OWNER,
        (Close, _) => traits::BIRTH,
        (Listen, SynRecv) => traits::BIRTH | traits::PASSIVE,
        (Listen, Close) => traits::END | traits::BY_OWNER,
        (SynRecv | Established, FinWait1) | (CloseWait, LastAck) => traits::BY_OWNER,
        (SynSent | SynRecv, Established) | (Established, CloseWait) | (FinWait1, FinWait2 | Closing) => {
            traits::BY_SEGMENT
        }
        (FinWait2 | Closing | LastAck, Close) => traits::END | traits::BY_SEGMENT,
        (_, Close) => traits::END,
        _ if from as u8 == to as u8 => traits::SELF_LOOP | traits::BY_OWNER,
        _ => 0,
    };
    if to as u8 == Established as u8 {
        bits |= traits::ESTABLISHES;
    }
    // A listener is remembered and forgotten, and a connect that failed is counted for its remote end.
    let takes_more = matches!((from, to), (Close, Listen) | (Listen | SynSent, Close));
    let is_self_loop = bits & traits::SELF_LOOP != 0;
    if takes_more || is_self_loop || CELLS_BY_PAIR[pair(from as usize, to as usize)] == cell::NONE {
        bits |= traits::RARE;
    }
    bits
}

/// Position of a pair of kernel state numbers in tables of [`PAIRS`].
///
/// The stride is no power of two, so that the compiler adds the two parts: had it to combine their bits, verifiers
/// before Linux 6.8 would lose the bounds of the result.
#[inline]
pub const fn pair(from: usize, to: usize) -> usize {
    (from & 15) * 19 + (to & 15)
}

/// Length of tables indexed by [`pair`].
pub const PAIRS: usize = pair(15, 15) + 1;

const CELLS_BY_PAIR: [u8; PAIRS] = {
    let mut table = [cell::NONE; PAIRS];
    let mut i = 0;
    while i < EDGES.len() {
        #[expect(clippy::cast_possible_truncation, reason = "there are 27 edges")]
        let number = i as u8;
        table[pair(EDGES[i].from as usize, EDGES[i].to as usize)] = number;
        i += 1;
    }
    table
};

/// Judges the transition `from` → `to` of a protocol 6 socket.
pub const fn judge(from: TcpState, to: TcpState) -> Judgement {
    let number = CELLS_BY_PAIR[pair(from as usize, to as usize)];
    if number != cell::NONE {
        let edge = &EDGES[number as usize];
        return Judgement { verdict: edge.verdict, reason: edge.reason, cell: Some(number as usize) };
    }
    Judgement { verdict: Verdict::Illegal, reason: why_illegal(from, to), cell: None }
}

const fn why_illegal(from: TcpState, to: TcpState) -> &'static str {
    match (from, to) {
        (TimeWait, _) | (_, TimeWait) => {
            "Linux keeps TIME_WAIT in a mini-socket of its own: no full socket is ever in it"
        }
        (NewSynRecv, _) | (_, NewSynRecv) => {
            "a half-open request is a mini-socket of its own: no full socket is ever in NEW_SYN_RECV"
        }
        (BoundInactive, _) | (_, BoundInactive) => {
            "BOUND_INACTIVE is a label that sock_diag gives, no socket stores it"
        }
        (_, Listen) => "a socket can only start to listen from CLOSED",
        (Listen, _) => "a listener never becomes a connection itself: its child does",
        (_, SynSent) => "only a closed socket can connect",
        (Close, _) => "a closed socket can only connect or listen",
        (_, Established) => "only a handshake leads to ESTABLISHED",
        (_, SynRecv) => "only a listener's child or a simultaneous open gets to SYN_RECV",
        (CloseWait | LastAck, _) => "the peer has closed: only our own close or an abort can follow",
        (_, _) => "no event of RFC 9293 leads from the one state to the other",
    }
}

/// Adds what one transition does to the number of sockets in each state.
///
/// A child socket appears as LISTEN → SYN_RECV while its listener goes on listening, so that edge takes nothing
/// from LISTEN.
pub fn apply(counts: &mut [i64; TcpState::COUNT], from: TcpState, to: TcpState, times: i64) {
    if !matches!((from, to), (Listen, SynRecv)) {
        counts[from.index()] -= times;
    }
    counts[to.index()] += times;
}

#[cfg(test)]
mod tests;
