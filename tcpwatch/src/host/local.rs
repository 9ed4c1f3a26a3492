//! Connects to a Unix socket without waiting for ever: a listener that does not accept any more blocks who connects.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// The kernel tells nobody when there is room in the queue of a Unix listener.
const AGAIN: Duration = Duration::from_millis(20);

/// A blocking stream to the listener at `path`. If its queue is full for so long: [`io::ErrorKind::WouldBlock`].
pub fn connect_to(path: &Path, within: Duration) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let deadline = Instant::now() + within;
    loop {
        // Not the same again: the kernel may leave a socket half connected.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        match connect(&socket, &address) {
            Ok(()) => {
                let stream = UnixStream::from(socket);
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(Errno::AGAIN | Errno::INTR) if Instant::now() < deadline => thread::sleep(AGAIN),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_full_queue_ends_the_patience() {
        let path = std::env::temp_dir().join(format!("tcpwatch-full-{}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).expect("bind");
        // std asks for a queue that holds hundreds or thousands.
        let mut streams = Vec::new();
        let error = loop {
            match connect_to(&path, Duration::ZERO) {
                Ok(stream) => streams.push(stream),
                Err(error) => break error,
            }
            assert!(streams.len() < 100_000, "the queue has no end");
            if streams.len() == 900 {
                // More descriptors than a test may have: a smaller queue will do.
                rustix::net::listen(&listener, 1).expect("a smaller queue");
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "after {}: {error}", streams.len());
        drop(listener);
        let error = connect_to(&path, Duration::ZERO).expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        std::fs::remove_file(&path).expect("remove the socket");
        let error = connect_to(&path, Duration::ZERO).expect_err("there is none");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
