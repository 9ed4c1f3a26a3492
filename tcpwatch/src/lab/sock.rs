//! Sockets that std cannot make, and what std cannot do with them. All in the calling thread's network namespace.

use super::netlink::{self, Message};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType};
use rustix::net::{bind, connect, ipproto, listen as start_listening, socket_with, sockopt};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Listens with a chosen backlog (the accept queue holds one more).
pub fn listen(addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let fd = socket(ipproto::TCP, addr)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    bind(&fd, &addr)?;
    start_listening(&fd, backlog)?;
    Ok(fd.into())
}

/// Connects from a chosen address and port; to the same one, it is a self-connect.
pub fn bind_connect(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let fd = socket(ipproto::TCP, remote)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    bind(&fd, &local)?;
    connect(&fd, &remote)?;
    Ok(fd.into())
}

/// Begins to connect and does not wait. The stream is left non-blocking.
pub fn connect_start(addr: SocketAddr) -> io::Result<TcpStream> {
    let fd = socket(ipproto::TCP, addr)?;
    let stream = TcpStream::from(fd);
    stream.set_nonblocking(true)?;
    match connect(&stream, &addr) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(stream),
        Err(e) => Err(e.into()),
    }
}

/// Connects within `timeout`; `prepare` is given the socket before. The stream is left non-blocking.
pub fn connect_within(
    addr: SocketAddr,
    timeout: Duration,
    prepare: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
) -> io::Result<TcpStream> {
    let stream = TcpStream::from(socket(ipproto::TCP, addr)?);
    prepare(stream.as_fd())?;
    stream.set_nonblocking(true)?;
    match connect(&stream, &addr) {
        Ok(()) => return Ok(stream),
        Err(Errno::INPROGRESS) => {}
        Err(e) => return Err(e.into()),
    }
    let time = Timespec::try_from(timeout).map_err(io::Error::other)?;
    if retry_on_intr(|| poll(&mut [PollFd::new(&stream, PollFlags::OUT)], Some(&time)))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

/// Gives a socket, or the sockets that a listener will accept, the smallest receive buffer. It fixes the window too, so
/// it must come before the connection.
pub fn narrow(fd: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_recv_buffer_size(fd, 1)?)
}

/// Accepts one connection within `timeout`.
pub fn accept(listener: &TcpListener, timeout: Duration) -> io::Result<(TcpStream, SocketAddr)> {
    let time = Timespec::try_from(timeout).map_err(io::Error::other)?;
    let ready = retry_on_intr(|| poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&time)))?;
    if ready == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    listener.accept()
}

/// Makes `close()` send a reset.
pub fn linger_zero(fd: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(fd, Some(Duration::ZERO))?)
}

/// Destroys a socket by its addresses, as `ss -K` does. Any state will do,
/// but 5.10 does not support `TIME_WAIT` and orphan `FIN_WAIT2`. For a listener give a `remote` of `0.0.0.0:0` or `[::]:0`.
/// A v4 connection of a dual-stack server is found by its IPv4 addresses.
pub fn destroy(local: SocketAddr, remote: SocketAddr) -> io::Result<()> {
    const SOCK_DESTROY: u16 = 21;
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    const IPPROTO_TCP: u8 = 6;
    // struct inet_diag_req_v2: family, protocol, extensions, padding, states
    let mut body = vec![if local.is_ipv4() { AF_INET } else { AF_INET6 }, IPPROTO_TCP, 0, 0];
    body.extend(u32::MAX.to_ne_bytes());
    // struct inet_diag_sockid: ports, addresses, interface, cookie (all ones: any)
    body.extend(local.port().to_be_bytes());
    body.extend(remote.port().to_be_bytes());
    body.extend(address(local));
    body.extend(address(remote));
    body.extend(0u32.to_ne_bytes());
    body.extend(u64::MAX.to_ne_bytes());
    netlink::request(Some(rustix::net::netlink::SOCK_DIAG), Message::new(SOCK_DESTROY, 0, &body))
}

/// An address in the 16 bytes that `sock_diag` has for it.
fn address(addr: SocketAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match addr.ip() {
        IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes = ip.octets(),
    }
    bytes
}

/// A TCP or MPTCP socket for addresses of this family.
pub fn socket(protocol: Protocol, addr: SocketAddr) -> io::Result<OwnedFd> {
    Ok(socket_with(family(addr), SocketType::STREAM, SocketFlags::CLOEXEC, Some(protocol))?)
}

fn family(addr: SocketAddr) -> AddressFamily {
    if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}
