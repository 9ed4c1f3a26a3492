//! Connections whose peers vanish, or lose what is sent; and odd ones that are fine.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tcpwatch::detect::Thresholds;
use tcpwatch::finding::{Finding, Kind};
use tcpwatch::sample::{Sample, Trouble};
use tcpwatch_common::TcpState;
use tcpwatch_common::machine::{EDGES, Verdict};

use super::{Scene, count, owner};
use crate::support::netns::Netns;
use crate::support::peer::Peer;
use crate::support::segment::PSH;
use crate::support::sock;
use crate::support::states::proc_states;
use crate::support::tun::{Tun, kernel_ip, peer_ip};

const TIMEOUT: Duration = Duration::from_secs(5);
const AGE: Duration = Duration::from_secs(3);
/// Until a namespace without suspicion has been walked twice, so far apart as detectors want it.
const TWO_WALKS: Duration = Duration::from_secs(24);
const IDLE: u64 = 12;
const LOST: &[u8] = b"nobody answers";

fn impatient() -> Thresholds {
    let mut thresholds = Thresholds::default();
    thresholds.silent_peer.idle_age = AGE;
    thresholds.silent_peer.unacknowledged_age = AGE;
    thresholds
}

fn impatient_of_the_lost() -> Thresholds {
    let mut thresholds = Thresholds::default();
    thresholds.silent_peer.unacknowledged_age = AGE;
    thresholds
}

fn service() -> SocketAddr {
    SocketAddr::new(peer_ip(false), 443)
}

fn opened<'a>(tun: &'a Tun, ns: &Netns) -> (Peer<'a>, TcpStream) {
    let mut peer = Peer::new(tun, service(), SocketAddr::new(kernel_ip(false), 0));
    let stream = ns.run(|| sock::connect_start(service())).expect("connect");
    peer.accept_from_kernel();
    (peer, stream)
}

#[track_caller]
fn assert_toward_the_service(found: &Finding) {
    let subject = &found.seen.subject;
    assert_eq!(
        (subject.destination, owner(found)),
        (Some(service()), Some(std::process::id())),
        "{found:#?}"
    );
}

#[test]
fn peers_that_vanish_while_nothing_is_sent() {
    let (silent, kept) = (Netns::new("idle"), Netns::new("kept"));
    let tuns = [&silent, &kept].map(|ns| Tun::new(ns, "tun0"));
    let mut scene = Scene::with(impatient());
    let idle: Vec<_> = (0..IDLE).map(|_| opened(&tuns[0], &silent)).collect();
    let tested: Vec<_> = (0..IDLE).map(|_| opened(&tuns[1], &kept)).collect();
    for (_, stream) in &tested {
        sock::keepalive(stream, Duration::from_hours(1), Duration::from_mins(1), 3).expect("keepalive");
    }
    let since = Instant::now();
    let found = scene.expect(&silent, Kind::SilentPeer, |found| count(found, "count") == IDLE);
    println!("flagged after {:.1} s, of an age of {AGE:?}", since.elapsed().as_secs_f64());
    assert_eq!(found.seen.verdict, Some("no_keepalive"));
    assert_toward_the_service(&found);
    assert_eq!(found.seen.subject.remote, Some(peer_ip(false)));
    assert_eq!(count(&found, "established"), silent.run(proc_states)[TcpState::Established as usize]);
    assert_eq!(count(&found, "unsent_bytes"), 0);
    // As long, and as idle, but the kernel would find out.
    let left = TWO_WALKS.saturating_sub(since.elapsed()).max(Duration::from_secs(2));
    scene.expect_nothing(&kept, left);
    assert_eq!(kept.run(proc_states)[TcpState::Established as usize], IDLE);
    drop((idle, tested));
}

