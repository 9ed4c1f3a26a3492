//! A single socket, as a walk over all sockets tells of it. Never kept: there can be a million of them.

use std::net::SocketAddr;
use std::time::Duration;

use tcpwatch_common::TcpState;
use tcpwatch_common::host::Role;
use tcpwatch_common::socket::KERNEL_PID;

use super::Vitals;

/// One socket now; what is `None` is not known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SocketSample {
    /// Tells it from all others while it lives; not the kernel's address.
    pub id: Option<u64>,
    /// Inode number of the network namespace.
    pub netns: u64,
    /// As `ss` shows it; half-open requests are [`TcpState::NewSynRecv`].
    pub state: TcpState,
    /// IPv4 addresses of IPv6 sockets are IPv4 addresses here.
    pub local: SocketAddr,
    /// Port 0 if there is none.
    pub remote: SocketAddr,
    /// It is an IPv6 socket with IPv4 addresses.
    pub mapped: bool,
    /// It is an IPv6 socket, with IPv4 addresses or not.
    pub is_v6: bool,
    /// Time in the state; unknown for mini-sockets, and for sockets that have been in it for longer than tcpwatch runs.
    pub age: Option<Duration>,
    /// Time since birth.
    pub lifetime: Option<Duration>,
    /// Which side opened the connection; listeners have none.
    pub role: Option<Role>,
    /// Host pid of the owner; [`KERNEL_PID`] where that is the kernel itself.
    pub pid: Option<u32>,
    /// The user that it belongs to; not known once no process has it.
    pub uid: Option<u32>,
    /// By which descriptors of processes lead to it; `None` if none does.
    pub inode: Option<u64>,
    /// Bytes that the application has not read.
    pub recv_queue: Option<u64>,
    /// Bytes that the peer has not acknowledged, or that wait to be sent.
    pub send_queue: Option<u64>,
    pub retransmits: Option<u64>,
    pub rtt: Option<Duration>,
    pub keepalive: Option<bool>,
    /// Whether a process has taken it out of the accept queue.
    pub accepted: Option<bool>,
    /// What it waits for, whether it is about to be given up, what it has carried.
    pub vitals: Vitals,
}

impl SocketSample {
    /// A socket of which nothing else is known.
    pub fn new(netns: u64, state: TcpState, local: SocketAddr, remote: SocketAddr) -> Self {
        let mut socket = Self {
            id: None,
            netns,
            state,
            local,
            remote,
            mapped: false,
            is_v6: false,
            age: None,
            lifetime: None,
            role: None,
            pid: None,
            uid: None,
            inode: None,
            recv_queue: None,
            send_queue: None,
            retransmits: None,
            rtt: None,
            keepalive: None,
            accepted: None,
            vitals: Vitals::default(),
        };
        socket.set_ends(local, remote);
        socket
    }

    /// Whether the kernel itself has it, and no process.
    pub fn is_kernels(&self) -> bool {
        self.pid == Some(KERNEL_PID)
    }

    /// Sets both addresses, and what kind they are.
    pub fn set_ends(&mut self, local: SocketAddr, remote: SocketAddr) {
        let is_v4 = |end: SocketAddr| end.ip().to_canonical().is_ipv4();
        (self.local, self.remote) = (canonical(local), canonical(remote));
        self.mapped = (local.is_ipv6() && is_v4(local)) || (remote.is_ipv6() && is_v4(remote));
        self.is_v6 = local.is_ipv6() || remote.is_ipv6();
    }
}

fn canonical(end: SocketAddr) -> SocketAddr {
    SocketAddr::new(end.ip().to_canonical(), end.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_ipv4() {
        let end = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let socket = SocketSample::new(
            1,
            TcpState::Established,
            end("[::ffff:10.0.0.1]:80"),
            end("[::ffff:10.0.0.2]:9"),
        );
        assert_eq!((socket.local, socket.remote), (end("10.0.0.1:80"), end("10.0.0.2:9")));
        assert!(socket.mapped);
        let socket = SocketSample::new(1, TcpState::Established, end("10.0.0.1:80"), end("10.0.0.2:9"));
        assert!(!socket.mapped);
        let socket = SocketSample::new(1, TcpState::Listen, end("[::]:80"), end("[::]:0"));
        assert_eq!((socket.local, socket.mapped), (end("[::]:80"), false));
    }
}
