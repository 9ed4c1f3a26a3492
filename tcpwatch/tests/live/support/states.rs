//! Kernel sockets held in every TCP state at once, and the kernel's own count.

use super::peer::Peer;
use super::segment::{ACK, FIN, SYN};
use super::sock;
use super::tun::{Tun, kernel_ip, peer_ip};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

pub const ESTABLISHED: u8 = 1;
pub const SYN_SENT: u8 = 2;
pub const SYN_RECV: u8 = 3;
pub const FIN_WAIT1: u8 = 4;
pub const FIN_WAIT2: u8 = 5;
pub const TIME_WAIT: u8 = 6;
pub const CLOSE: u8 = 7;
pub const CLOSE_WAIT: u8 = 8;
pub const LAST_ACK: u8 = 9;
pub const LISTEN: u8 = 10;
pub const CLOSING: u8 = 11;

const TIMEOUT: Duration = Duration::from_secs(5);
/// The peers' first port.
const FIRST_PORT: u16 = 10_000;

/// One socket of the kernel, held in a state.
#[derive(Debug)]
pub struct HeldSocket {
    pub state: u8,
    /// The kernel's end.
    pub local: SocketAddr,
    /// The test's end; of a listener, the unspecified address.
    pub remote: SocketAddr,
    /// None if no process has it: a `SYN_RECV` request, an orphan, `TIME_WAIT`.
    pub fd: Option<OwnedFd>,
}

/// Sockets held until this is dropped.
#[derive(Debug)]
pub struct Held {
    pub sockets: Vec<HeldSocket>,
}

impl Held {
    /// How many sockets of each state this holds, as [`proc_states`] counts them.
    pub fn counts(&self) -> [u64; 13] {
        let mut counts = [0; 13];
        for socket in &self.sockets {
            counts[usize::from(socket.state)] += 1;
        }
        counts
    }
}

/// Holds `n` IPv4 sockets in each of eleven situations: the ten states, with
/// `FIN_WAIT2` both owned and orphan.
///
/// All but `TIME_WAIT`, `SYN_RECV` and the orphan `FIN_WAIT2` (60 s each, about) are
/// owned by this process and stay for minutes.
pub fn hold(tun: &Tun, n: usize) -> Held {
    hold_family(tun, n, false)
}

/// The same for IPv6.
pub fn hold_v6(tun: &Tun, n: usize) -> Held {
    hold_family(tun, n, true)
}

fn hold_family(tun: &Tun, n: usize, v6: bool) -> Held {
    raise_fd_limit();
    tun.run(|| {
        let mut holder = Holder::new(tun, v6);
        for _ in 1..n {
            holder.listener();
        }
        for _ in 0..n {
            holder.established();
            holder.fin_wait1();
            holder.fin_wait2_owned();
            holder.fin_wait2_orphan();
            holder.closing();
            holder.time_wait();
            holder.close_wait();
            holder.last_ack();
            holder.syn_recv();
            holder.syn_sent();
        }
        holder.finish()
    })
}

/// Lifts the soft limit of open files, 1024 as a rule, to the hard one: each
/// round of eleven sockets takes eight.
pub fn raise_fd_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .expect("raise the open file limit");
}

struct Holder<'a> {
    tun: &'a Tun,
    kernel: IpAddr,
    peer: IpAddr,
    next_port: u16,
    /// The listener all passive connections come from.
    listener: TcpListener,
    sockets: Vec<HeldSocket>,
}

impl<'a> Holder<'a> {
    fn new(tun: &'a Tun, v6: bool) -> Holder<'a> {
        let kernel = kernel_ip(v6);
        let listener = sock::listen(SocketAddr::new(kernel, 0), 4096).expect("listen");
        let peer = peer_ip(v6);
        Holder { tun, kernel, peer, next_port: FIRST_PORT, listener, sockets: Vec::new() }
    }

    fn listener(&mut self) {
        let listener = sock::listen(SocketAddr::new(self.kernel, 0), 4096).expect("listen");
        self.sockets.push(held_listener(listener));
    }

    fn peer(&mut self) -> Peer<'a> {
        let local = SocketAddr::new(self.peer, self.next_port);
        self.next_port += 1;
        Peer::new(self.tun, local, self.listener.local_addr().expect("local address"))
    }

