//! Floods, overflows and real clients on the live kernel: what is found, and that nothing else is.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tcpwatch::detect::{Detectors, Thresholds};
use tcpwatch::finding::{Candidate, Kind};

use super::Host;
use crate::scenarios::replay::Recording;
use crate::support::netns::Netns;
use crate::support::peer::Peer;
use crate::support::sock;
use crate::support::tun::{Tun, kernel_ip};
use crate::support::work::{Work, meanwhile};

const TICK: Duration = Duration::from_secs(1);
const CLIENTS: usize = 4;

/// The detectors behind the live source.
pub(super) struct Watch {
    host: Host,
    detectors: Detectors,
    recording: Recording,
    netns: u64,
}

impl Drop for Watch {
    /// As scenes do.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.recording.replays_the_same(&Thresholds::default());
        }
    }
}

impl Watch {
    pub(super) fn on(ns: &Netns) -> Self {
        let mut watch = Watch {
            host: Host::open(),
            detectors: Detectors::default(),
            recording: Recording::default(),
            netns: ns.inode(),
        };
        assert_eq!(watch.look(), [], "before anything happens");
        watch
    }

    /// What is found in the namespace by a sample of now.
    pub(super) fn look(&mut self) -> Vec<Candidate> {
        let sample = Arc::new(self.host.sample());
        let found = self.detectors.apply(&sample, &Thresholds::default());
        self.recording.take(&sample, &found);
        let mine = found.open.into_iter().map(|finding| finding.seen);
        mine.filter(|seen| seen.subject.netns == Some(self.netns)).collect()
    }
}

pub(super) fn told(found: &[Candidate]) -> Vec<(Kind, Option<&'static str>)> {
    let mut told: Vec<_> = found.iter().map(|one| (one.kind, one.verdict)).collect();
    told.sort_unstable();
    told
}

pub(super) fn listen(ns: &Netns, ip: std::net::IpAddr, backlog: i32) -> (TcpListener, SocketAddr) {
    let listener = ns.run(|| sock::listen(SocketAddr::new(ip, 0), backlog)).expect("listen");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

#[test]
fn a_flood_is_one_whatever_the_cookies() {
    for (cookies, expected) in [
        (0, vec![(Kind::SynFlood, Some("flood")), (Kind::SynQueueOverflow, None)]),
        (1, vec![(Kind::SynFlood, Some("flood"))]),
        (2, vec![(Kind::SynFlood, Some("flood"))]),
    ] {
        let ns = Netns::new("flood");
        ns.sysctl("net.ipv4.tcp_syncookies", &cookies.to_string());
        let tun = Tun::new(&ns, "tun0");
        tun.default_routes();
        let (_listener, address) = listen(&ns, kernel_ip(false), 64);
        let mut watch = Watch::on(&ns);
        let began = Instant::now();
        let mut sent = 0_u32;
        let mut flood = |until: Duration| {
            while began.elapsed() < until {
                sent += 1;
                let source = Ipv4Addr::from(0x0b00_0000 + sent);
                Peer::new(&tun, SocketAddr::new(source.into(), 1024 + (sent % 50_000) as u16), address)
                    .syn_raw();
                std::thread::sleep(Duration::from_micros(400));
            }
        };
        flood(TICK);
        let first = watch.look();
        assert_eq!(told(&first), expected, "cookies {cookies} at once: {first:#?}");
        flood(3 * TICK);
        let later = watch.look();
        assert_eq!(told(&later), expected, "cookies {cookies}: {later:#?}");
        assert!(later.iter().all(|one| one.subject.listener == Some(address)));
    }
}

#[test]
fn a_queue_that_nobody_takes_from_overflows() {
    let ns = Netns::new("overflow");
    let (_listener, address) = listen(&ns, Ipv4Addr::LOCALHOST.into(), 8);
    let mut watch = Watch::on(&ns);
    let clients: Vec<_> = (0..50).map(|_| ns.run(|| sock::connect_start(address)).expect("start")).collect();
    for _ in 0..3 {
        std::thread::sleep(TICK);
        let found = watch.look();
        assert_eq!(told(&found), [(Kind::AcceptQueueOverflow, Some("slow_accept"))], "{found:#?}");
        assert_eq!(found[0].subject.listener, Some(address));
    }
    drop(clients);
}

#[test]
fn heavy_thousands_of_real_connections_a_second_are_fine() {
    let ns = Netns::new("busy");
    let (listener, address) = listen(&ns, Ipv4Addr::LOCALHOST.into(), 512);
    let mut watch = Watch::on(&ns);
    let made = AtomicU64::new(0);
    let serve = |stop: &AtomicBool| {
        // Clients that wait are served also when it is over.
        while sock::accept(&listener, TICK).is_ok() || !stop.load(Ordering::Relaxed) {}
    };
    let call = |stop: &AtomicBool| {
        ns.run(|| {
            while !stop.load(Ordering::Relaxed) {
                let mut client = TcpStream::connect(address).expect("it listens");
                // Until the server has closed, so that no queue builds up.
                let _ = client.read(&mut [0]);
                made.fetch_add(1, Ordering::Relaxed);
            }
        });
    };
    let mut works: Vec<&Work<'_>> = vec![&serve];
    works.extend([&call as &Work<'_>; CLIENTS]);
    let all: Vec<_> = meanwhile(&works, || {
        let look = |_| {
            std::thread::sleep(TICK);
            watch.look()
        };
        (0..5).flat_map(look).collect()
    });
    assert_eq!(told(&all), [], "{all:#?}");
    println!("{} connections", made.load(Ordering::Relaxed));
}
