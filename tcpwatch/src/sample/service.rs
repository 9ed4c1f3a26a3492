//! What was added up at the end of connections, by service.

use std::time::Duration;

use tcpwatch_common::histogram::BUCKETS;
pub use tcpwatch_common::service::Side;

/// The connections of one service that have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSample {
    /// Another whenever what is counted begins anew: a service that was idle may have made room for others.
    pub id: u64,
    /// Inode number of the network namespace; 0 for those that are counted together.
    pub netns: u64,
    pub side: Side,
    /// The local port of connections that were accepted here, the remote one of those opened here; 0 where it is not known
    /// who opened them.
    pub port: u16,
    pub ends: Ends,
}

/// Sums over connections that have ended; they only grow. What a kernel does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    pub connections: u64,
    /// Connections that sent at least one segment again.
    pub retransmitting: Option<u64>,
    /// Bytes of data that peers acknowledged.
    pub bytes_out: Option<u64>,
    /// Bytes of data that were received.
    pub bytes_in: Option<u64>,
    /// Segments with data that were sent, those that were sent again among them.
    pub segments: Option<u64>,
    /// Segments that were sent again; SYNs, SYN-ACKs and FINs among them.
    pub retransmitted: Option<u64>,
    pub limits: Option<SendLimits>,
    pub rtt: Option<Box<Rtts>>,
}

/// How long there was data to be sent, by what held it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendLimits {
    /// Neither of the following: the network, or congestion control.
    pub busy: Duration,
    /// The peer's receive window was full.
    pub window: Duration,
    /// Our send buffer was too small for more.
    pub buffer: Duration,
}

/// Connections by the lowest round-trip time that was measured on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtts {
    /// By the buckets of [`tcpwatch_common::histogram`].
    pub buckets: [u64; BUCKETS],
    /// Those on which none was measured.
    pub unknown: u64,
}
