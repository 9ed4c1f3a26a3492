//! Every transition that real sockets make, with verdict, cause and owner.
//!
//! Each test has a namespace of its own, in which the kernel's sockets talk to a scripted peer or to each other.

mod aborts;
mod closing;
mod failures;
mod filters;
mod mptcp;
mod opening;
mod resets;
mod retransmits;
mod times;

use crate::support::netns::Netns;
use crate::support::peer::Peer;
use crate::support::sock;
use crate::support::tun::{Tun, kernel_ip, peer_ip};
use crate::watch::Watch;
use std::cell::{Cell, RefCell, RefMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);
/// A namespace with a scripted peer, watched.
struct Bed {
    watch: RefCell<Watch>,
    tun: Tun,
    ns: Netns,
    next_port: Cell<u16>,
}

impl Bed {
    fn new(hint: &str) -> Bed {
        let ns = Netns::new(hint);
        let tun = Tun::new(&ns, "tun0");
        let watch = RefCell::new(Watch::on(&ns));
        Bed { watch, tun, ns, next_port: Cell::new(10_000) }
    }

    fn done(self) {
        self.watch.into_inner().done();
    }

    fn watch(&self) -> RefMut<'_, Watch> {
        self.watch.borrow_mut()
    }

    /// See [`Watch::expect`].
    #[track_caller]
    fn expect(&self, v6: bool, sockets: &[(&str, &[&str])]) {
        self.watch().expect(family(v6), sockets);
    }

    fn listen(&self, v6: bool) -> TcpListener {
        self.listen_at(SocketAddr::new(kernel_ip(v6), 0))
    }

    fn listen_at(&self, addr: SocketAddr) -> TcpListener {
        self.ns.run(|| sock::listen(addr, 16)).expect("listen")
    }

    /// A peer with a port of its own that talks to this socket of the kernel.
    fn peer(&self, v6: bool, remote: SocketAddr) -> Peer<'_> {
        let port = self.next_port.get();
        self.next_port.set(port + 1);
        Peer::new(&self.tun, SocketAddr::new(peer_ip(v6), port), remote)
    }

    /// A peer that the kernel has begun to connect to: its SYN has been seen.
    #[track_caller]
    fn connecting(&self, v6: bool) -> (Peer<'_>, TcpStream) {
        let mut peer = self.peer(v6, SocketAddr::new(kernel_ip(v6), 0));
        let stream = self.ns.run(|| sock::connect_start(peer.local)).expect("connect");
        peer.expect(crate::support::segment::SYN);
        self.expect(v6, &[("client", &["close>syn_sent rfc me"])]);
        (peer, stream)
    }

    /// A connection that the kernel opened. All its transitions are known to be this process's.
    #[track_caller]
    fn client(&self, v6: bool) -> (Peer<'_>, TcpStream) {
        let (mut peer, stream) = self.connecting(v6);
        peer.synack();
        peer.expect(crate::support::segment::ACK);
        self.expect(v6, &[("client", &["syn_sent>established rfc me"])]);
        (peer, stream)
    }

    /// A connection that the peer opened, its listener closed. Who owns it is known while a call of the owner runs.
    #[track_caller]
    fn server(&self, v6: bool) -> (Peer<'_>, TcpStream) {
        let listener = self.listen(v6);
        let mut peer = self.peer(v6, listener.local_addr().expect("local address"));
        peer.connect_to_kernel();
        let (stream, _) = sock::accept(&listener, TIMEOUT).expect("accept");
        drop(listener);
        let opening: &[_] = &["listen>syn_recv linux unknown", "syn_recv>established rfc unknown"];
        let listening: &[_] = &["close>listen rfc me", "listen>close rfc closed me"];
        self.expect(v6, &[("listener", listening), ("server", opening)]);
        (peer, stream)
    }

    /// The two ends of a connection over the loopback device: the client's and the server's.
    #[track_caller]
    fn pair(&self, v6: bool) -> (TcpStream, TcpStream) {
        let listener = self.listen_at(SocketAddr::new(loopback(v6), 0));
        let addr = listener.local_addr().expect("local address");
        let client = self.ns.run(|| TcpStream::connect(addr)).expect("connect");
        let (server, _) = sock::accept(&listener, TIMEOUT).expect("accept");
        drop(listener);
        self.expect(
            v6,
            &[
                ("listener", &["close>listen rfc me", "listen>close rfc closed me"]),
                ("client", &["close>syn_sent rfc me", "syn_sent>established rfc me"]),
                ("server", &["listen>syn_recv linux unknown", "syn_recv>established rfc unknown"]),
            ],
        );
        (client, server)
    }
}

/// Runs a test twice, each time in a namespace of its own: with IPv4 and with IPv6.
#[track_caller]
fn in_both_families(hint: &str, test: impl Fn(&Bed, bool)) {
    for v6 in [false, true] {
        let bed = Bed::new(hint);
        test(&bed, v6);
        bed.done();
    }
}

fn family(v6: bool) -> &'static str {
    if v6 { "ipv6" } else { "ipv4" }
}

fn loopback(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
}

/// Waits until the kernel has put so many bytes, or the peer's FIN, into the socket's queue.
fn await_data(stream: &TcpStream) {
    stream.set_nonblocking(false).expect("block");
    stream.set_read_timeout(Some(TIMEOUT)).expect("set a timeout");
    stream.peek(&mut [0]).expect("data");
}
