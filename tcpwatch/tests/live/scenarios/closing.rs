//! Applications that do not close, do not accept, or whose connections do not get closed.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use tcpwatch::detect::Thresholds;
use tcpwatch::finding::{Evidence, Finding, Kind};
use tcpwatch_common::TcpState;

use super::stalls::answering;
use super::{Scene, count, of, owner};
use crate::support::netns::Netns;
use crate::support::peer::Peer;
use crate::support::sock;
use crate::support::states::{proc_states, wait_state};
use crate::support::tun::{Tun, kernel_ip, peer_ip};

const TIMEOUT: Duration = Duration::from_secs(5);
const AGE: Duration = Duration::from_secs(3);
const LEAKED: u64 = 30;
/// What [`full`] connections cannot send.
pub(super) const NO_ROOM: &[u8] = b"no room";

fn impatient() -> Thresholds {
    let mut thresholds = Thresholds::default();
    thresholds.close_wait_buildup.age = AGE;
    thresholds.closing_stuck.age = Duration::from_secs(1);
    thresholds.closing_stuck.slack = Duration::from_secs(1);
    thresholds.findings.close_after = Duration::from_secs(2);
    thresholds
}

fn listen(ns: &Netns, backlog: i32) -> (TcpListener, SocketAddr) {
    let listener = ns.run(|| sock::listen((Ipv4Addr::LOCALHOST, 0).into(), backlog)).expect("listen");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

#[test]
fn a_server_that_never_closes() {
    let ns = Netns::new("leak");
    let mut scene = Scene::with(impatient());
    let (listener, address) = listen(&ns, 64);
    let leaked: Vec<_> = (0..LEAKED)
        .map(|_| {
            let mut client = ns.run(|| TcpStream::connect(address)).expect("connect");
            client.write_all(b"bye").expect("write");
            drop(client);
            sock::accept(&listener, TIMEOUT).expect("accept").0
        })
        .collect();
    wait_state(leaked.last().expect("some"), TcpState::CloseWait as u8);
    let since = Instant::now();
    let found = scene.expect(&ns, Kind::CloseWaitBuildup, |found| count(found, "aged") == LEAKED);
    let took = since.elapsed();
    println!("flagged {:.1} s after the last CLOSE_WAIT, of an age of {AGE:?}", took.as_secs_f64());
    assert_eq!(found.seen.verdict, Some("never_closed"));
    assert_eq!(owner(&found), Some(std::process::id()));
    assert_eq!(count(&found, "count"), ns.run(proc_states)[TcpState::CloseWait as usize]);
    assert_eq!((count(&found, "count"), count(&found, "unread_bytes")), (LEAKED, LEAKED * 3));
    assert!(count(&found, "files") >= LEAKED && count(&found, "file_limit") > 0);
    let told = format!("{} {:?} {:?}", found.seen.summary, found.seen.advice, found.seen.verify);
    assert!(told.contains(&address.port().to_string()), "{told}");
    drop(leaked);
    let ends = Instant::now() + Duration::from_secs(15);
    while !of(&scene.tick().1, &ns).is_empty() {
        assert!(Instant::now() < ends, "it never closed");
    }
}

#[test]
fn a_server_that_never_accepts() {
    let ns = Netns::new("deaf");
    let mut scene = Scene::with(impatient());
    let (listener, address) = listen(&ns, 64);
    for _ in 0..LEAKED {
        drop(ns.run(|| TcpStream::connect(address)).expect("connect"));
    }
    let found = scene.expect(&ns, Kind::CloseWaitBuildup, |found| count(found, "aged") == LEAKED);
    assert_eq!(found.seen.verdict, Some("never_accepted"));
    assert_eq!(owner(&found), Some(std::process::id()), "the listener's");
    drop(listener);
}

#[test]
fn close_waits_that_come_and_go() {
    let ns = Netns::new("brief");
    let mut scene = Scene::with(impatient());
    let (listener, address) = listen(&ns, 64);
    let stop = Instant::now() + Duration::from_secs(8);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Always some dozens in CLOSE_WAIT, none for long.
            while Instant::now() < stop {
                let servers: Vec<_> = (0..40)
                    .map(|_| {
                        drop(ns.run(|| TcpStream::connect(address)).expect("connect"));
                        sock::accept(&listener, TIMEOUT).expect("accept")
                    })
                    .collect();
                std::thread::sleep(Duration::from_millis(300));
                drop(servers);
            }
        });
        scene.expect_nothing(&ns, Duration::from_secs(8));
    });
}

/// Connections to one service of the peer, which has no room for what is sent.
pub(super) fn full<'a>(tun: &'a Tun, ns: &Netns, count: usize) -> Vec<(Peer<'a>, TcpStream)> {
    let service = SocketAddr::new(peer_ip(false), 443);
    let connections = (0..count).map(|_| {
        let mut peer = Peer::new(tun, service, SocketAddr::new(kernel_ip(false), 0));
        let mut stream = ns.run(|| sock::connect_start(service)).expect("connect");
        peer.accept_from_kernel();
        peer.window = 0;
        peer.ack();
        std::thread::sleep(Duration::from_millis(5));
        stream.write_all(NO_ROOM).expect("write");
        (peer, stream)
    });
    connections.collect()
}

