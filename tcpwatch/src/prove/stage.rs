//! Where a scene is played: sockets of one address, and the kernel's own list of them to wait for.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use tcpwatch_common::TcpState::{self, Close, Established, Listen, SynRecv, SynSent};

use super::known::HELD;
use super::ledger::Ledger;
use crate::lab::sock;
use crate::lab::tun::Tun;
use crate::sample::StateCounts;
use crate::source::count_sockets;

/// How long the kernel may take for what it does at once as a rule.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(1);
/// More than the smallest receive buffer takes, so that a FIN behind it cannot be sent.
const STUCK: usize = 16 * 1024;
const BACKLOG: i32 = 1024;

/// Why a scene did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error(transparent)]
    Call(#[from] io::Error),
    #[error("{0}")]
    Count(String),
    #[error("the kernel does not list the sockets there should be: {0}")]
    Otherwise(String),
}

/// One scene: what is done in it, and what must come of it.
pub struct Stage<'a> {
    /// The loopback address that its listeners have.
    pub ip: IpAddr,
    /// How many sockets do the same.
    pub times: usize,
    pub tun: Option<&'a Tun>,
    pub ledger: Ledger,
    /// Sockets that stay open after the scene.
    pub kept: Vec<OwnedFd>,
    before: StateCounts,
}

/// Both ends of connections over the loopback device.
pub struct Pairs {
    pub listener: TcpListener,
    pub clients: Vec<TcpStream>,
    pub servers: Vec<TcpStream>,
}

impl<'a> Stage<'a> {
    pub fn new(ip: IpAddr, times: usize, tun: Option<&'a Tun>) -> Result<Self, Trouble> {
        let before = count_sockets().map_err(Trouble::Count)?;
        Ok(Self { ip, times, tun, ledger: Ledger::default(), kept: Vec::new(), before })
    }

    /// So many sockets as the scene has went this way.
    pub fn walk(&mut self, way: &[TcpState]) {
        self.ledger.walk(self.times, way);
    }

    /// The sockets there must be now.
    pub fn expected(&self) -> StateCounts {
        self.ledger.after(&self.before)
    }

    /// Waits until the kernel lists the sockets that there must be.
    pub fn settle(&self) -> Result<(), Trouble> {
        let expected = self.expected();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let listed = count_sockets().map_err(Trouble::Count)?;
            let other = HELD.iter().filter(|state| listed[state.index()] != expected[state.index()]);
            let other = other.map(|state| {
                let (name, at) = (state.name(), state.index());
                format!("{name} {} instead of {}", listed[at], expected[at])
            });
            let other: Vec<_> = other.collect();
            if other.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Trouble::Otherwise(other.join(", ")));
            }
            thread::sleep(PAUSE);
        }
    }

    pub fn listen(&mut self) -> Result<TcpListener, Trouble> {
        self.listen_for(BACKLOG)
    }

    /// Listens with a queue of `backlog` and one more.
    pub fn listen_for(&mut self, backlog: i32) -> Result<TcpListener, Trouble> {
        let listener = sock::listen(SocketAddr::new(self.ip, 0), backlog)?;
        self.ledger.walk(1, &[Close, Listen]);
        Ok(listener)
    }

    /// Closes a listener, and waits for all that was done.
    pub fn end(&mut self, listener: TcpListener) -> Result<(), Trouble> {
        drop(listener);
        self.ledger.walk(1, &[Listen, Close]);
        self.settle()
    }

    /// Opens connections.
    pub fn pairs(&mut self) -> Result<Pairs, Trouble> {
        self.pairs_with(|_| Ok(()))
    }

    /// The same with receive buffers that take next to nothing.
    pub fn narrow_pairs(&mut self) -> Result<Pairs, Trouble> {
        self.pairs_with(|socket| sock::narrow(socket))
    }

    fn pairs_with(
        &mut self,
        prepare: fn(std::os::fd::BorrowedFd<'_>) -> io::Result<()>,
    ) -> Result<Pairs, Trouble> {
        let listener = self.listen()?;
        prepare(std::os::fd::AsFd::as_fd(&listener))?;
        let mut pairs = Pairs { listener, clients: Vec::new(), servers: Vec::new() };
        let address = pairs.listener.local_addr()?;
        for _ in 0..self.times {
            pairs.clients.push(sock::connect_within(address, PATIENCE, prepare)?);
            let (server, _) = sock::accept(&pairs.listener, PATIENCE)?;
            server.set_nonblocking(true)?;
            pairs.servers.push(server);
        }
        self.walk(&[Close, SynSent, Established]);
        self.walk(&[Listen, SynRecv, Established]);
        self.settle()?;
        Ok(pairs)
    }

    /// Keeps sockets open. However this process ends, each is reset then, so that none waits for its peer as an orphan.
    pub fn keep<T: Into<OwnedFd>>(&mut self, sockets: impl IntoIterator<Item = T>) -> Result<(), Trouble> {
        for socket in sockets {
            let socket = socket.into();
            sock::linger_zero(&socket)?;
            self.kept.push(socket);
        }
        Ok(())
    }
}

/// Sends what the other side has no room for.
pub fn fill(streams: &[TcpStream]) -> Result<(), Trouble> {
    for mut stream in streams {
        let mut left = STUCK;
        while left > 0 {
            match stream.write(&[0; STUCK][..left]) {
                Ok(written) => left -= written,
                // More than half of it is more than the other side takes.
                Err(error) if error.kind() == ErrorKind::WouldBlock && left < STUCK / 2 => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Reads from all of them until the other sides have closed.
pub fn read_to_end(streams: &[TcpStream]) -> Result<(), Trouble> {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; STUCK];
    let mut open: Vec<&TcpStream> = streams.iter().collect();
    while !open.is_empty() {
        let mut still = Vec::new();
        for mut stream in open {
            match stream.read(&mut buffer) {
                Ok(0) => {}
                Ok(_) => still.push(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => still.push(stream),
                Err(error) => return Err(error.into()),
            }
        }
        open = still;
        if Instant::now() >= deadline {
            return Err(io::Error::from(ErrorKind::TimedOut).into());
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Shuts down the sending side of each.
pub fn shut_down(streams: &[TcpStream]) -> Result<(), Trouble> {
    streams.iter().try_for_each(|stream| stream.shutdown(Shutdown::Write)).map_err(Trouble::Call)
}

/// Closes each with a reset.
pub fn abort(streams: Vec<TcpStream>) -> Result<(), Trouble> {
    for stream in streams {
        sock::linger_zero(&stream)?;
    }
    Ok(())
}
