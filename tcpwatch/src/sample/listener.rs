//! Listening sockets: both queues with their limits, and what was dropped.

use std::net::SocketAddr;

/// One listening socket at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSample {
    /// Tells it from any other, and from a later one at the same address.
    pub id: u64,
    /// Inode number of its network namespace.
    pub netns: u64,
    pub local: SocketAddr,
    /// An IPv6 socket that takes IPv6 only.
    pub v6_only: bool,
    /// The process that called `listen()`, by its host pid.
    pub pid: Option<u32>,
    pub uid: Option<u32>,
    /// Connections that wait for `accept()`.
    pub accept_queue: u64,
    /// `min(backlog, somaxconn)` as it was when `listen()` was called; the queue is full when longer than this.
    pub accept_limit: u64,
    /// Half-open requests; `None` from a source that cannot tell.
    pub syn_queue: Option<u64>,
    /// Those of them whose SYN-ACK has not been sent again yet.
    pub young: Option<u64>,
    /// Requests whose last ACK was dropped because the accept queue was full, met when their SYN-ACK was sent again.
    pub stuck: Option<u64>,
    /// `sk_drops`: the kernel's own count of what was dropped at this socket. 32 bits in the kernel, so it wraps.
    pub drops: u32,
    /// SYN-ACKs sent again, ever since the programs run.
    pub synack_retransmits: u64,
}