    fn connection(&mut self) -> (Peer<'a>, TcpStream) {
        let mut peer = self.peer();
        peer.connect_to_kernel();
        let (stream, from) = sock::accept(&self.listener, TIMEOUT).expect("accept");
        assert_eq!(from, peer.local, "accepted another connection");
        (peer, stream)
    }

    fn keep(&mut self, state: u8, peer: &Peer<'_>, stream: Option<TcpStream>) {
        if let Some(stream) = &stream {
            wait_state(stream, state);
        }
        let (local, remote, fd) = (peer.remote, peer.local, stream.map(OwnedFd::from));
        self.sockets.push(HeldSocket { state, local, remote, fd });
    }

    fn established(&mut self) {
        let (peer, stream) = self.connection();
        self.keep(ESTABLISHED, &peer, Some(stream));
    }

    fn fin_wait1(&mut self) {
        let (peer, stream) = self.connection();
        shut_down(&stream);
        self.keep(FIN_WAIT1, &peer, Some(stream));
    }

    fn fin_wait2_owned(&mut self) {
        let (mut peer, stream) = self.connection();
        shut_down(&stream);
        peer.expect(FIN | ACK);
        peer.ack();
        self.keep(FIN_WAIT2, &peer, Some(stream));
    }

    fn fin_wait2_orphan(&mut self) {
        let (mut peer, stream) = self.connection();
        drop(stream);
        peer.expect(FIN | ACK);
        peer.ack();
        self.keep(FIN_WAIT2, &peer, None);
    }

    fn closing(&mut self) {
        let (mut peer, stream) = self.connection();
        shut_down(&stream);
        // Its FIN is out but not looked at, so this one does not acknowledge it.
        peer.fin();
        peer.expect(ACK);
        self.keep(CLOSING, &peer, Some(stream));
    }

    fn time_wait(&mut self) {
        let (mut peer, stream) = self.connection();
        drop(stream);
        peer.expect(FIN | ACK);
        peer.fin();
        peer.expect(ACK);
        self.keep(TIME_WAIT, &peer, None);
    }

    fn close_wait(&mut self) {
        let (mut peer, stream) = self.connection();
        peer.fin();
        self.keep(CLOSE_WAIT, &peer, Some(stream));
    }

    fn last_ack(&mut self) {
        let (mut peer, stream) = self.connection();
        peer.fin();
        wait_state(&stream, CLOSE_WAIT);
        shut_down(&stream);
        self.keep(LAST_ACK, &peer, Some(stream));
    }

    fn syn_recv(&mut self) {
        let mut peer = self.peer();
        peer.syn();
        peer.expect(SYN | ACK);
        self.keep(SYN_RECV, &peer, None);
    }

    fn syn_sent(&mut self) {
        let mut peer = self.peer();
        let stream = sock::connect_start(peer.local).expect("connect");
        peer.remote = stream.local_addr().expect("local address");
        self.keep(SYN_SENT, &peer, Some(stream));
    }

    fn finish(mut self) -> Held {
        self.sockets.push(held_listener(self.listener));
        Held { sockets: self.sockets }
    }
}

fn held_listener(listener: TcpListener) -> HeldSocket {
    let local = listener.local_addr().expect("local address");
    let any: IpAddr = if local.is_ipv6() { [0; 16].into() } else { [0; 4].into() };
    HeldSocket { state: LISTEN, local, remote: SocketAddr::new(any, 0), fd: Some(listener.into()) }
}

fn shut_down(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).expect("shut down");
}

/// Waits until the kernel has put the socket in `state`; what the peer sends may
/// be worked on a moment later.
pub fn wait_state(stream: &TcpStream, state: u8) {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let now = sock::state(stream).expect("read the socket's state");
        if now == state {
            return;
        }
        assert!(Instant::now() < deadline, "socket in state {now}, not {state}: {stream:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// How many TCP sockets of each state /proc/net has, in the calling thread's
/// namespace. Orphans, requests and `TIME_WAIT` count.
pub fn proc_states() -> [u64; 13] {
    let mut counts = [0; 13];
    for file in ["tcp", "tcp6"] {
        // Without IPv6 in the kernel there is no tcp6.
        let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let column = line.split_whitespace().nth(3);
            let state = column.and_then(|hex| usize::from_str_radix(hex, 16).ok());
            let state = state.filter(|s| *s < 13);
            counts[state.unwrap_or_else(|| panic!("no state in {line:?}"))] += 1;
        }
    }
    counts
}
