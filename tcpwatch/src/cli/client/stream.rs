//! A connection with a deadline for everything that is done on it.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::Address;
use crate::host::local;

/// What the bytes go over.
#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection. After the deadline everything fails with [`io::ErrorKind::TimedOut`].
#[derive(Debug)]
pub(in crate::cli) struct Stream {
    socket: Socket,
    deadline: Instant,
}

impl Stream {
    pub(super) fn connect(address: &Address, within: Duration, deadline: Instant) -> io::Result<Self> {
        let socket = match address {
            Address::Unix(path) => Socket::Unix(local::connect_to(path, within)?),
            Address::Tcp { host, port, .. } => Socket::Tcp(connect_tcp(host, *port, within)?),
        };
        Ok(Self { socket, deadline })
    }

    /// How long the next step may take: never zero, which would mean for ever.
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

/// A name can have several addresses: the first that answers.
fn connect_tcp(host: &str, port: u16, within: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + within;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left()?;
        match &mut self.socket {
            Socket::Tcp(stream) => {
                stream.set_read_timeout(left)?;
                stream.read(buffer)
            }
            Socket::Unix(stream) => {
                stream.set_read_timeout(left)?;
                stream.read(buffer)
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let left = self.left()?;
        match &mut self.socket {
            Socket::Tcp(stream) => {
                stream.set_write_timeout(left)?;
                stream.write(buffer)
            }
            Socket::Unix(stream) => {
                stream.set_write_timeout(left)?;
                stream.write(buffer)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
