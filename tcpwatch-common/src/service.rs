//! What is added up at the end of each connection, by service: the record that the kernel side adds to.
//!
//! A connection ends when its socket goes to CLOSE from a state that only a connection gets to, so each is counted once,
//! whether it is closed, reset, or handed to a mini-socket, of which no event tells.

use crate::histogram::BUCKETS;
use crate::socket::{PASSIVE, ROLE_UNKNOWN};
use crate::state::TcpState;

/// Services that are told apart.
pub const SERVICES: u32 = 1024;

/// The slot that counts connections of services that have none of their own.
pub const OTHER: u32 = 0;

/// Slots: one for each service, and [`OTHER`].
pub const SLOTS: u32 = SERVICES + 1;

/// So many stay when user space has made room: the others are for services that are new at the next tick.
pub const KEPT: u32 = SERVICES / 8 * 7;

/// New services that a namespace may get between two ticks of user space: half of those.
pub const EACH: u64 = (SERVICES - KEPT) as u64 / 2;

/// Where the service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Side {
    /// On the other side: the connections were opened here. The port is the remote one.
    There = 0,
    /// Here: the connections came from a listener. The port is the local one.
    Here = 1,
    /// Nobody knows who opened the connections, as they are older than the programs or had no place in the table of
    /// sockets. There is no port, as it could be that of either side.
    Unknown = 2,
}

impl Side {
    pub const ALL: [Self; 3] = [Self::There, Self::Here, Self::Unknown];

    pub const fn name(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Here => "here",
            Self::Unknown => "unknown",
        }
    }
}

/// Which service a connection is of, in one word: the row of its namespace, the side and the port. Without branches, as
/// the kernel's verifier would walk what follows once for each way.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the kernel's verifier looks into calls once for each caller")]
pub const fn key(row: u32, flags: u8, local_port: u16, remote_port: u16) -> u64 {
    const { assert!(PASSIVE == 1 << 2 && ROLE_UNKNOWN == 1 << 3) };
    let unknown = (flags as u64 >> 3) & 1;
    let here = (flags as u64 >> 2) & (unknown ^ 1) & 1;
    let there = (unknown | here) ^ 1;
    let port = local_port as u64 * here + remote_port as u64 * there;
    (row as u64) << 32 | (unknown << 1 | here) << 16 | port
}

/// The row, side and port of a [`key`].
#[expect(clippy::cast_possible_truncation, reason = "each part is taken out of its own bits")]
pub const fn parts(key: u64) -> (u32, Side, u16) {
    let side = match key >> 16 & 3 {
        0 => Side::There,
        1 => Side::Here,
        _ => Side::Unknown,
    };
    ((key >> 32) as u32, side, key as u16)
}

/// The states that follow a handshake, a bit for each state's number: who leaves one of them for CLOSE was a connection.
pub const CONNECTED: u64 = FIN_QUEUED | 1 << TcpState::Established as u64 | 1 << TcpState::CloseWait as u64;

/// Those in which our FIN is among what has been written.
pub const FIN_QUEUED: u64 = 1 << TcpState::FinWait1 as u64
    | 1 << TcpState::FinWait2 as u64
    | 1 << TcpState::Closing as u64
    | 1 << TcpState::LastAck as u64;

/// Words of a slot: a histogram, then sums. What nearly every connection adds to is in one cache line.
pub mod word {
    use crate::histogram::BUCKETS;

    /// Connections by their lowest round-trip time: the first of the histogram's buckets.
    pub const RTT: usize = 0;
    /// Connections whose round-trip time was never measured.
    pub const RTT_UNKNOWN: usize = BUCKETS;
    pub const CONNECTIONS: usize = 48;
    /// Bytes of data that the peers acknowledged.
    pub const BYTES_OUT: usize = 49;
    /// Bytes of data received in order.
    pub const BYTES_IN: usize = 50;
    /// Segments with data that were sent, those sent again among them.
    pub const SEGMENTS: usize = 51;
    /// Segments sent again: data, SYNs, SYN-ACKs and FINs, as the kernel counts them in `RetransSegs`.
    pub const RETRANSMITTED: usize = 52;
    /// Connections that sent at least one segment again.
    pub const RETRANSMITTING: usize = 53;
    /// Ticks of the kernel with data that was not acknowledged: limited by nothing of the following.
    pub const BUSY: usize = 54;
    /// Ticks in which the peer's window kept data from being sent.
    pub const WINDOW: usize = 55;
    /// Ticks in which our send buffer was too small for more.
    pub const BUFFER: usize = 56;
    /// Words of a slot; a power of two, so that an index can be masked.
    pub const COUNT: usize = 64;
}

/// What is counted of one service.
pub type Words = [u64; word::COUNT];

const _: () = assert!(BUCKETS == 40 && word::RTT_UNKNOWN < word::CONNECTIONS && word::BUFFER < word::COUNT);

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use crate::socket::BIRTH_UNKNOWN;

    #[test]
    fn the_service_is_where_the_connection_was_accepted() {
        for (flags, expected) in [
            (0, (7, Side::There, 443)),
            (BIRTH_UNKNOWN, (7, Side::There, 443)),
            (PASSIVE, (7, Side::Here, 80)),
            (ROLE_UNKNOWN | BIRTH_UNKNOWN, (7, Side::Unknown, 0)),
            (ROLE_UNKNOWN | PASSIVE, (7, Side::Unknown, 0)),
        ] {
            assert_eq!(parts(key(7, flags, 80, 443)), expected, "{flags}");
        }
        assert_eq!(parts(key(0xffff, PASSIVE, 0xffff, 1)), (0xffff, Side::Here, 0xffff));
    }

    #[test]
    fn only_connections_end_as_such() {
        let ends: Vec<_> =
            TcpState::ALL.iter().filter(|state| CONNECTED >> **state as u64 & 1 == 1).collect();
        let names: Vec<_> = ends.iter().map(|state| state.name()).collect();
        assert_eq!(names, ["established", "fin_wait1", "fin_wait2", "close_wait", "last_ack", "closing"]);
    }
}
