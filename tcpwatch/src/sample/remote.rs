//! What went wrong with a remote end: retransmits, resets and failed connects, since the programs run.
//!
//! Held by the kernel side in fixed memory; remotes that nothing happened to for long make room for others.

use std::net::IpAddr;

use tcpwatch_common::failure::ConnectFailure;

/// One remote address and service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSample {
    /// Inode number of the network namespace.
    pub netns: u64,
    pub address: IpAddr,
    /// The service: the remote port of connections opened here, the local one of those opened there.
    pub port: u16,
    /// Whether the service is here, and the remote is its client.
    pub is_client: bool,
    /// The process that met it last, by its host pid.
    pub pid: Option<u32>,
    pub counts: RemoteCounts,
}

/// What happened with the remotes of one process, or with the clients of one service, that have no entry of their own: who
/// meets very many must not push the entries of others out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldedSample {
    /// Inode number of the network namespace.
    pub netns: u64,
    /// The service here whose clients these are; `None` if a process reached them.
    pub service: Option<u16>,
    /// The process that reached them, by its host pid; `None` if it is not known.
    pub pid: Option<u32>,
    pub counts: RemoteCounts,
}

/// Counters of one remote; they only grow while it is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoteCounts {
    /// Data sent again after a timeout.
    pub timeout: u64,
    /// Data sent again after duplicate ACKs.
    pub fast: u64,
    /// Tail loss probes.
    pub probe: u64,
    /// Data sent again where the kernel does not tell why.
    pub other: u64,
    pub syn: u64,
    pub synack: u64,
    pub resets_sent: u64,
    pub resets_received: u64,
    /// By [`ConnectFailure`] as its number.
    pub failures: [u64; ConnectFailure::COUNT],
}

impl RemoteCounts {
    /// Data segments sent again, for whatever reason.
    pub fn data(&self) -> u64 {
        self.timeout + self.fast + self.probe + self.other
    }
}
