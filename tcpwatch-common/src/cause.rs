//! Why a connection ended, derived from what the kernel left on the socket at that moment.
//!
//! The transition to CLOSE looks the same for a clean close and for a reset. `sk_err`, two socket flags and
//! whether unread data was thrown away tell them apart; the rules are those of `tcp_reset`, `tcp_write_err`,
//! `tcp_abort`, `__tcp_close` and `tcp_time_wait` in Linux 5.8 to 6.18.

use crate::cell;
use crate::state::TcpState;

/// Why a socket went to CLOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Cause {
    /// The regular end: both FINs exchanged or the rest handed to a mini-socket, a listener closed, a socket closed
    /// again.
    Closed = 0,
    /// The peer sent RST (or data came for a reader that was gone, which the kernel treats alike).
    ResetReceived = 1,
    /// The kernel reset the peer on the application's behalf: it closed with unread data.
    ResetSent = 2,
    /// Retransmissions, keepalive or the user timeout gave up.
    Timeout = 3,
    /// Nobody listens at the peer's port.
    Refused = 4,
    /// The application threw the connection away: linger 0, disconnect, close before the handshake ended, or a
    /// listener closed with it still in its queue.
    Aborted = 5,
    /// An administrator destroyed the socket (`ss -K`).
    Killed = 6,
    /// ICMP said that the host or network cannot be reached.
    Unreachable = 7,
}

/// What the kernel side reads from a socket that goes to CLOSE.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ending {
    /// `sk_err`, 0 if none.
    pub error: u32,
    /// `SOCK_DONE`: the peer's FIN has been processed.
    pub done: bool,
    /// Received data was never read by the application.
    pub unread: bool,
    /// `SOCK_DEAD`: no process has the socket any more, and it may go on as a mini-socket.
    pub orphan: bool,
}

impl Ending {
    /// Whether unread data would tell something: the socket was closed by force in a state in which it can receive.
    pub const fn may_be_unread(self, from: TcpState) -> bool {
        self.error == 0
            && match from {
                TcpState::SynRecv | TcpState::Established | TcpState::CloseWait | TcpState::FinWait1 => true,
                TcpState::FinWait2 => !self.orphan && !self.done,
                _ => false,
            }
    }
}

const EPIPE: u32 = 32;
const ECONNABORTED: u32 = 103;
const ECONNRESET: u32 = 104;
const ETIMEDOUT: u32 = 110;
const ECONNREFUSED: u32 = 111;

impl Cause {
    pub const COUNT: usize = 8;

    pub const ALL: [Self; Self::COUNT] = [
        Self::Closed,
        Self::ResetReceived,
        Self::ResetSent,
        Self::Timeout,
        Self::Refused,
        Self::Aborted,
        Self::Killed,
        Self::Unreachable,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ResetReceived => "reset_received",
            Self::ResetSent => "reset_sent",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Aborted => "aborted",
            Self::Killed => "killed",
            Self::Unreachable => "unreachable",
        }
    }

    pub const fn from_raw(raw: u8) -> Option<Self> {
        if (raw as usize) < Self::COUNT { Some(Self::ALL[raw as usize]) } else { None }
    }

    /// The cause of the transition `from` → CLOSE.
    pub const fn derive(from: TcpState, ending: Ending) -> Self {
        match ending.error {
            0 => Self::without_error(from, ending),
            ECONNREFUSED => Self::Refused,
            ETIMEDOUT => Self::Timeout,
            ECONNABORTED => Self::Killed,
            ECONNRESET | EPIPE => Self::ResetReceived,
            // ICMP: host or network unreachable, and rarer ones such as protocol unreachable.
            _ => Self::Unreachable,
        }
    }

    const fn without_error(from: TcpState, ending: Ending) -> Self {
        match from {
            // Handed to a mini-socket, which takes an orphan or the peer's FIN; else closed by force.
            TcpState::FinWait2 if ending.orphan || ending.done => Self::Closed,
            TcpState::Closing | TcpState::LastAck | TcpState::Listen | TcpState::Close => Self::Closed,
            _ if ending.unread => Self::ResetSent,
            _ => Self::Aborted,
        }
    }

    /// Whether FIN_WAIT2 or CLOSING → CLOSE made a TIME_WAIT mini-socket.
    pub const fn is_time_wait(from: TcpState, ending: Ending) -> bool {
        matches!(from, TcpState::FinWait2 | TcpState::Closing) && ending.error == 0 && ending.done
    }

    /// Whether FIN_WAIT2 → CLOSE made a FIN_WAIT2 mini-socket.
    pub const fn is_orphan_fin_wait2(from: TcpState, ending: Ending) -> bool {
        matches!(from, TcpState::FinWait2) && ending.error == 0 && !ending.done && ending.orphan
    }
}

