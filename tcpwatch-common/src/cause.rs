//! Why a connection ended, derived from what the kernel left on the socket at that moment.
//!
//! The transition to CLOSE looks the same for a clean close and for a reset. `sk_err`, two socket flags and
//! whether unread data was thrown away tell them apart; the rules are those of `tcp_reset`, `tcp_write_err`,
//! `tcp_abort`, `__tcp_close` and `tcp_time_wait` in Linux 5.8 to 6.18.

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
    fn raw_numbers_are_checked() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_raw(cause as u8), Some(cause));
        }
        assert_eq!(Cause::from_raw(8), None);
    }
}