#[test]
fn a_peer_that_vanishes_while_data_is_under_way() {
    let ns = Netns::new("vanish");
    let tun = Tun::new(&ns, "tun0");
    let mut scene = Scene::with(impatient());
    let (_peer, mut stream) = opened(&tun, &ns);
    stream.write_all(LOST).expect("write");
    let found = scene.expect(&ns, Kind::SilentPeer, |_| true);
    assert_eq!(found.seen.verdict, Some("unacknowledged"));
    assert_toward_the_service(&found);
    assert_eq!((count(&found, "count"), count(&found, "unsent_bytes")), (1, LOST.len() as u64));
    // What came from the peer was its SYN-ACK.
    assert!(ns.snmp()["Tcp.RetransSegs"] >= 2);
    assert_eq!(ns.snmp()["Tcp.InSegs"], 1);
}

#[test]
fn many_peers_that_vanish_while_data_is_under_way() {
    const MANY: u64 = 40;
    let ns = Netns::new("manyvanish");
    let tun = Tun::new(&ns, "tun0");
    let mut thresholds = impatient();
    thresholds.findings.close_after = Duration::from_mins(2);
    let mut scene = Scene::with(thresholds);
    let mut connections: Vec<_> = (0..MANY).map(|_| opened(&tun, &ns)).collect();
    for (_, stream) in &mut connections {
        stream.write_all(LOST).expect("write");
    }
    let burst = scene.expect(&ns, Kind::RetransmitBurst, |_| true);
    // At first probes go out, then timeouts make more and more of them.
    let told = burst.seen.verdict;
    assert!([Some("peer_silent"), Some("probes"), Some("unknown")].contains(&told), "{burst:#?}");
    assert_toward_the_service(&burst);
    assert_eq!(count(&burst, "fast"), 0);
    assert!(count(&burst, "retransmits") <= ns.snmp()["Tcp.RetransSegs"], "{burst:#?}");
    let both = [Kind::RetransmitBurst, Kind::SilentPeer];
    let silent = scene.expect_among(&ns, Kind::SilentPeer, &both, |found| count(found, "count") == MANY);
    assert_eq!(silent.seen.verdict, Some("unacknowledged"));
    assert_toward_the_service(&silent);
    assert_eq!(count(&silent, "unsent_bytes"), MANY * LOST.len() as u64);
    drop(connections);
}

#[test]
fn one_of_many_older_clients_vanishes() {
    const MANY: u16 = 30;
    let ns = Netns::new("older");
    let tun = Tun::new(&ns, "tun0");
    let listener = ns.run(|| sock::listen(SocketAddr::new(kernel_ip(false), 0), 64)).expect("listen");
    let address = listener.local_addr().expect("bound");
    let servers: Vec<_> = (0..MANY)
        .map(|port| {
            Peer::new(&tun, SocketAddr::new(peer_ip(false), 20_000 + port), address).connect_to_kernel();
            sock::accept(&listener, TIMEOUT).expect("accept").0
        })
        .collect();
    (&servers[0]).write_all(LOST).expect("write");
    // They are older than the programs, which do not know that they are clients of the service.
    let mut scene = Scene::with(impatient_of_the_lost());
    scene.expect_nothing(&ns, TWO_WALKS);
    let (sample, _) = scene.tick();
    let here = sample.namespaces.iter().find(|one| one.inode == ns.inode()).expect("it is there");
    let groups = &here.survey.as_ref().expect("walked").groups;
    let told = |trouble| {
        let mine = groups.iter().filter(|group| group.trouble == trouble && group.port == address.port());
        mine.map(|group| group.count).sum::<u64>()
    };
    assert_eq!((told(Trouble::Unacknowledged), told(Trouble::None)), (1, u64::from(MANY) - 1), "{groups:#?}");
}

