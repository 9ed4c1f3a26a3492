//! Applications that do not close, do not accept, or whose connections do not get closed.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use tcpwatch::detect::Thresholds;
use tcpwatch::finding::Kind;
use tcpwatch_common::TcpState;

use super::{Scene, count, of, owner};
use crate::support::netns::Netns;
use crate::support::peer::Peer;
use crate::support::sock;
use crate::support::states::{proc_states, wait_state};
use crate::support::tun::{Tun, kernel_ip, peer_ip};

const TIMEOUT: Duration = Duration::from_secs(5);
const AGE: Duration = Duration::from_secs(3);
const LEAKED: u64 = 30;

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

#[test]
fn a_peer_that_vanishes_while_it_is_being_closed() {
    let ns = Netns::new("stuck");
    ns.sysctl("net.ipv4.tcp_orphan_retries", "2");
    let tun = Tun::new(&ns, "tun0");
    let mut scene = Scene::with(impatient());
    let gone: Vec<_> = (0..8)
        .map(|port| {
            let remote = SocketAddr::new(peer_ip(false), 443);
            let local = SocketAddr::new(kernel_ip(false), 31_000 + port);
            let mut peer = Peer::new(&tun, remote, local);
            let stream = ns.run(|| sock::bind_connect_start(local, remote)).expect("connect");
            peer.accept_from_kernel();
            (peer, stream)
        })
        .collect();
    // In time: nothing to tell.
    scene.expect_nothing(&ns, Duration::from_secs(2));
    // Data that nobody acknowledges keeps the FIN from being sent, and with an owner there is no limit but retries2.
    for (_, stream) in &gone {
        rustix::net::sockopt::set_tcp_user_timeout(stream, 60_000).expect("user timeout");
        stream.shutdown(std::net::Shutdown::Write).expect("shutdown");
    }
    let states = ns.run(proc_states);
    assert_eq!(states[TcpState::FinWait1 as usize], 8);
    drop(gone);
    // As orphans they get two retries: gone within seconds, and before that not beyond what is allowed.
    scene.expect_nothing(&ns, Duration::from_secs(4));
}
