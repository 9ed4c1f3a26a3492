//! SYN floods: that they are told as such, at whatever listener, and that figures stay exact and memory fixed.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tcpwatch::finding::Kind;
use tcpwatch::model::listeners::Drops;
use tcpwatch_common::TcpState;

use super::{Scene, TICK, count, owner};
use crate::support::link::has_ipv6;
use crate::support::netns::Netns;
use crate::support::peer::Peer;
use crate::support::sock;
use crate::support::states::proc_states;
use crate::support::tun::{Tun, kernel_ip};
use crate::support::work::{Work, meanwhile};

const BACKLOG: i32 = 64;
const TIMEOUT: Duration = Duration::from_secs(10);
/// Remotes and clients that the programs remember.
const REMEMBERED: usize = 4096 + 1024;

struct Flooded {
    ns: Netns,
    tun: Tun,
    listeners: Vec<TcpListener>,
    address: SocketAddr,
    sent: AtomicU64,
}

impl Flooded {
    fn new(hint: &str, cookies: &str) -> (Self, Scene) {
        let ns = Netns::new(hint);
        ns.sysctl("net.ipv4.tcp_syncookies", cookies);
        let tun = Tun::new(&ns, "tun0");
        tun.default_routes();
        let (listeners, address) = (Vec::new(), SocketAddr::new(kernel_ip(false), 0));
        (Self { ns, tun, listeners, address, sent: AtomicU64::new(0) }, Scene::open())
    }

    fn listen(&mut self, ip: IpAddr, members: usize) {
        self.address = SocketAddr::new(ip, 0);
        for _ in 0..members {
            let listener = self.ns.run(|| sock::listen_sharing(self.address, BACKLOG)).expect("listen");
            self.address = listener.local_addr().expect("bound");
            self.listeners.push(listener);
        }
    }

    /// Each SYN has a source of its own.
    fn flood(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let sent = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
            let low = u32::try_from(sent).expect("not that many");
            let source: IpAddr = match self.address {
                SocketAddr::V4(_) => Ipv4Addr::from_bits(0x0b00_0000 + low).into(),
                SocketAddr::V6(_) => Ipv6Addr::from_bits(0xfd99 << 112 | u128::from(sent)).into(),
            };
            let port = 1024 + u16::try_from(sent % 50_000).expect("small");
            Peer::new(&self.tun, SocketAddr::new(source, port), self.address).syn_raw();
            std::thread::sleep(Duration::from_micros(300));
        }
    }

    /// Half-open requests are the kernel's, at rest.
    fn requests(&self, scene: &mut Scene) -> u64 {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let before = self.ns.run(proc_states)[TcpState::SynRecv as usize];
            let (sample, _) = scene.tick();
            let after = self.ns.run(proc_states)[TcpState::SynRecv as usize];
            let mine = sample.listeners.iter().filter(|listener| listener.netns == self.ns.inode());
            let held: u64 = mine.map(|listener| listener.syn_queue.expect("polled")).sum();
            if before == after {
                assert_eq!(held, after, "half-open requests");
                return held;
            }
            assert!(Instant::now() < deadline, "requests never come to rest");
        }
    }

    fn kernel(&self, name: &str) -> u64 {
        self.ns.snmp()[&format!("TcpExt.{name}")]
    }
}

/// Floods while `others` are at work, and demands that it is told as a flood and as nothing else. What was dropped, at
/// last.
fn told(flooded: &Flooded, scene: &mut Scene, what: &str, others: &[&Work<'_>]) -> Drops {
    let kinds: &[Kind] = match flooded.ns.run(cookies) {
        0 => &[Kind::SynFlood, Kind::SynQueueOverflow],
        _ => &[Kind::SynFlood],
    };
    scene.expect_nothing(&flooded.ns, 2 * TICK);
    let flood = |stop: &AtomicBool| flooded.flood(stop);
    let works: Vec<&Work<'_>> = others.iter().copied().chain([&flood as _]).collect();
    meanwhile(&works, || {
        let (_, ticks) = scene.expect_all(&flooded.ns, kinds, |found| found.len() == kinds.len());
        println!("{what}: told by tick {ticks}");
        assert!(ticks <= 2, "flagged at once");
        for _ in 0..5 {
            let found = scene.expect_to_stay(&flooded.ns, kinds, 1);
            let flood = &found[0];
            assert_eq!(flood.seen.verdict, Some("flood"), "{flood:#?}");
            for found in &found {
                assert_eq!(found.seen.subject.listener, Some(flooded.address));
                assert_eq!(owner(found), Some(std::process::id()));
            }
            assert!(count(flood, "unanswered") <= flooded.sent.load(Ordering::Relaxed));
        }
    });
    let (sent, held) = (flooded.sent.load(Ordering::Relaxed), flooded.requests(scene));
    let drops = scene.exact(&flooded.ns);
    let cookies = flooded.kernel("SyncookiesSent");
    println!("{what}: {sent} SYNs, {held} half-open, {cookies} cookies, {drops:?}");
    assert_eq!(drops.total(), drops.syn_queue);
    drops
}

fn cookies() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_syncookies").expect("readable");
    text.trim().parse().expect("a number")
}

