//! Sockets in groups: what a walk over all sockets of a namespace found, by owner, state, service and age.
//!
//! The kernel side sums up while it walks, so that this stays small however many sockets there are.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tcpwatch_common::TcpState;
use tcpwatch_common::host::Role;

/// What a source shall look for, and when it is worth a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How old a socket must be to count as aged, by [`TcpState::index`].
    pub aged_after: [Duration; TcpState::COUNT],
    /// Sockets in a state from which on a walk is made at once, by [`TcpState::index`].
    pub suspicious_from: [u64; TcpState::COUNT],
    /// See [`Trouble::NoKeepalive`].
    pub silent_after: Duration,
    /// See [`Trouble::Unacknowledged`].
    pub unacknowledged_after: Duration,
    /// See [`Trouble::PeerWindowZero`].
    pub stalled_after: Duration,
    /// Sockets in a namespace from which on ports toward single destinations are counted.
    pub tuples_from: u64,
}

impl Default for Plan {
    fn default() -> Self {
        let mut suspicious_from = [u64::MAX; TcpState::COUNT];
        for (state, count) in [
            (TcpState::CloseWait, 10),
            (TcpState::FinWait1, 10),
            (TcpState::Closing, 5),
            (TcpState::LastAck, 10),
            (TcpState::TimeWait, 1000),
        ] {
            suspicious_from[state.index()] = count;
        }
        Self {
            aged_after: [Duration::from_mins(1); TcpState::COUNT],
            suspicious_from,
            silent_after: Duration::from_mins(15),
            unacknowledged_after: Duration::from_secs(10),
            stalled_after: Duration::from_secs(10),
            tuples_from: 2000,
        }
    }
}

/// One walk over one namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    /// [`crate::sample::Sample::elapsed`] when it was taken.
    pub elapsed: Duration,
    pub groups: Vec<Group>,
    /// Heavily used ways to one destination; only looked for where many ephemeral ports are in use.
    pub tuples: Vec<Tuple>,
    /// Sockets that are in no group for want of room.
    pub folded: u64,
    /// How old a socket must be to count as aged in [`Group::aged`], by [`TcpState::index`].
    pub aged_after: [Duration; TcpState::COUNT],
}

/// Something wrong with a single established socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    #[default]
    None,
    /// Nothing came for long though there is data the peer has not acknowledged.
    Unacknowledged,
    /// Nothing came or went for long, and no keepalive will ever find out.
    NoKeepalive,
    /// The peer's window is closed: it does not read.
    PeerWindowZero,
    /// Our window is closed: the application here does not read.
    OwnWindowZero,
}

/// Sockets that are alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// As `ss` shows it; half-open requests are [`TcpState::NewSynRecv`].
    pub state: TcpState,
    /// The owner's host pid; `None` if it is not known.
    pub pid: Option<u32>,
    /// `None` if it is not known which side opened the connections.
    pub role: Option<Role>,
    /// The id of the cgroup that they were made in, where the kernel side knows no process; see
    /// [`crate::sample::Sample::cgroups`].
    pub cgroup: Option<u32>,
    /// The service: the local port of passive sockets, the remote one of active ones.
    pub port: u16,
    /// No process has it: still in the accept queue.
    pub never_accepted: bool,
    /// Closed by its process; the kernel finishes the connection.
    pub orphan: bool,
    pub trouble: Trouble,
    pub count: u64,
    /// Those in their state for at least [`Survey::aged_after`].
    pub aged: u64,
    /// Those whose time in their state is not known (older than the daemon); not among the aged.
    pub unknown_age: u64,
    /// The longest known time in the state.
    pub oldest: Duration,
    /// Bytes received that the application has not read.
    pub unread_bytes: u64,
    /// Sockets with such bytes.
    pub unread: u64,
    /// Bytes sent that the peer has not acknowledged, or that wait to be sent.
    pub unsent_bytes: u64,
    /// The kernel's memory that they have; `None` for mini-sockets, and where it is not known.
    pub memory: Option<Memory>,
    /// The oldest of them, as an example.
    pub example: Example,
}

/// Bytes of the kernel's memory that sockets have, as `ss -m` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What waits to be sent or acknowledged (`w`).
    pub send: u64,
    /// What has been received and not read (`r`).
    pub receive: u64,
    /// What is set aside for more (`f`).
    pub reserved: u64,
}

impl Memory {
    pub const fn total(self) -> u64 {
        self.send.saturating_add(self.receive).saturating_add(self.reserved)
    }

    /// Adds what other sockets have.
    pub const fn add(&mut self, other: Self) {
        self.send = self.send.saturating_add(other.send);
        self.receive = self.receive.saturating_add(other.receive);
        self.reserved = self.reserved.saturating_add(other.reserved);
    }
}

/// The two ends of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

/// Local ports in use from one address to one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuple {
    pub local: IpAddr,
    pub remote: SocketAddr,
    /// Ports in use, TIME_WAIT among them.
    pub used: u64,
    pub time_wait: u64,
}