/// Takes a stream in, and loses every `nth` segment that comes for the first time, until it has lost `most`.
fn lose(peer: &mut Peer<'_>, tun: &Tun, nth: u64, most: u64, lost: &AtomicU64, stop: &AtomicBool) {
    // Segments that came before those that they follow, by sequence number.
    let (mut early, mut known, mut fresh) = (BTreeSet::new(), BTreeSet::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let Some(came) = tun.recv(Duration::from_millis(20)) else { continue };
        if came.src != peer.remote || came.is_empty() {
            continue;
        }
        let span = (came.seq, came.seq.wrapping_add(came.len()));
        if known.insert(came.seq) {
            fresh += 1;
            if fresh % nth == 0 && lost.load(Ordering::Relaxed) < most {
                lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
        }
        early.insert(span);
        while let Some(next) = early.iter().find(|(seq, _)| *seq == peer.rcv_nxt).copied() {
            early.remove(&next);
            peer.rcv_nxt = next.1;
        }
        peer.ack();
    }
}

/// Sends until the peer has lost so many segments, or one has seen enough; how many were lost.
pub(super) fn send_over_a_lossy_path(ns: &Netns, nth: u64, most: u64, look: impl FnOnce(&Netns)) -> u64 {
    let tun = Tun::new(ns, "tun0");
    let (mut peer, stream) = opened(&tun, ns);
    stream.set_nonblocking(false).expect("an option");
    let (stop, done, lost) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| lose(&mut peer, &tun, nth, most, &lost, &stop));
        let writer = scope.spawn(|| {
            stream.set_write_timeout(Some(Duration::from_secs(20))).expect("an option");
            while lost.load(Ordering::Relaxed) < most && !done.load(Ordering::Relaxed) {
                (&stream).write_all(&[PSH; 1 << 14]).expect("write");
            }
        });
        let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| look(ns)));
        done.store(true, Ordering::Relaxed);
        writer.join().expect("no panic");
        stop.store(true, Ordering::Relaxed);
        reader.join().expect("no panic");
        looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    lost.load(Ordering::Relaxed)
}

#[test]
fn a_path_that_loses_segments() {
    // More than come within the time that is looked at, on a machine that is slow.
    const MANY: u64 = 400;
    let ns = Netns::new("lossy");
    let mut scene = Scene::open();
    let lost = send_over_a_lossy_path(&ns, 20, MANY, |ns| {
        let found = scene.expect(ns, Kind::RetransmitBurst, |found| {
            let again = count(found, "retransmits");
            again >= 50 && again <= ns.snmp()["Tcp.RetransSegs"]
        });
        println!("{}", found.seen.summary);
        assert_toward_the_service(&found);
        if count(&found, "of_unknown_kind") == 0 {
            assert_eq!(found.seen.verdict, Some("loss"), "{found:#?}");
            assert!(
                count(&found, "fast") > count(&found, "by_timeout") + count(&found, "probes"),
                "{found:#?}"
            );
        }
    });
    // After a timeout more is sent again than was lost.
    assert!(lost >= 20, "{lost} lost");
}

#[test]
fn a_path_that_loses_a_few_segments() {
    let ns = Netns::new("fewlost");
    let mut scene = Scene::open();
    let lost = send_over_a_lossy_path(&ns, 20, 15, |ns| scene.expect_nothing(ns, Duration::from_secs(6)));
    assert_eq!(lost, 15);
    assert!((15..50).contains(&ns.snmp()["Tcp.RetransSegs"]), "{}", ns.snmp()["Tcp.RetransSegs"]);
}

#[test]
fn a_socket_connected_to_itself() {
    let ns = Netns::new("itself");
    let mut scene = Scene::with(impatient());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 7777));
    let stream = ns.run(|| sock::bind_connect(address, address)).expect("connect");
    assert_eq!(ns.run(proc_states)[TcpState::Established as usize], 1);
    scene.expect_nothing(&ns, Duration::from_secs(4));
    let unusual = |sample: &Sample| {
        let here = sample.namespaces.iter().find(|one| one.inode == ns.inode()).expect("it is there");
        assert_eq!(here.illegal, []);
        let cells = here.cells.expect("eBPF counts");
        let edges = EDGES.iter().zip(cells).filter(|(edge, _)| edge.verdict == Verdict::Unusual);
        edges.filter(|(_, count)| *count > 0).map(|(edge, count)| (edge.from, edge.to, count)).collect()
    };
    let told: Vec<_> = unusual(&scene.tick().0);
    assert_eq!(told, [(TcpState::SynSent, TcpState::SynRecv, 1)]);
    drop(stream);
    scene.expect_nothing(&ns, Duration::from_secs(4));
    let told: Vec<_> = unusual(&scene.tick().0);
    assert_eq!(told, [(TcpState::SynSent, TcpState::SynRecv, 1), (TcpState::FinWait1, TcpState::Closing, 1)]);
}
