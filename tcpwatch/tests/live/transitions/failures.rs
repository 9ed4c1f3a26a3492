//! Connections that time out or whose peer cannot be reached.

use super::{Bed, in_both_families, loopback};
use crate::support::link::has_ipv6;
use crate::support::netns::{Netns, veth};
use crate::support::sock;
use crate::watch::Watch;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

#[test]
fn nobody_answers_the_syn() {
    let bed = Bed::new("synto");
    bed.ns.sysctl("net.ipv4.tcp_syn_retries", "1");
    let streams = [bed.connecting(false), bed.connecting(true)];
    for (v6, _) in [false, true].into_iter().zip(&streams) {
        // Both time out at about the same time.
        if !v6 {
            bed.watch().await_other("retransmit syn in syn_sent");
        }
    }
    let ended = |view: &&tcpwatch::view::event::View| view.to == Some("close");
    let views = bed.watch().transitions(|told| told.iter().filter(|view| ended(view)).count() == 2);
    assert_eq!(views, ["syn_sent>close rfc timeout me"; 2]);
    bed.done();
}

#[test]
fn nobody_acknowledges_data() {
    in_both_families("userto", |bed, v6| {
        let (_peer, mut stream) = bed.client(v6);
        sock::user_timeout(&stream, Duration::from_millis(500)).expect("set the user timeout");
        stream.write_all(b"lost").expect("write");
        bed.watch().await_other("retransmit data in established");
        bed.expect(v6, &[("client", &["established>close rfc timeout me"])]);
        let error = stream.write(b"x").expect_err("timed out");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn nobody_acknowledges_the_fin() {
    in_both_families("finto", |bed, v6| {
        let (_peer, stream) = bed.server(v6);
        sock::user_timeout(&stream, Duration::from_millis(300)).expect("set the user timeout");
        drop(stream);
        let steps: &[_] = &["established>fin_wait1 rfc me", "fin_wait1>close rfc timeout unknown"];
        bed.expect(v6, &[("server", steps)]);
    });
}

#[test]
fn nobody_answers_keepalive_probes() {
    in_both_families("keepalive", |bed, v6| {
        let (_peer, stream) = bed.server(v6);
        let second = Duration::from_secs(1);
        sock::keepalive(&stream, second, second, 1).expect("set keepalive");
        bed.expect(v6, &[("server", &["established>close rfc timeout unknown"])]);
    });
}

/// Neighbour discovery finds nobody: the host's own ICMP error.
#[test]
fn no_such_host() {
    assert!(has_ipv6());
    let (ns, other) = (Netns::new("nohost"), Netns::new("other"));
    let v4: [IpAddr; 3] = [1, 2, 3].map(|host| Ipv4Addr::new(10, 78, 0, host).into());
    let v6: [IpAddr; 3] = [1, 2, 3].map(|host| Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, host).into());
    veth(&ns, &other, v4[0], v4[1]);
    ns.run(|| crate::support::link::add_addr("tw0", v6[0], 64));
    other.run(|| crate::support::link::add_addr("tw0", v6[1], 64));
    let mut watch = Watch::on(&ns);
    let _streams =
        [v4[2], v6[2]].map(|ip| ns.run(|| sock::connect_start(SocketAddr::new(ip, 80))).expect("connect"));
    let views = watch.transitions(|told| told.len() == 4);
    assert_eq!(views[..2], ["close>syn_sent rfc me"; 2]);
    assert_eq!(views[2..], ["syn_sent>close rfc unreachable me"; 2]);
    watch.done();
}

/// A socket that has nothing to do with TCP's machine, or is never connected, is never told of.
#[test]
fn sockets_that_are_never_connected() {
    in_both_families("idle", |bed, v6| {
        bed.ns.run(|| {
            let addr = SocketAddr::new(loopback(v6), 0);
            let udp = std::net::UdpSocket::bind(addr).expect("bind");
            udp.connect(udp.local_addr().expect("local address")).expect("connect");
            let family =
                if v6 { rustix::net::AddressFamily::INET6 } else { rustix::net::AddressFamily::INET };
            let bound = rustix::net::socket(family, rustix::net::SocketType::STREAM, None).expect("socket");
            rustix::net::bind(&bound, &addr).expect("bind");
        });
        bed.expect(v6, &[]);
    });
}
