//! What a subscriber does not want never comes out of the kernel, and every fact has a known fate.

use super::{Bed, TIMEOUT, loopback};
use crate::support::sock;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use tcpwatch::view::event::View;
use tcpwatch_common::event::Filter;

/// The transitions of two connections, to two ports and of both families.
struct Traffic {
    listeners: [TcpListener; 2],
}

impl Traffic {
    fn new(bed: &Bed) -> Traffic {
        let listeners = [80, 443].map(|port| bed.listen_at((Ipv6Addr::UNSPECIFIED, port).into()));
        bed.expect(true, &[("listener", &["close>listen rfc me"]), ("listener", &["close>listen rfc me"])]);
        Traffic { listeners }
    }

    /// Opens and closes a connection to each port over IPv4 and over IPv6; what was told of it.
    fn tell(&self, bed: &Bed, filter: Filter) -> Vec<View> {
        bed.watch().narrow(filter);
        for listener in &self.listeners {
            let port = listener.local_addr().expect("local address").port();
            for v6 in [false, true] {
                let to = SocketAddr::new(loopback(v6), port);
                let client = bed.ns.run(|| TcpStream::connect(to)).expect("connect");
                let (server, _) = sock::accept(listener, TIMEOUT).expect("accept");
                sock::linger_zero(&client).expect("linger");
                drop(client);
                await_reset(&server);
            }
        }
        bed.watch().stop();
        bed.watch().rest()
    }
}

#[test]
fn only_what_is_wanted_is_delivered() {
    let bed = Bed::new("filters");
    let traffic = Traffic::new(&bed);
    let all = traffic.tell(&bed, Filter::default());
    // Each of four connections: two sides, three transitions, and a reset sent and received.
    assert_eq!(all.len(), 4 * (2 * 3 + 2), "{all:#?}");

    let port = |view: &View, text: &str| view.local.ends_with(text) || view.remote.ends_with(text);
    let told = traffic.tell(&bed, Filter { port: 80, ..Filter::default() });
    assert!(told.iter().all(|view| port(view, ":80")), "{told:#?}");
    assert_eq!(told.len(), all.len() / 2);

    let told = traffic.tell(&bed, Filter { local_port: 443, ..Filter::default() });
    assert!(told.iter().all(|view| view.local.ends_with(":443")), "{told:#?}");
    assert_eq!(sides(&told), BTreeSet::from(["listen", "syn_recv", "established"]));

    let told = traffic.tell(&bed, Filter { remote_port: 443, ..Filter::default() });
    assert!(told.iter().all(|view| view.remote.ends_with(":443")), "{told:#?}");
    assert_eq!(told.iter().filter(|view| view.from == Some("syn_sent")).count(), 2, "{told:#?}");

    let syn_sent = Filter { states: 1 << 2, ..Filter::default() };
    let told = traffic.tell(&bed, syn_sent);
    let steps: BTreeSet<_> = told.iter().map(|view| (view.from, view.to)).collect();
    assert_eq!(
        steps,
        BTreeSet::from([(Some("close"), Some("syn_sent")), (Some("syn_sent"), Some("established"))])
    );
    assert_eq!(told.len(), 8);

    let told = traffic.tell(&bed, Filter { pid: std::process::id(), ..Filter::default() });
    assert!(told.iter().all(|view| view.owner.pid == Some(std::process::id())), "{told:#?}");
    assert!(!told.is_empty() && told.len() < all.len(), "{told:#?}");

    assert_eq!(traffic.tell(&bed, Filter { pid: 1, ..Filter::default() }), []);

    let odd = Filter { odd_only: 1, ..Filter::default() };
    let told = traffic.tell(&bed, odd);
    assert!(!told.iter().any(|view| view.kind == "transition"), "{told:#?}");
    bed.watch().narrow(odd);
    let addr = SocketAddr::new(loopback(false), 7777);
    drop(bed.ns.run(|| sock::bind_connect(addr, addr)).expect("connect to itself"));
    bed.expect(false, &[("stranger", &["syn_sent>syn_recv unusual me", "fin_wait1>closing unusual me"])]);
    bed.done();
}

#[test]
fn peers_are_told_apart_by_prefix() {
    let bed = Bed::new("peers");
    let traffic = Traffic::new(&bed);
    let v6: IpAddr = Ipv6Addr::LOCALHOST.into();
    let v4: IpAddr = Ipv4Addr::LOCALHOST.into();
    for (ip, bits, family) in
        [(v6, 128, "ipv6"), (v4, 128, "ipv4"), (v4, 96 + 8, "ipv4"), (v4, 96 + 1, "ipv4")]
    {
        let told = traffic.tell(&bed, peer(ip, bits));
        // Up to 6.12 a child is told of with the listener's peer, which is nobody.
        let told: Vec<_> = told.iter().filter(|view| view.from != Some("listen")).collect();
        assert!(told.iter().all(|view| view.family == family), "{told:#?}");
        assert_eq!(told.len(), 2 * (5 + 2), "{told:#?}");
    }
    assert_eq!(traffic.tell(&bed, peer(Ipv4Addr::new(127, 0, 0, 2).into(), 128)), []);
    bed.done();
}

/// seen = filtered + lost + delivered, whatever else happens on the host.
#[test]
fn every_fact_has_a_known_fate() {
    let bed = Bed::new("fate");
    let traffic = Traffic::new(&bed);
    for filter in [Filter::default(), Filter { port: 80, ..Filter::default() }] {
        traffic.tell(&bed, filter);
        let ring = bed.watch().host().ring;
        let delivered = bed.watch().delivered();
        assert_eq!(ring.seen, ring.filtered + ring.lost + delivered, "{ring:?} delivered {delivered}");
        assert!(delivered > 0 && (filter.port == 0 || ring.filtered > 0), "{ring:?}");
    }
    bed.done();
}

fn peer(ip: IpAddr, bits: u8) -> Filter {
    let ip = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mask = u128::MAX << (128 - u32::from(bits));
    let halves = |value: u128| {
        let bytes = value.to_be_bytes();
        [0, 8].map(|at| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes")))
    };
    Filter {
        peer: halves(u128::from(ip) & mask),
        peer_mask: halves(mask),
        peer_bits: bits,
        ..Filter::default()
    }
}

fn sides(told: &[View]) -> BTreeSet<&'static str> {
    told.iter().filter_map(|view| view.from.or(view.state)).collect()
}

fn await_reset(stream: &TcpStream) {
    stream.set_read_timeout(Some(TIMEOUT)).expect("set a timeout");
    let error = stream.peek(&mut [0]).expect_err("reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
