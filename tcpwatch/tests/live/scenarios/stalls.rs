//! Connections on which one side does not read: windows that stay closed, and those that do not.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tcpwatch::detect::Thresholds;
use tcpwatch::finding::Kind;
use tcpwatch_common::TcpState;

use super::closing::{NO_ROOM, full};
use super::{Scene, count, of, owner};
use crate::support::netns::Netns;
use crate::support::peer::Peer;
use crate::support::segment::ACK;
use crate::support::sock;
use crate::support::states::proc_states;
use crate::support::tun::{Tun, peer_ip};
use crate::support::work::meanwhile;

const TIMEOUT: Duration = Duration::from_secs(5);
const AGE: Duration = Duration::from_secs(3);
const STALLED: usize = 3;

fn impatient() -> Thresholds {
    let mut thresholds = Thresholds::default();
    thresholds.zero_window_stall.age = AGE;
    thresholds
}

/// Answers every probe of the kernel as its peer says, while something is done.
pub(super) fn answering<T>(tun: &Tun, peers: &[Peer<'_>], act: impl FnOnce() -> T) -> T {
    let answer = |stop: &AtomicBool| {
        while !stop.load(Ordering::Relaxed) {
            let Some(probe) = tun.recv(Duration::from_millis(50)) else { continue };
            peers.iter().filter(|peer| peer.remote == probe.src).for_each(Peer::ack);
        }
    };
    meanwhile(&[&answer], act)
}

#[test]
fn peers_that_do_not_read() {
    let ns = Netns::new("peerfull");
    let tun = Tun::new(&ns, "tun0");
    let mut scene = Scene::with(impatient());
    let (peers, streams): (Vec<_>, Vec<_>) = full(&tun, &ns, STALLED).into_iter().unzip();
    let since = Instant::now();
    let found = answering(&tun, &peers, || {
        scene.expect(&ns, Kind::ZeroWindowStall, |found| count(found, "count") == STALLED as u64)
    });
    println!("flagged {:.1} s after it began, of an age of {AGE:?}", since.elapsed().as_secs_f64());
    assert_eq!((found.seen.verdict, owner(&found)), (Some("peer_not_reading"), Some(std::process::id())));
    assert_eq!(count(&found, "unsent_bytes"), (STALLED * NO_ROOM.len()) as u64);
    assert_eq!(count(&found, "established"), ns.run(proc_states)[TcpState::Established as usize]);
    assert_eq!(found.seen.subject.destination, Some(SocketAddr::new(peer_ip(false), 443)));
    assert_eq!(found.seen.subject.remote, Some(peer_ip(false)));
    drop(streams);
}

#[test]
fn peers_that_stop_reading_for_a_moment_again_and_again() {
    let ns = Netns::new("pauses");
    let tun = Tun::new(&ns, "tun0");
    let mut scene = Scene::with(impatient());
    let (mut peers, streams): (Vec<_>, Vec<_>) = full(&tun, &ns, STALLED).into_iter().unzip();
    let stop = AtomicBool::new(false);
    let mut rounds = 0;
    std::thread::scope(|scope| {
        let pauses = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for (peer, mut stream) in peers.iter_mut().zip(&streams) {
                    // Room again: what waits is sent. Then there is none.
                    peer.window = 1000;
                    peer.ack();
                    // Probes of the window, which came before, are empty.
                    while peer.wait(ACK, TIMEOUT).expect("what waited").payload.is_empty() {}
                    peer.window = 0;
                    peer.ack();
                    std::thread::sleep(Duration::from_millis(5));
                    stream.write_all(NO_ROOM).expect("write");
                }
                rounds += 1;
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        let quiet = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            scene.expect_nothing(&ns, Duration::from_secs(14));
        }));
        stop.store(true, Ordering::Relaxed);
        pauses.join().expect("no panic");
        quiet.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(rounds > 1, "it went on");
    println!("{rounds} pauses each");
}

#[test]
fn a_process_here_that_does_not_read() {
    let ns = Netns::new("unread");
    let mut scene = Scene::with(impatient());
    let listener = ns.run(|| sock::listen((Ipv4Addr::LOCALHOST, 0).into(), 64)).expect("listen");
    let address = listener.local_addr().expect("bound");
    let connections: Vec<(TcpStream, TcpStream)> = (0..STALLED)
        .map(|_| {
            let client = ns.run(|| TcpStream::connect(address)).expect("connect");
            let (server, _) = sock::accept(&listener, TIMEOUT).expect("accept");
            client.set_nonblocking(true).expect("an option");
            fill(&client);
            (client, server)
        })
        .collect();
    // Over loopback both ends are here: the one does not read, and the other's peer does not.
    let found = scene.expect(&ns, Kind::ZeroWindowStall, |found| {
        found.seen.verdict == Some("not_reading") && count(found, "count") == STALLED as u64
    });
    let unread: u64 = connections
        .iter()
        .map(|(_, server)| rustix::io::ioctl_fionread(server).expect("a socket tells"))
        .sum();
    assert_eq!(count(&found, "unread_bytes"), unread);
    assert_eq!(owner(&found), Some(std::process::id()));
    assert_eq!(found.seen.subject.listener, Some(address));
    let (_, findings) = scene.tick();
    let mut told: Vec<_> = of(&findings, &ns).iter().map(|finding| finding.seen.verdict).collect();
    told.sort_unstable();
    assert_eq!(told, [Some("not_reading"), Some("peer_not_reading")]);
    drop(connections);
}

/// Writes until nothing more is taken, not even a moment later.
fn fill(mut stream: &TcpStream) {
    let mut idle = 0;
    while idle < 3 {
        match stream.write(&[0; 1 << 14]) {
            Ok(written) if written > 0 => idle = 0,
            Ok(_) => panic!("nothing was written"),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                idle += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}
