//! Sockets that std cannot make, and socket options it does not have. All in
//! the calling thread's network namespace.

use super::netlink::{self, Message};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketFlags, SocketType};
use rustix::net::{bind, connect, ipproto, listen as start_listening, sendto, socket_with, sockopt};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

/// Listens with a chosen backlog (the accept queue holds one more).
pub fn listen(addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    listen_with(ipproto::TCP, addr, backlog)
}

/// Listens beside others at one address (`SO_REUSEPORT`).
pub fn listen_sharing(addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let fd = socket(ipproto::TCP, addr)?;
    sockopt::set_socket_reuseport(&fd, true)?;
    bind(&fd, &addr)?;
    start_listening(&fd, backlog)?;
    Ok(fd.into())
}

/// Listens for MPTCP, which falls back to TCP for other clients.
pub fn mptcp_listen(addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    listen_with(ipproto::MPTCP, addr, backlog)
}

/// Connects with MPTCP.
pub fn mptcp_connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let fd = socket(ipproto::MPTCP, addr)?;
    connect(&fd, &addr)?;
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

/// A connection as one that was saved elsewhere is restored (`TCP_REPAIR`): no segment is sent.
pub fn restore(addr: SocketAddr) -> io::Result<TcpStream> {
    let fd = socket(ipproto::TCP, addr)?;
    let on = 1i32;
    // SAFETY: the fd is open and the value is an int that outlives the call.
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_REPAIR, (&raw const on).cast(), 4)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    connect(&fd, &addr)?;
    Ok(fd.into())
}

/// Connects and sends at once (TCP Fast Open). Data goes into the SYN if the
/// kernel has a cookie, or needs none (`net.ipv4.tcp_fastopen` bit 0x4).
pub fn fastopen_connect(addr: SocketAddr, data: &[u8]) -> io::Result<TcpStream> {
    let fd = socket(ipproto::TCP, addr)?;
    sendto(&fd, data, SendFlags::from_bits_retain(libc::MSG_FASTOPEN as u32), &addr)?;
    Ok(fd.into())
}

/// Lets a listening socket take data in a SYN, for up to `queue` connections
/// (`net.ipv4.tcp_fastopen` bit 0x2; with 0x200 no cookie is asked for).
pub fn fastopen_listener(fd: impl AsFd, queue: i32) -> io::Result<()> {
    // SAFETY: the fd is open and the value is an int that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN,
            (&raw const queue).cast(),
            4,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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

/// Turns on keepalive probes; times in whole seconds.
pub fn keepalive(fd: impl AsFd, idle: Duration, interval: Duration, count: u32) -> io::Result<()> {
    let fd = fd.as_fd();
    sockopt::set_tcp_keepidle(fd, idle)?;
    sockopt::set_tcp_keepintvl(fd, interval)?;
    sockopt::set_tcp_keepcnt(fd, count)?;
    Ok(sockopt::set_socket_keepalive(fd, true)?)
}

/// Sets how long sent data may stay unacknowledged.
pub fn user_timeout(fd: impl AsFd, timeout: Duration) -> io::Result<()> {
    let millis = u32::try_from(timeout.as_millis()).map_err(io::Error::other)?;
    Ok(sockopt::set_tcp_user_timeout(fd, millis)?)
}

/// The socket's state, as the kernel numbers them (see `states`).
pub fn state(fd: impl AsFd) -> io::Result<u8> {
    let mut state = 0u8; // the first field of struct tcp_info
    let mut len: libc::socklen_t = 1;
    // SAFETY: the fd is open, and the kernel writes at most `len` bytes to `state`.
    let result = unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).cast(),
            &raw mut len,
        )
    };
    if result == 0 { Ok(state) } else { Err(io::Error::last_os_error()) }
}

/// Destroys a socket by its addresses, as `ss -K` does. Any state will do,
/// but 5.10 does not support `TIME_WAIT` and orphan `FIN_WAIT2`. For a listener give a `remote` of 0.0.0.0:0 or [::]:0.
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

fn listen_with(protocol: Protocol, addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let fd = socket(protocol, addr)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    bind(&fd, &addr)?;
    start_listening(&fd, backlog)?;
    Ok(fd.into())
}

fn socket(protocol: Protocol, addr: SocketAddr) -> io::Result<OwnedFd> {
    Ok(socket_with(family(addr), SocketType::STREAM, SocketFlags::CLOEXEC, Some(protocol))?)
}

fn family(addr: SocketAddr) -> AddressFamily {
    if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}