/// What the kernel side does for an ending, by [`ending_index`]: the [`Cause`] in the three lowest bits, above it the cell
/// that is counted beside the edge's own; 0 is none.
///
/// A table, as the comparisons of [`Cause::derive`] would each double the paths that the kernel's verifier walks.
pub static ENDINGS: [u8; ENDING_COUNT] = {
    let mut table = [0; ENDING_COUNT];
    let mut from = 1;
    while from <= TcpState::COUNT {
        let mut class = 0;
        while class < ERRORS.len() {
            let mut bits = 0;
            while bits < 16 {
                let place = ending_place(from, class, bits);
                #[expect(clippy::cast_possible_truncation, reason = "they are four")]
                let found = bits as u8;
                table[place] = ending_entry(TcpState::ALL[from - 1], ERRORS[class], found);
                bits += 1;
            }
            class += 1;
        }
        from += 1;
    }
    table
};

/// Bits of an index that say how an ending was found: the first two are the socket's own flags.
pub mod found {
    /// `SOCK_DEAD`
    pub const ORPHAN: u8 = 1;
    /// `SOCK_DONE`
    pub const DONE: u8 = 2;
    /// There is data that was received and not read.
    pub const UNREAD: u8 = 4;
    /// `TCP_LINGER2` is negative, which forbids the `FIN_WAIT2` mini-socket: an orphan is then closed by force.
    pub const NO_LINGER: u8 = 8;
}

/// One error of each class; the last one stands for all others.
const ERRORS: [u32; 6] = [0, ECONNREFUSED, ETIMEDOUT, ECONNABORTED, ECONNRESET, u32::MAX];

/// The class of an error by its lowest bits.
#[expect(clippy::cast_possible_truncation, reason = "there are six classes")]
static CLASS_BY_ERROR: [u8; 256] = {
    let mut table = [ERRORS.len() as u8 - 1; 256];
    let mut class = 0;
    while class < ERRORS.len() - 1 {
        table[ERRORS[class] as usize] = class as u8;
        class += 1;
    }
    table[EPIPE as usize] = table[ECONNRESET as usize];
    table
};

/// Length of [`ENDINGS`].
pub const ENDING_COUNT: usize = 16 * 8 * 16;

const fn ending_place(from: usize, class: usize, bits: usize) -> usize {
    (from & 15) << 7 | (class & 7) << 4 | (bits & 15)
}

/// Where [`ENDINGS`] says what it means that a socket goes from the kernel's state `from` to CLOSE. No error of the
/// kernel's is above 255.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the kernel's verifier looks into calls once for each caller")]
pub fn ending_index(from: u64, error: u32, found: u8) -> usize {
    let class = CLASS_BY_ERROR[(error & 255) as usize];
    // Added and not combined: verifiers before Linux 6.8 would lose the bounds of the result.
    ((from & 15) as usize) * 128 + usize::from(class & 7) * 16 + usize::from(found & 15)
}

