//! Lists the TCP sockets of the calling thread's network namespace.
//!
//! Uses netlink socket diagnosis, many times cheaper per socket than
//! `/proc/net/tcp`. The kernel walks the whole established hash once per family
//! whatever the namespace holds (milliseconds), unless only listeners are asked
//! for (microseconds). Where it is absent ([`DiagError::Unsupported`]), the
//! `proc_net` module counts from `/proc` instead.

use super::diag_wire::{self, AF_INET, AF_INET6};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// Mask of all states a socket in the kernel's tables can have, 1 to 11.
pub const ALL_STATES: u32 = 0x0ffe;

/// The size up to which the kernel fills one datagram.
const BUFFER: usize = 32 * 1024;

/// Why the sockets could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum DiagError {
    /// No netlink, no `inet_diag` or no `tcp_diag`.
    #[error(
        "the kernel cannot list TCP sockets over netlink: {source}; they are counted from \
         /proc/net/tcp instead, which is slower (load the tcp_diag module to avoid that)"
    )]
    Unsupported { source: io::Error },
    /// The kernel answered with an error.
    #[error(
        "the kernel refused to list TCP sockets over netlink: {source}; \
         the socket counts of this network namespace are missing"
    )]
    Refused { source: io::Error },
    #[error(
        "cannot {what} the netlink socket for listing TCP sockets: {source}; \
         the socket counts of this network namespace are missing"
    )]
    Socket { what: &'static str, source: io::Error },
    /// The answer breaks the protocol.
    #[error(
        "cannot understand the kernel's list of TCP sockets, byte {at} of a datagram: {problem}; \
         please report it with the kernel version"
    )]
    Malformed { at: usize, problem: &'static str },
}

/// One TCP socket as the kernel reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiagSocket {
    /// 2 for IPv4, 10 for IPv6.
    pub family: u8,
    /// The kernel's number. Half-open requests are 3 (`SYN_RECV`); a closed
    /// socket in `FIN_WAIT2` is 5 though the kernel holds it as a `TIME_WAIT`.
    pub state: u8,
    /// Running timer: 1 retransmit, 2 keepalive, 3 `TIME_WAIT`, 4 zero window probe.
    pub timer: u8,
    pub retransmits: u8,
    pub local: SocketAddr,
    /// IPv4 peers of an IPv6 socket stay `::ffff:a.b.c.d`.
    pub remote: SocketAddr,
    pub cookie: u64,
    /// Time until `timer` fires.
    pub expires_ms: u32,
    /// Of a listener: connections waiting for `accept()`.
    pub rqueue: u32,
    /// Of a listener: the limit of `rqueue`.
    pub wqueue: u32,
    pub uid: u32,
    /// 0 for a socket no file refers to.
    pub inode: u32,
}

/// How a dump went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dumped {
    /// The kernel says the table changed so that entries may lack or come twice.
    pub interrupted: bool,
}

/// Hands every TCP socket, IPv4 and IPv6, in a state of the mask (bit = state
/// number) to `each`. The table is not frozen: it changes while it is read.
pub fn dump(states: u32, mut each: impl FnMut(&DiagSocket)) -> Result<Dumped, DiagError> {
    let socket = open()?;
    let mut buffer = vec![0; BUFFER];
    let mut dumped = Dumped::default();
    for (family, seq) in [(AF_INET, 1), (AF_INET6, 2)] {
        let request = diag_wire::request(family, states, seq);
        retry_on_intr(|| send(&socket, &request, SendFlags::empty())).map_err(at("write to"))?;
        loop {
            // TRUNC makes it return the real length, so that a cut shows.
            let (_, len) = retry_on_intr(|| recv(&socket, &mut buffer[..], RecvFlags::TRUNC))
                .map_err(at("read from"))?;
            let datagram = buffer
                .get(..len)
                .ok_or(DiagError::Malformed { at: BUFFER, problem: "it is longer than the buffer" })?;
            let progress = diag_wire::read(datagram, seq, &mut each)?;
            dumped.interrupted |= progress.interrupted;
            if progress.done {
                break;
            }
        }
    }
    Ok(dumped)
}

/// Counts the TCP sockets by state; the index is the kernel's state number.
pub fn count_states() -> Result<[u64; 13], DiagError> {
    let mut counts = [0; 13];
    dump(ALL_STATES, |socket| {
        if let Some(count) = counts.get_mut(usize::from(socket.state)) {
            *count += 1;
        }
    })?;
    Ok(counts)
}

/// A netlink socket connected to the kernel, which keeps other senders out.
fn open() -> Result<OwnedFd, DiagError> {
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(SOCK_DIAG))
            .map_err(|errno| match errno {
                Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => DiagError::Unsupported { source: errno.into() },
                _ => at("open")(errno),
            })?;
    connect(&socket, &SocketAddrNetlink::new(0, 0)).map_err(at("connect"))?;
    Ok(socket)
}

fn at(what: &'static str) -> impl Fn(Errno) -> DiagError {
    move |errno| DiagError::Socket { what, source: errno.into() }
}

#[cfg(test)]
#[path = "diag_tests.rs"]
mod tests;
