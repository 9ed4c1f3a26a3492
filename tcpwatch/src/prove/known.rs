//! Every legal transition, what makes a socket take it here, and which of them are the minimum.
//!
//! The minimum needs nothing but the loopback device and IPv4, so no kernel and no container has an excuse.

use tcpwatch_common::TcpState::{
    self, Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
};
use tcpwatch_common::cell;

/// One transition of the reference machine.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub from: TcpState,
    pub to: TcpState,
    /// What provokes it.
    pub how: &'static str,
    pub needs: Needs,
}

/// What it takes to provoke a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// It is a part of the minimum.
    Loopback,
    /// A peer behind a TUN device.
    Tun,
    /// A kernel that destroys sockets on demand (`CONFIG_INET_DIAG_DESTROY`).
    Destroy,
    /// No way is known.
    Unknown,
}

use Needs::{Destroy, Loopback, Tun, Unknown};

const fn known(from: TcpState, to: TcpState, how: &'static str, needs: Needs) -> Known {
    Known { from, to, how, needs }
}

/// In the order of the reference machine's edges.
pub const KNOWN: [Known; cell::EDGES] = [
    known(Close, Listen, "listen()", Loopback),
    known(Close, SynSent, "connect()", Loopback),
    known(Close, Close, "listener destroyed (netlink)", Destroy),
    known(SynSent, Established, "connect() answered", Loopback),
    known(SynSent, SynRecv, "self-connect, SYNs cross", Loopback),
    known(SynSent, Close, "connect() refused", Loopback),
    known(Listen, SynRecv, "client connects", Loopback),
    known(Listen, Close, "close() of the listener", Loopback),
    known(SynRecv, Established, "client connects", Loopback),
    known(SynRecv, FinWait1, "close() during a handshake", Tun),
    known(SynRecv, CloseWait, "FIN with the last ACK", Unknown),
    known(SynRecv, Close, "RST during a handshake", Tun),
    known(Established, FinWait1, "close() or shutdown()", Loopback),
    known(Established, CloseWait, "peer closes", Loopback),
    known(Established, Close, "abort, RST", Loopback),
    known(FinWait1, FinWait2, "FIN acknowledged", Loopback),
    known(FinWait1, Closing, "both sides close, FINs cross", Loopback),
    known(FinWait1, Close, "RST while the FIN waits", Loopback),
    known(FinWait1, FinWait1, "close() after shutdown()", Loopback),
    known(FinWait2, Close, "FIN, close() or RST", Loopback),
    known(FinWait2, FinWait2, "close() after shutdown()", Loopback),
    known(Closing, Close, "FIN acknowledged", Loopback),
    known(Closing, Closing, "close() after shutdown()", Loopback),
    known(CloseWait, LastAck, "close() or shutdown()", Loopback),
    known(CloseWait, Close, "abort (SO_LINGER 0)", Loopback),
    known(LastAck, Close, "FIN acknowledged", Loopback),
    known(LastAck, LastAck, "close() after shutdown()", Loopback),
];

/// The states that sockets are held in: all but CLOSE, which is in no table of the kernel's.
pub const HELD: [TcpState; 10] = [
    Established,
    SynSent,
    SynRecv,
    FinWait1,
    FinWait2,
    TcpState::TimeWait,
    CloseWait,
    LastAck,
    Listen,
    Closing,
];

#[cfg(test)]
mod tests {
    use tcpwatch_common::machine::EDGES;

    use super::*;

    #[test]
    fn every_edge_is_known_in_the_machines_order() {
        for (known, edge) in KNOWN.iter().zip(&EDGES) {
            assert_eq!((known.from, known.to), (edge.from, edge.to));
        }
    }

    /// Whoever takes one out of the minimum has to say so here as well.
    #[test]
    fn the_minimum_is_fixed() {
        let rest: Vec<_> = KNOWN.iter().filter(|known| known.needs != Loopback).collect();
        let rest: Vec<_> = rest.iter().map(|known| (known.from, known.to)).collect();
        let expected = [(Close, Close), (SynRecv, FinWait1), (SynRecv, CloseWait), (SynRecv, Close)];
        assert_eq!(rest, expected);
    }
}
