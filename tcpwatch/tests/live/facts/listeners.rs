//! Listeners: both queues, limits, drops and owners are the kernel's own.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tcpwatch::sample::{ListenerSample, Sample};

use super::Host;
use crate::support::netns::Netns;
use crate::support::segment::{ACK, SYN};
use crate::support::sock;
use crate::support::tun::{Tun, kernel_ip, peer_ip};

const BACKLOG: u64 = 2;

fn at(sample: &Sample, ns: &Netns, port: u16) -> Option<ListenerSample> {
    let mut found = sample.listeners.iter().filter(|l| l.netns == ns.inode() && l.local.port() == port);
    let first = found.next().cloned();
    assert!(found.next().is_none(), "{sample:#?}");
    first
}

#[test]
fn queues_limits_drops_and_owner() {
    let ns = Netns::new("queues");
    let mut host = Host::open();
    let listener = ns.run(|| sock::listen((Ipv4Addr::LOCALHOST, 0).into(), 2)).expect("listen");
    let address = listener.local_addr().expect("bound");
    let idle = host.until("the listener", |sample| at(sample, &ns, address.port()));
    assert_eq!(idle.local, address);
    assert_eq!(idle.pid, Some(std::process::id()));
    assert_eq!((idle.accept_queue, idle.accept_limit, idle.drops), (0, BACKLOG, 0));
    assert_eq!((idle.syn_queue, idle.young, idle.stuck), (Some(0), Some(0), Some(0)));
    let clients: Vec<_> = (0..8).map(|_| ns.run(|| sock::connect_start(address)).expect("start")).collect();
    let full = host.until("a full queue", |sample| {
        at(sample, &ns, address.port()).filter(|listener| listener.accept_queue > BACKLOG)
    });
    assert_eq!(full.accept_queue, BACKLOG + 1, "one more than the limit, as in every kernel");
    assert!(full.drops >= 5, "{full:?}");
    assert_eq!(full.id, idle.id);
    drop(clients);
    drop(listener);
    host.until("its end", |sample| at(sample, &ns, address.port()).is_none().then_some(()));
}

#[test]
fn listeners_older_than_the_daemon_and_in_ipv6() {
    let ns = Netns::new("older");
    let old = ns.run(|| sock::listen((Ipv6Addr::LOCALHOST, 0).into(), 16)).expect("listen");
    let mut host = Host::open();
    let new = ns.run(|| sock::listen((Ipv6Addr::UNSPECIFIED, 0).into(), 16)).expect("listen");
    for listener in [&old, &new] {
        let address = listener.local_addr().expect("bound");
        let found = host.until("the listener", |sample| at(sample, &ns, address.port()));
        assert_eq!((found.local, found.pid), (address, Some(std::process::id())), "{found:?}");
        assert_eq!(found.accept_limit, 16);
    }
}

#[test]
fn half_open_requests_are_in_the_syn_queue() {
    let ns = Netns::new("halfopen");
    let tun = Tun::new(&ns, "tun0");
    let mut host = Host::open();
    let listener = ns.run(|| sock::listen(SocketAddr::new(kernel_ip(false), 0), 16)).expect("listen");
    let address = listener.local_addr().expect("bound");
    let mut peers: Vec<_> = (0..5)
        .map(|port| {
            let local = SocketAddr::new(peer_ip(false), 20_000 + port);
            crate::support::peer::Peer::new(&tun, local, address)
        })
        .collect();
    for peer in &mut peers {
        peer.syn();
        peer.expect(SYN | ACK);
    }
    let held = host.until("five requests", |sample| {
        at(sample, &ns, address.port()).filter(|listener| listener.syn_queue == Some(5))
    });
    assert_eq!(held.accept_queue, 0);
    assert!(held.young.is_some_and(|young| young <= 5));
    let again = host.until("SYN-ACKs sent again", |sample| {
        at(sample, &ns, address.port()).filter(|listener| listener.synack_retransmits >= 5)
    });
    assert_eq!((again.young, again.stuck), (Some(0), Some(0)), "{again:?}");
    std::thread::sleep(Duration::from_millis(10));
    let remotes = host.sample().remotes;
    let client = remotes.iter().find(|remote| remote.netns == ns.inode() && remote.is_client);
    let client = client.expect("the client is known");
    assert_eq!((client.address, client.port), (peer_ip(false), address.port()));
    assert!(client.counts.synack >= 5, "{client:?}");
}

#[test]
fn requests_whose_last_ack_was_dropped_are_stuck() {
    let ns = Netns::new("stuck");
    let tun = Tun::new(&ns, "tun0");
    let mut host = Host::open();
    let listener = ns.run(|| sock::listen(SocketAddr::new(kernel_ip(false), 0), 1)).expect("listen");
    let address = listener.local_addr().expect("bound");
    let mut peers: Vec<_> = (0..2)
        .map(|port| {
            let local = SocketAddr::new(peer_ip(false), 21_000 + port);
            crate::support::peer::Peer::new(&tun, local, address)
        })
        .collect();
    // The SYN queue is as short as the accept queue: two requests, and two real connections that fill the other.
    for peer in &mut peers {
        peer.syn();
        peer.expect(SYN | ACK);
    }
    let local: Vec<_> = (0..2).map(|_| ns.run(|| sock::connect_start(address)).expect("start")).collect();
    for peer in &peers {
        peer.ack();
    }
    let stuck = host.until("a stuck request", |sample| {
        at(sample, &ns, address.port()).filter(|listener| listener.stuck >= Some(1))
    });
    assert!(stuck.drops >= 1, "{stuck:?}");
    drop(local);
}