#[test]
fn a_flood_without_cookies_with_and_always() {
    for mode in ["0", "1", "2"] {
        let (mut flooded, mut scene) = Flooded::new("flood", mode);
        flooded.listen(kernel_ip(false), 1);
        let drops = told(&flooded, &mut scene, &format!("cookies {mode}"), &[]);
        let (sent, cookies) = (flooded.sent.load(Ordering::Relaxed), flooded.kernel("SyncookiesSent"));
        let held = flooded.requests(&mut scene);
        // Requests are given up sooner where the queue is full, so more were held than are now.
        let answered = held + cookies + drops.total();
        assert!(answered <= sent && answered + 2 * BACKLOG as u64 > sent, "{answered} of {sent}");
        if mode == "2" {
            assert_eq!((held, cookies, drops.total()), (0, sent, 0), "each SYN is answered by a cookie");
        }
        let (sample, _) = scene.tick();
        let mine = sample.namespaces.iter().find(|one| one.inode == flooded.ns.inode()).expect("it is there");
        assert_eq!(mine.counters.expect("readable").ext.syncookies_sent, Some(cookies));
        assert!(sample.remotes.len() <= REMEMBERED);
    }
}

#[test]
fn a_flood_over_ipv6() {
    if !has_ipv6() {
        println!("this kernel has no IPv6");
        return;
    }
    let (mut flooded, mut scene) = Flooded::new("flood6", "1");
    flooded.listen(kernel_ip(true), 1);
    told(&flooded, &mut scene, "IPv6", &[]);
}

#[test]
fn a_flood_of_a_service_with_several_listeners() {
    let (mut flooded, mut scene) = Flooded::new("group", "1");
    flooded.listen(kernel_ip(false), 3);
    told(&flooded, &mut scene, "three listeners", &[]);
    let (found, _) = scene.expect_all(&flooded.ns, &[Kind::SynFlood], |found| !found.is_empty());
    assert_eq!(count(&found[0], "members"), 3);
    let each = u64::try_from(BACKLOG).expect("positive");
    let all = count(&found[0], "syn_queue_length");
    assert!((1..=3 * (each + 1)).contains(&all), "{all}");
}

#[test]
fn honest_clients_get_through_a_flood_by_cookies() {
    let (mut flooded, mut scene) = Flooded::new("honest", "1");
    flooded.listen(kernel_ip(false), 1);
    let served = AtomicU64::new(0);
    let server = |stop: &AtomicBool| {
        while !stop.load(Ordering::Relaxed) {
            drop(sock::accept(&flooded.listeners[0], Duration::from_millis(50)));
        }
    };
    let clients = |stop: &AtomicBool| {
        flooded.ns.run(|| {
            while !stop.load(Ordering::Relaxed) {
                let mut client = TcpStream::connect_timeout(&flooded.address, TIMEOUT).expect("by a cookie");
                client.set_read_timeout(Some(TIMEOUT)).expect("an option");
                assert_eq!(client.read(&mut [0]).expect("the server has accepted and closed"), 0);
                served.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
    };
    let drops = told(&flooded, &mut scene, "honest clients", &[&server, &clients]);
    assert_eq!(drops, Drops::default(), "nobody is turned away");
    let (served, by_cookie) = (served.load(Ordering::Relaxed), flooded.kernel("SyncookiesRecv"));
    println!("{served} honest clients, {by_cookie} of them by cookies");
    assert!(by_cookie > 0 && served >= by_cookie);
}

#[test]
fn a_flood_of_two_listeners_at_once() {
    for mode in ["1", "2"] {
        let (flooded, mut scene) = Flooded::new("two", mode);
        // The queues are so short that nearly all is answered by cookies.
        let address = SocketAddr::new(kernel_ip(false), 0);
        let listen = || flooded.ns.run(|| sock::listen(address, 4)).expect("listen");
        let listeners = [listen(), listen()];
        let addresses = listeners.each_ref().map(|one| one.local_addr().expect("bound"));
        scene.expect_nothing(&flooded.ns, 2 * TICK);
        let flood = |stop: &AtomicBool| {
            while !stop.load(Ordering::Relaxed) {
                let sent = flooded.sent.fetch_add(1, Ordering::Relaxed) + 1;
                let source = Ipv4Addr::from_bits(0x0b00_0000 + u32::try_from(sent).expect("not that many"));
                for to in addresses {
                    Peer::new(&flooded.tun, SocketAddr::from((source, 1024)), to).syn_raw();
                }
                std::thread::sleep(Duration::from_micros(300));
            }
        };
        meanwhile(&[&flood], || {
            let expected = if mode == "1" { 2 } else { 1 };
            let kinds = [Kind::SynFlood];
            let (found, ticks) = scene.expect_all(&flooded.ns, &kinds, |found| found.len() == expected);
            println!("cookies {mode}: told by tick {ticks}");
            let mut told: Vec<_> = found.iter().filter_map(|one| one.seen.subject.listener).collect();
            told.sort();
            let mut meant = if mode == "1" { addresses.to_vec() } else { Vec::new() };
            meant.sort();
            assert_eq!(told, meant, "{found:#?}");
            assert!(found.iter().all(|one| one.seen.verdict == Some("flood")), "{found:#?}");
            assert!(count(&found[0], "cookies_sent") > 1000, "{found:#?}");
        });
    }
}
