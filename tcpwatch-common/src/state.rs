//! The TCP states, numbered as the kernel numbers them.
//!
//! `include/net/tcp_states.h` fixes the numbers, and the kernel asserts at build time that BPF sees the same
//! ones, so they are safe to share between every supported kernel.

/// A TCP state. The discriminant is the kernel's own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TcpState {
    Established = 1,
    SynSent = 2,
    SynRecv = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    Close = 7,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,
    /// Linux' own: a half-open request, kept as a mini-socket beside its listener.
    NewSynRecv = 12,
    /// Linux' own: a label that `sock_diag` gives to bound but unconnected sockets, never stored in one.
    BoundInactive = 13,
}

use TcpState as S;

impl TcpState {
    /// How many states there are; arrays indexed by [`TcpState::index`] have this length.
    pub const COUNT: usize = 13;

    /// Every state, in the kernel's order.
    pub const ALL: [Self; Self::COUNT] = [
        S::Established,
        S::SynSent,
        S::SynRecv,
        S::FinWait1,
        S::FinWait2,
        S::TimeWait,
        S::Close,
        S::CloseWait,
        S::LastAck,
        S::Listen,
        S::Closing,
        S::NewSynRecv,
        S::BoundInactive,
    ];

    /// The eleven states of RFC 9293, in the order in which tcpwatch shows them.
    pub const RFC: [Self; 11] = [
        S::Established,
        S::SynSent,
        S::SynRecv,
        S::FinWait1,
        S::FinWait2,
        S::TimeWait,
        S::Close,
        S::CloseWait,
        S::LastAck,
        S::Listen,
        S::Closing,
    ];

    /// The state with the kernel's number `raw`, if there is one.
    pub const fn from_kernel(raw: u32) -> Option<Self> {
        // Spelled out: an array access would bring a bounds check's panic into the eBPF programs.
        Some(match raw {
            1 => S::Established,
            2 => S::SynSent,
            3 => S::SynRecv,
            4 => S::FinWait1,
            5 => S::FinWait2,
            6 => S::TimeWait,
            7 => S::Close,
            8 => S::CloseWait,
            9 => S::LastAck,
            10 => S::Listen,
            11 => S::Closing,
            12 => S::NewSynRecv,
            13 => S::BoundInactive,
            _ => return None,
        })
    }

    /// Position in arrays of length [`TcpState::COUNT`].
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// The name in metrics, JSON and on the terminal; the strings that dashboards already use.
    pub const fn name(self) -> &'static str {
        match self {
            S::Established => "established",
            S::SynSent => "syn_sent",
            S::SynRecv => "syn_recv",
            S::FinWait1 => "fin_wait1",
            S::FinWait2 => "fin_wait2",
            S::TimeWait => "time_wait",
            S::Close => "close",
            S::CloseWait => "close_wait",
            S::LastAck => "last_ack",
            S::Listen => "listen",
            S::Closing => "closing",
            S::NewSynRecv => "new_syn_recv",
            S::BoundInactive => "bound_inactive",
        }
    }

    /// The state people mean by `text`: any case, `-` for `_`, and the spellings of `ss` and `netstat`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut buffer = [0u8; 16];
        let mut length = 0;
        for byte in text.bytes().filter(|byte| !matches!(byte, b'-' | b'_')) {
            *buffer.get_mut(length)? = byte.to_ascii_lowercase();
            length += 1;
        }
        Some(match buffer.get(..length)? {
            b"established" | b"estab" => S::Established,
            b"synsent" => S::SynSent,
            b"synrecv" | b"synrcvd" | b"synreceived" => S::SynRecv,
            b"finwait1" => S::FinWait1,
            b"finwait2" => S::FinWait2,
            b"timewait" => S::TimeWait,
            b"close" | b"closed" | b"unconn" => S::Close,
            b"closewait" => S::CloseWait,
            b"lastack" => S::LastAck,
            b"listen" | b"listening" => S::Listen,
            b"closing" => S::Closing,
            b"newsynrecv" => S::NewSynRecv,
            b"boundinactive" => S::BoundInactive,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_and_nothing_else_is_a_state() {
        for state in TcpState::ALL {
            assert_eq!(TcpState::from_kernel(state as u32), Some(state));
            assert_eq!(TcpState::ALL[state.index()], state);
        }
        for raw in [0, 14, 255, u32::MAX] {
            assert_eq!(TcpState::from_kernel(raw), None);
        }
    }

    #[test]
    fn names_parse_as_people_type_them() {
        for state in TcpState::ALL {
            assert_eq!(TcpState::parse(state.name()), Some(state));
        }
        for (text, state) in [
            ("ESTAB", S::Established),
            ("FIN-WAIT-1", S::FinWait1),
            ("CLOSE_WAIT", S::CloseWait),
            ("syn-recv", S::SynRecv),
            ("TIME-WAIT", S::TimeWait),
        ] {
            assert_eq!(TcpState::parse(text), Some(state), "{text}");
        }
        for text in ["", "estab lished", "a very long text that is no state"] {
            assert_eq!(TcpState::parse(text), None, "{text}");
        }
    }
}