#[test]
fn peers_that_answer_and_never_let_go() {
    let ns = Netns::new("stuck");
    ns.sysctl("net.ipv4.tcp_orphan_retries", "1");
    let tun = Tun::new(&ns, "tun0");
    let mut scene = Scene::with(impatient());
    let (peers, streams): (Vec<_>, Vec<_>) = full(&tun, &ns, 8).into_iter().unzip();
    drop(streams);
    assert_eq!(ns.run(proc_states)[TcpState::FinWait1 as usize], 8);
    // There is still no room, says each.
    let found =
        answering(&tun, &peers, || scene.expect(&ns, Kind::ClosingStuck, |found| count(found, "aged") == 8));
    assert_eq!(found.seen.evidence[0], ("state", Evidence::Text("fin_wait1".into())));
    assert_eq!(count(&found, "unsent_bytes"), 8 * 8, "with the FINs");
}

#[test]
fn peers_that_vanish_while_they_are_closed_are_given_up_in_time() {
    let ns = Netns::new("giveup");
    ns.sysctl("net.ipv4.tcp_orphan_retries", "2");
    let tun = Tun::new(&ns, "tun0");
    let mut scene = Scene::with(impatient());
    let gone = full(&tun, &ns, 8);
    drop(gone);
    assert_eq!(ns.run(proc_states)[TcpState::FinWait1 as usize], 8);
    scene.expect_nothing(&ns, Duration::from_secs(8));
    assert_eq!(ns.run(proc_states)[TcpState::FinWait1 as usize], 0);
}

#[test]
fn short_connections_fill_the_buckets_of_whoever_closes_first() {
    for closes_first in ["server_here", "client_here"] {
        let ns = Netns::new("storm");
        ns.sysctl("net.ipv4.tcp_max_tw_buckets", "100");
        let mut scene = Scene::open();
        let (listener, address) = listen(&ns, 64);
        for _ in 0..300 {
            let client = ns.run(|| TcpStream::connect(address)).expect("connect");
            let (server, _) = sock::accept(&listener, TIMEOUT).expect("accept");
            let (first, last) =
                if closes_first == "server_here" { (server, client) } else { (client, server) };
            drop(first);
            wait_state(&last, TcpState::CloseWait as u8);
            drop(last);
        }
        let found = scene.expect(&ns, Kind::TimeWaitStorm, |found| count(found, "overflows") > 0);
        assert_eq!(found.seen.verdict, Some("overflow"));
        assert_eq!(count(&found, "overflows"), ns.snmp()["TcpExt.TCPTimeWaitOverflow"]);
        assert_eq!((count(&found, "time_wait"), count(&found, "max_tw_buckets")), (100, 100));
        // The next walk over the sockets tells whose they are.
        let told = |found: &Finding| {
            found.seen.evidence.iter().find(|(name, _)| *name == "closes_first").map(|(_, told)| told.clone())
        };
        let found = scene.expect(&ns, Kind::TimeWaitStorm, |found| told(found).is_some());
        assert_eq!(told(&found), Some(Evidence::Text(closes_first.into())));
    }
}

#[test]
fn ports_toward_one_destination_run_out() {
    let ns = Netns::new("ports");
    ns.sysctl("net.ipv4.ip_local_port_range", "40000 40199");
    let mut thresholds = Thresholds::default();
    thresholds.port_exhaustion.min_used = 100;
    let mut scene = Scene::with(thresholds);
    let (listener, address) = listen(&ns, 64);
    // Half of them stay open, the others are in TIME_WAIT here, which closes first.
    let mut open = Vec::new();
    for number in 0..190 {
        let client = ns.run(|| TcpStream::connect(address)).expect("connect");
        let (server, _) = sock::accept(&listener, TIMEOUT).expect("accept");
        if number < 120 {
            drop(client);
            wait_state(&server, TcpState::CloseWait as u8);
        } else {
            open.push((client, server));
        }
    }
    let found = scene.expect(&ns, Kind::PortExhaustion, |found| count(found, "used") >= 190);
    assert_eq!((found.seen.verdict, found.seen.subject.destination), (Some("time_wait"), Some(address)));
    assert_eq!((count(&found, "used"), count(&found, "time_wait"), count(&found, "ports")), (190, 120, 200));
    assert_eq!(owner(&found), Some(std::process::id()));
}

#[test]
fn the_same_number_of_ports_over_many_destinations() {
    let ns = Netns::new("spread");
    ns.sysctl("net.ipv4.ip_local_port_range", "40000 40199");
    let mut thresholds = Thresholds::default();
    thresholds.port_exhaustion.min_used = 100;
    let mut scene = Scene::with(thresholds);
    let listeners: Vec<_> = (0..10).map(|_| listen(&ns, 64)).collect();
    let mut open = Vec::new();
    for number in 0..190 {
        let (listener, address) = &listeners[number % 10];
        let client = ns.run(|| TcpStream::connect(address)).expect("connect");
        open.push((client, sock::accept(listener, TIMEOUT).expect("accept")));
    }
    scene.expect_nothing(&ns, Duration::from_secs(4));
}
