//! Listeners under pressure of real clients: queues that overflow, and queues that are only long.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tcpwatch::finding::{Finding, Kind};
use tcpwatch::model::listeners::Drops;

use super::{Scene, TICK, count, owner};
use crate::support::netns::Netns;
use crate::support::peer::Peer;
use crate::support::segment::{ACK, FIN, SYN};
use crate::support::sock;
use crate::support::tun::{Tun, kernel_ip, peer_ip};
use crate::support::work::meanwhile;

const TIMEOUT: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_millis(50);

fn listen(ns: &Netns, ip: std::net::IpAddr, backlog: i32) -> (TcpListener, SocketAddr) {
    let listener = ns.run(|| sock::listen(SocketAddr::new(ip, 0), backlog)).expect("listen");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

fn start(ns: &Netns, address: SocketAddr, count: usize) -> Vec<TcpStream> {
    ns.run(|| (0..count).map(|_| sock::connect_start(address).expect("start")).collect())
}

fn accept(listener: &TcpListener, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| sock::accept(listener, TIMEOUT).expect("a client").0).collect()
}

/// Accepts whoever comes, `pause` apart, and holds nobody for long.
fn serve(listener: &TcpListener, pause: Duration, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        drop(sock::accept(listener, SOON));
        std::thread::sleep(pause);
    }
}

/// Connects all the time, `pause` apart; clients stay until the server has closed.
fn call(ns: &Netns, address: SocketAddr, pause: Duration, stop: &AtomicBool) {
    ns.run(|| {
        let mut open = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            open.push(sock::connect_start(address).expect("start"));
            open.retain_mut(|client| matches!(client.read(&mut [0]), Err(e) if e.kind() != std::io::ErrorKind::ConnectionReset));
            std::thread::sleep(pause);
        }
    });
}

fn is_at(found: &Finding, address: SocketAddr) {
    assert_eq!(found.seen.subject.listener, Some(address));
    assert_eq!(owner(found), Some(std::process::id()));
}

#[test]
fn a_long_queue_that_is_accepted_in_time() {
    let ns = Netns::new("long");
    let mut scene = Scene::open();
    let (listener, address) = listen(&ns, Ipv4Addr::LOCALHOST.into(), 128);
    scene.settle();
    let bursts = |stop: &AtomicBool| {
        while !stop.load(Ordering::Relaxed) {
            let clients = start(&ns, address, 129);
            std::thread::sleep(Duration::from_millis(700));
            drop(accept(&listener, clients.len()));
        }
    };
    meanwhile(&[&bursts], || scene.expect_nothing(&ns, 7 * TICK));
    assert_eq!(scene.exact(&ns), Drops::default());
}

#[test]
fn a_burst_beyond_the_backlog_of_an_application_that_accepts_in_time() {
    let ns = Netns::new("burst");
    let mut scene = Scene::open();
    let (listener, address) = listen(&ns, Ipv4Addr::LOCALHOST.into(), 16);
    scene.settle();
    // So few that all who come again at once find room.
    let clients = start(&ns, address, 29);
    let dropped = ns.snmp()["TcpExt.ListenDrops"];
    assert_eq!(dropped, 29 - 17, "the queue holds one more than its limit");
    let mut served = accept(&listener, 17);
    let (found, ticks) = scene.expect_all(&ns, &[Kind::AcceptQueueOverflow], |found| !found.is_empty());
    println!("a burst: told by tick {ticks}: {}", found[0].seen.summary);
    assert!(ticks <= 2, "flagged at once");
    assert_eq!(found[0].seen.verdict, Some("burst"));
    is_at(&found[0], address);
    assert_eq!(count(&found[0], "drops_at_syn"), count(&found[0], "drops"));
    assert!(count(&found[0], "drops") >= dropped);
    // They come again, and get in.
    served.extend(accept(&listener, 29 - 17));
    let drops = scene.exact(&ns);
    assert!(drops.accept_queue_syn >= dropped && drops.total() == drops.accept_queue_syn, "{drops:?}");
    drop((clients, served));
}