#[expect(clippy::cast_possible_truncation, reason = "a row has 32 cells")]
const fn ending_entry(from: TcpState, error: u32, bits: u8) -> u8 {
    let may_linger = bits & found::NO_LINGER == 0 || !matches!(from, TcpState::FinWait2);
    let mut ending = Ending {
        error,
        done: bits & found::DONE != 0,
        unread: false,
        orphan: bits & found::ORPHAN != 0 && may_linger,
    };
    ending.unread = bits & found::UNREAD != 0 && ending.may_be_unread(from);
    let cell = if Cause::is_time_wait(from, ending) {
        cell::TIME_WAIT_ENTERED
    } else if Cause::is_orphan_fin_wait2(from, ending) {
        cell::FIN_WAIT2_ORPHANED
    } else {
        match from {
            TcpState::SynSent if error == 0 => cell::CONNECT_GIVEN_UP,
            TcpState::SynRecv if error != 0 || ending.orphan => cell::SYN_RECV_FAILED,
            _ => 0,
        }
    };
    Cause::derive(from, ending) as u8 | (cell as u8) << 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use TcpState::{CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent};

    fn cause(from: TcpState, error: u32) -> Cause {
        Cause::derive(from, Ending { error, ..Ending::default() })
    }

    #[test]
    fn the_error_on_the_socket_decides() {
        for (from, error, expected) in [
            (SynSent, 111, Cause::Refused),
            (SynSent, 110, Cause::Timeout),
            (SynSent, 113, Cause::Unreachable),
            (SynSent, 0, Cause::Aborted),
            (SynRecv, 104, Cause::ResetReceived),
            (Established, 104, Cause::ResetReceived),
            (Established, 110, Cause::Timeout),
            (Established, 103, Cause::Killed),
            (Established, 0, Cause::Aborted),
            (CloseWait, 32, Cause::ResetReceived),
            (FinWait1, 104, Cause::ResetReceived),
            (FinWait2, 0, Cause::Aborted),
            (LastAck, 0, Cause::Closed),
            (Listen, 0, Cause::Closed),
            (Listen, 103, Cause::Killed),
        ] {
            assert_eq!(cause(from, error), expected, "{from:?} {error}");
        }
    }

    #[test]
    fn unread_data_at_close_resets_the_peer() {
        let ending = Ending { unread: true, ..Ending::default() };
        assert_eq!(Cause::derive(Established, ending), Cause::ResetSent);
        assert_eq!(Cause::derive(CloseWait, ending), Cause::ResetSent);
        assert_eq!(Cause::derive(FinWait2, ending), Cause::ResetSent);
        assert_eq!(Cause::derive(FinWait2, Ending { orphan: true, ..ending }), Cause::Closed);
        assert_eq!(Cause::derive(LastAck, ending), Cause::Closed);
    }

    #[test]
    fn mini_sockets_are_told_apart_by_the_peers_fin() {
        let done = Ending { done: true, ..Ending::default() };
        let open = Ending { orphan: true, ..Ending::default() };
        assert!(Cause::is_time_wait(FinWait2, done) && !Cause::is_orphan_fin_wait2(FinWait2, done));
        assert!(!Cause::is_time_wait(FinWait2, open) && Cause::is_orphan_fin_wait2(FinWait2, open));
        assert!(Cause::is_time_wait(TcpState::Closing, done));
        let forced = Ending::default();
        assert!(!Cause::is_time_wait(FinWait2, forced) && !Cause::is_orphan_fin_wait2(FinWait2, forced));
        let reset = Ending { error: 104, done: true, ..Ending::default() };
        assert!(!Cause::is_time_wait(FinWait2, reset));
    }

    #[test]
    fn the_table_says_the_same() {
        for from in TcpState::ALL {
            for error in 0..256 {
                for bits in 0..16 {
                    let entry = ENDINGS[ending_index(from as u64, error, bits)];
                    assert_eq!(entry, ending_entry(from, error, bits), "{from:?} {error} {bits}");
                }
            }
        }
        let entry = |from, error, bits| ENDINGS[ending_index(from as u64, error, bits)];
        let expect = |cause: Cause, cell: usize| cause as u8 | u8::try_from(cell).expect("32 cells") << 3;
        assert_eq!(entry(FinWait2, 0, found::ORPHAN), expect(Cause::Closed, cell::FIN_WAIT2_ORPHANED));
        assert_eq!(entry(FinWait2, 0, found::ORPHAN | found::NO_LINGER), expect(Cause::Aborted, 0));
        assert_eq!(entry(FinWait2, 0, found::DONE), expect(Cause::Closed, cell::TIME_WAIT_ENTERED));
        assert_eq!(entry(Established, 0, found::UNREAD), expect(Cause::ResetSent, 0));
        assert_eq!(entry(SynSent, 111, 0), expect(Cause::Refused, 0));
        assert_eq!(entry(SynSent, 0, 0), expect(Cause::Aborted, cell::CONNECT_GIVEN_UP));
        assert_eq!(entry(SynRecv, 0, found::ORPHAN), expect(Cause::Aborted, cell::SYN_RECV_FAILED));
    }

    #[test]
    fn raw_numbers_are_checked() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_raw(cause as u8), Some(cause));
        }
        assert_eq!(Cause::from_raw(8), None);
    }
}
