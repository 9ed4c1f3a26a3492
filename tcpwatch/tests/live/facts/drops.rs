//! Drops by cause are the kernel's own counts, with cookies off, on and always, aborting or not.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tcpwatch::model::listeners::{Drops, Listeners, NamespaceDrops, Tally};

use super::Host;
use crate::support::netns::Netns;
use crate::support::peer::Peer;
use crate::support::segment::{ACK, SYN};
use crate::support::sock;
use crate::support::tun::{Tun, kernel_ip, peer_ip};

const BACKLOG: i32 = 4;

/// A namespace with a scripted peer behind a TUN device.
struct Bed<'a> {
    ns: &'a Netns,
    tun: &'a Tun,
    host: &'a mut Host,
    tally: Tally,
    port: u16,
}

/// What a listener dropped while something was done to it.
struct Found {
    drops: Drops,
    sk_drops: u64,
    twice: u64,
    namespace: NamespaceDrops,
    kernel: HashMap<String, u64>,
}

impl<'a> Bed<'a> {
    fn new(ns: &'a Netns, tun: &'a Tun, host: &'a mut Host) -> Self {
        host.until("the namespace", |sample| super::namespace(sample, ns)?.counters.map(|_| ()));
        Bed { ns, tun, host, tally: Tally::default(), port: 20_000 }
    }

    fn listen(&self, backlog: i32) -> (TcpListener, SocketAddr) {
        let listener =
            self.ns.run(|| sock::listen(SocketAddr::new(kernel_ip(false), 0), backlog)).expect("listen");
        let address = listener.local_addr().expect("bound");
        (listener, address)
    }

    fn peers(&mut self, address: SocketAddr, count: u16) -> Vec<Peer<'a>> {
        self.port += count;
        let first = self.port - count;
        (first..self.port)
            .map(|port| Peer::new(self.tun, SocketAddr::new(peer_ip(false), port), address))
            .collect()
    }

    fn half_open(&mut self, address: SocketAddr, count: u16) -> Vec<Peer<'a>> {
        let mut peers = self.peers(address, count);
        for peer in &mut peers {
            peer.syn();
            peer.expect(SYN | ACK);
        }
        peers
    }

    fn connected(&mut self, address: SocketAddr, count: u16) {
        // One by one: a queue of half-open requests is as short as the other, and by one shorter on older kernels.
        for _ in 0..count {
            for peer in self.half_open(address, 1) {
                peer.ack();
            }
        }
    }

    fn look(&mut self) -> Listeners {
        // What was sent has been taken in by then.
        std::thread::sleep(Duration::from_millis(30));
        self.tally.apply(&Arc::new(self.host.sample()))
    }

    fn during(&mut self, address: SocketAddr, act: impl FnOnce(&mut Self)) -> Found {
        let find = |listeners: &Listeners| {
            let service = listeners.services.iter().find(|one| one.local == address).expect("it listens");
            (service.members[0].clone(), listeners.namespaces[&service.netns])
        };
        let (before, space) = find(&self.look());
        let counted = netstat(self.ns);
        act(self);
        let (after, now) = find(&self.look());
        let kernel = netstat(self.ns).into_iter().map(|(name, count)| {
            let before = counted.get(&name).copied().unwrap_or(0);
            (name, count.saturating_sub(before))
        });
        let (old, new) = (before.drops.counts(), after.drops.counts());
        let less = |at: usize| new[at] - old[at];
        Found {
            drops: Drops {
                accept_queue_syn: less(0),
                accept_queue_ack: less(1),
                syn_queue: less(2),
                other: less(3),
                unknown: less(4),
            },
            sk_drops: after.sk_drops - before.sk_drops,
            twice: after.twice - before.twice,
            namespace: NamespaceDrops {
                listen_drops: now.listen_drops - space.listen_drops,
                listen_overflows: now.listen_overflows - space.listen_overflows,
                unattributed: now.unattributed - space.unattributed,
                ..now
            },
            kernel: kernel.collect(),
        }
    }
}

impl Found {
    /// Checks that the sums are the kernel's, and gives the causes.
    #[track_caller]
    fn exact(&self) -> Drops {
        let Self { drops, namespace, .. } = self;
        assert_eq!(namespace.listen_drops, self.kernel["ListenDrops"], "{drops:?}");
        assert_eq!(namespace.listen_overflows, self.kernel["ListenOverflows"], "{drops:?}");
        assert_eq!((namespace.unattributed, namespace.pending), (0, 0), "{drops:?}");
        assert_eq!(drops.total(), self.kernel["ListenDrops"], "{drops:?}");
        assert_eq!(drops.accept_queue() + drops.unknown, self.kernel["ListenOverflows"], "{drops:?}");
        assert_eq!(drops.total() + self.twice, self.sk_drops, "{drops:?}");
        *drops
    }
}