#[test]
fn clients_that_answer_and_are_more_than_the_syn_queue_holds() {
    let ns = Netns::new("synburst");
    ns.sysctl("net.ipv4.tcp_syncookies", "0");
    let tun = Tun::new(&ns, "tun0");
    let mut scene = Scene::open();
    let (listener, address) = listen(&ns, kernel_ip(false), 16);
    scene.settle();
    let clients = |stop: &AtomicBool| {
        let mut port = 10_000;
        while !stop.load(Ordering::Relaxed) {
            let mut peers: Vec<_> = (0..24)
                .map(|_| {
                    port = if port < 60_000 { port + 1 } else { 10_000 };
                    Peer::new(&tun, SocketAddr::new(peer_ip(false), port), address)
                })
                .collect();
            peers.iter_mut().for_each(Peer::syn);
            // So far away they are.
            std::thread::sleep(Duration::from_millis(80));
            for peer in &mut peers {
                if peer.wait(SYN | ACK, Duration::ZERO).is_ok() {
                    peer.ack();
                    let accepted = sock::accept(&listener, TIMEOUT).expect("it has answered");
                    peer.fin();
                    drop(accepted);
                    if peer.wait(FIN | ACK, TIMEOUT).is_ok() {
                        peer.ack();
                    }
                }
            }
        }
    };
    let kinds = [Kind::SynFlood, Kind::SynQueueOverflow];
    meanwhile(&[&clients], || {
        let (found, ticks) = scene.expect_all(&ns, &kinds, |found| found.len() == 2);
        println!("more than the SYN queue holds: told by tick {ticks}: {}", found[0].seen.summary);
        let found = scene.expect_to_stay(&ns, &kinds, 4);
        assert_eq!((found[0].seen.verdict, found[1].seen.verdict), (Some("burst"), None));
        for found in &found {
            is_at(found, address);
        }
        assert_eq!(count(&found[0], "syn_queue_drops"), count(&found[1], "drops"));
    });
    let drops = scene.exact(&ns);
    assert_eq!(drops.syn_queue, drops.total(), "{drops:?}");
}

#[test]
fn a_slow_accept_loop() {
    let ns = Netns::new("slow");
    let mut scene = Scene::open();
    let (listener, address) = listen(&ns, Ipv4Addr::LOCALHOST.into(), 8);
    scene.settle();
    let server = |stop: &AtomicBool| serve(&listener, Duration::from_millis(50), stop);
    let clients = |stop: &AtomicBool| call(&ns, address, Duration::from_millis(10), stop);
    meanwhile(&[&server, &clients], || {
        let kinds = [Kind::SynFlood, Kind::AcceptQueueOverflow];
        let overflows = |found: &[Finding]| found.iter().any(|found| found.seen.kind == kinds[1]);
        let (_, ticks) = scene.expect_all(&ns, &kinds, overflows);
        println!("a slow accept loop: told by tick {ticks}");
        for tick in 1..10 {
            let (found, _) = scene.expect_all(&ns, &kinds, |_| true);
            assert!(overflows(&found), "it stays: {found:#?}");
            for found in &found {
                println!("{tick}: {:?} {}", found.seen.verdict, found.seen.summary);
                // Where clients have answered, they fill the SYN queue as well.
                let slow = if found.seen.kind == kinds[0] { "slow_application" } else { "slow_accept" };
                assert!(tick <= 2 || found.seen.verdict == Some(slow), "{found:#?}");
                is_at(found, address);
            }
        }
    });
    while sock::accept(&listener, 3 * TICK).is_ok() {}
    let drops = scene.exact(&ns);
    // Where a cookie came back it may not be known at which stage.
    assert_eq!(drops.accept_queue() + drops.unknown, drops.total(), "{drops:?}");
    assert!(drops.accept_queue() > drops.unknown, "{drops:?}");
}

