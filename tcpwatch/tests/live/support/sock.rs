//! Sockets that std cannot make, and socket options it does not have: those of `tcpwatch::lab`, and what only tests
//! need. All in the calling thread's network namespace.

use rustix::net::{Protocol, SendFlags};
use rustix::net::{bind, connect, ipproto, listen as start_listening, sendto, sockopt};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use tcpwatch::lab::sock::socket;
pub use tcpwatch::lab::sock::{accept, bind_connect, connect_start, destroy, linger_zero, listen};

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

fn listen_with(protocol: Protocol, addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let fd = socket(protocol, addr)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    bind(&fd, &addr)?;
    start_listening(&fd, backlog)?;
    Ok(fd.into())
}