/// What `nstat` shows of TCP's own counters.
fn netstat(ns: &Netns) -> HashMap<String, u64> {
    let text = ns.run(|| std::fs::read_to_string("/proc/thread-self/net/netstat")).expect("readable");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, counts) = (lines.next().expect("names"), lines.next().expect("counts"));
    names
        .split(' ')
        .map(str::to_owned)
        .zip(counts.split(' ').map(|count| count.parse().expect("a count")))
        .collect()
}

#[test]
fn every_cause_is_told_as_the_kernel_counts_it() {
    let cases = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)].map(|(cookies, abort)| {
        let ns = Netns::new("drops");
        ns.sysctl("net.ipv4.tcp_syncookies", &cookies.to_string());
        ns.sysctl("net.ipv4.tcp_abort_on_overflow", &abort.to_string());
        (cookies, abort, ns)
    });
    // It finds those that are there when it starts at once.
    let mut host = Host::open();
    for (cookies, abort, ns) in cases {
        let tun = Tun::new(&ns, "tun0");
        let mut bed = Bed::new(&ns, &tun, &mut host);
        let case = format!("cookies {cookies}, abort {abort}");
        at_the_syn(&mut bed, &case);
        at_the_last_ack(&mut bed, &case);
        in_the_syn_queue(&mut bed, cookies, &case);
        nothing_but_strays(&mut bed, &case);
    }
}

fn at_the_syn(bed: &mut Bed<'_>, case: &str) {
    let (_listener, address) = bed.listen(BACKLOG);
    bed.connected(address, 5);
    let found = bed.during(address, |bed| bed.peers(address, 20).iter().for_each(Peer::syn_raw));
    let drops = found.exact();
    assert_eq!((drops.accept_queue_syn, drops.total()), (20, 20), "{case}: {drops:?}");
}

fn at_the_last_ack(bed: &mut Bed<'_>, case: &str) {
    let (listener, address) = bed.listen(8);
    let peers = bed.half_open(address, 8);
    peers[..5].iter().for_each(Peer::ack);
    // A shorter queue for what is under way.
    rustix::net::listen(&listener, BACKLOG).expect("listen again");
    let found = bed.during(address, |_| peers[5..].iter().for_each(Peer::ack));
    let drops = found.exact();
    assert_eq!((drops.accept_queue_ack, drops.total()), (3, 3), "{case}: {drops:?}");
}

fn in_the_syn_queue(bed: &mut Bed<'_>, cookies: u64, case: &str) {
    let (_listener, address) = bed.listen(BACKLOG);
    let found = bed.during(address, |bed| bed.peers(address, 30).iter().for_each(Peer::syn_raw));
    let drops = found.exact();
    assert_eq!(drops.syn_queue, drops.total(), "{case}: {drops:?}");
    // Up to 5.15 the queue takes one less.
    let expected = if cookies == 0 { 25..=26 } else { 0..=0 };
    assert!(expected.contains(&drops.total()), "{case}: {drops:?}");
}

fn nothing_but_strays(bed: &mut Bed<'_>, case: &str) {
    let (_listener, address) = bed.listen(128);
    let found = bed.during(address, |bed| {
        bed.peers(address, 10).iter().for_each(Peer::rst);
        for mut peer in bed.peers(address, 10) {
            peer.fin();
        }
    });
    assert_eq!(found.drops, Drops::default(), "{case}");
    assert_eq!(found.kernel["ListenDrops"], 0, "{case}");
}

#[test]
fn two_listeners_with_one_trouble_each() {
    let ns = Netns::new("twodrops");
    ns.sysctl("net.ipv4.tcp_syncookies", "0");
    let mut host = Host::open();
    let tun = Tun::new(&ns, "tun0");
    let mut bed = Bed::new(&ns, &tun, &mut host);
    let (_slow, slow) = bed.listen(BACKLOG);
    let (_flooded, flooded) = bed.listen(BACKLOG);
    bed.connected(slow, 5);
    let _first = bed.look();
    bed.peers(slow, 7).iter().for_each(Peer::syn_raw);
    bed.peers(flooded, 30).iter().for_each(Peer::syn_raw);
    let found = bed.look();
    let drops =
        |address| found.services.iter().find(|one| one.local == address).expect("it listens").drops().0;
    assert_eq!((drops(slow).accept_queue_syn, drops(slow).total()), (7, 7));
    assert_eq!(drops(flooded).syn_queue, drops(flooded).total());
    assert!((25..=26).contains(&drops(flooded).total()), "{:?}", drops(flooded));
    let space = found.namespaces[&ns.inode()];
    assert_eq!(space.listen_drops, drops(slow).total() + drops(flooded).total());
    assert_eq!((space.unattributed, space.pending), (0, 0));
}