#[test]
fn clients_that_have_answered_find_the_accept_queue_full() {
    for abort in ["0", "1"] {
        let ns = Netns::new("lastack");
        ns.sysctl("net.ipv4.tcp_abort_on_overflow", abort);
        let tun = Tun::new(&ns, "tun0");
        let mut scene = Scene::open();
        let (_listener, address) = listen(&ns, kernel_ip(false), 8);
        scene.settle();
        let mut peers: Vec<_> = (20_000..20_016)
            .map(|port| Peer::new(&tun, SocketAddr::new(peer_ip(false), port), address))
            .collect();
        let (early, late) = peers.split_at_mut(8);
        early.iter_mut().for_each(Peer::connect_to_kernel);
        for peer in late.iter_mut() {
            peer.syn();
            peer.expect(SYN | ACK);
        }
        // One of them gets in.
        late.iter().for_each(Peer::ack);
        let began = Instant::now();
        let kinds: &[Kind] = match abort {
            "0" => &[Kind::SynFlood, Kind::AcceptQueueOverflow],
            _ => &[Kind::AcceptQueueOverflow],
        };
        let (found, ticks) = scene.expect_all(&ns, kinds, |found| found.len() == kinds.len());
        let took = began.elapsed().as_secs_f64();
        println!("abort {abort}: told {took:.2} s after the first drop, by tick {ticks}");
        assert!(ticks <= 2, "flagged at once");
        let overflow = found.last().expect("one");
        assert_eq!((count(overflow, "drops"), count(overflow, "drops_at_last_ack")), (7, 7));
        let found = scene.expect_to_stay(&ns, kinds, 3);
        let overflow = found.last().expect("one");
        assert_eq!(overflow.seen.verdict, Some("slow_accept"));
        if abort == "0" {
            assert_eq!(found[0].seen.verdict, Some("slow_application"));
            assert_eq!(count(&found[0], "syn_queue_length"), 7);
        }
        for found in &found {
            is_at(found, address);
        }
        let drops = scene.exact(&ns);
        assert_eq!((drops.accept_queue_ack, drops.total()), (7, 7), "abort {abort}: {drops:?}");
        let resets = ns.snmp()["TcpExt.EmbryonicRsts"];
        assert_eq!(resets, if abort == "1" { 7 } else { 0 });
    }
}

#[test]
fn one_of_two_listeners_is_in_trouble() {
    let ns = Netns::new("two");
    let mut scene = Scene::open();
    let (healthy, busy) = listen(&ns, Ipv4Addr::LOCALHOST.into(), 64);
    let (_deaf, full) = listen(&ns, Ipv4Addr::LOCALHOST.into(), 4);
    scene.settle();
    let server = |stop: &AtomicBool| serve(&healthy, Duration::ZERO, stop);
    let clients = |stop: &AtomicBool| call(&ns, busy, Duration::from_millis(5), stop);
    let waiting = meanwhile(&[&server, &clients], || {
        scene.expect_nothing(&ns, 3 * TICK);
        let waiting = start(&ns, full, 30);
        let (_, ticks) = scene.expect_all(&ns, &[Kind::AcceptQueueOverflow], |found| !found.is_empty());
        println!("one of two listeners: told by tick {ticks}");
        assert!(ticks <= 2, "flagged at once");
        let found = scene.expect_to_stay(&ns, &[Kind::AcceptQueueOverflow], 4);
        is_at(&found[0], full);
        assert_eq!(found[0].seen.verdict, Some("slow_accept"));
        assert_eq!((count(&found[0], "accept_queue_length"), count(&found[0], "accept_queue_limit")), (5, 4));
        waiting
    });
    let lasting = waiting.len() as u64 - 5;
    drop(waiting);
    let drops = scene.exact(&ns);
    assert!(drops.accept_queue_syn >= lasting && drops.accept_queue_syn == drops.total(), "{drops:?}");
}
