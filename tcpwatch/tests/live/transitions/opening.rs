//! How connections begin, or fail to.

use super::{Bed, TIMEOUT, in_both_families, loopback};
use crate::support::segment::{ACK, RST, SYN, Segment};
use crate::support::sock;
use crate::support::states::{SYN_RECV, wait_state};
use crate::support::tun::{KERNEL_V4, kernel_ip};
use std::io::{ErrorKind, Read};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use tcpwatch_common::cell;

#[test]
fn connections_over_loopback() {
    in_both_families("pair", |bed, v6| {
        let _both = bed.pair(v6);
    });
}

#[test]
fn addresses_and_times_are_those_of_the_socket() {
    in_both_families("names", |bed, v6| {
        let listener = bed.listen(v6);
        let server = listener.local_addr().expect("local address").to_string();
        let mut peer = bed.peer(v6, listener.local_addr().expect("local address"));
        let remote = peer.local.to_string();
        peer.connect_to_kernel();
        drop(sock::accept(&listener, TIMEOUT).expect("accept"));
        peer.expect(super::closing::FIN_ACK);
        peer.rst();
        let mut views = Vec::new();
        while !views.iter().any(|view: &tcpwatch::view::event::View| view.to == Some("close")) {
            views.extend(bed.watch().rest());
        }
        views.retain(|view| view.kind == "transition");
        for view in &views {
            assert_eq!(
                view.local.rsplit_once(':').expect("a port").1,
                server.rsplit_once(':').expect("a port").1
            );
            // What has happened to the child already when it is told of depends on the kernel: see kernel versions
            // up to 6.12, which give it the listener's addresses.
            if view.from != Some("listen") && view.from != Some("close") {
                assert_eq!((&view.local, &view.remote), (&server, &remote), "{view:?}");
                assert!(view.in_state.is_some_and(|time| time < 60.0), "{view:?}");
            }
        }
    });
}

#[test]
fn v4_client_of_a_dual_stack_listener_is_shown_as_mapped_ipv4() {
    let bed = Bed::new("mapped");
    let listener = bed.listen_at((Ipv6Addr::UNSPECIFIED, 0).into());
    bed.expect(true, &[("listener", &["close>listen rfc me"])]);
    let addr = SocketAddr::new(loopback(false), listener.local_addr().expect("local address").port());
    let client = bed.ns.run(|| TcpStream::connect(addr)).expect("connect");
    let (server, _) = sock::accept(&listener, TIMEOUT).expect("accept");
    bed.expect(
        false,
        &[
            ("client", &["close>syn_sent rfc me", "syn_sent>established rfc me"]),
            ("server mapped", &["listen>syn_recv linux unknown", "syn_recv>established rfc unknown"]),
        ],
    );
    drop(server);
    bed.expect(
        false,
        &[
            ("client", &["established>close_wait rfc me"]),
            (
                "server mapped",
                &[
                    "established>fin_wait1 rfc me",
                    "fin_wait1>fin_wait2 rfc unknown",
                    "fin_wait2>close linux closed unknown",
                ],
            ),
        ],
    );
    drop(client);
    bed.expect(false, &[("client", &["close_wait>last_ack rfc me", "last_ack>close rfc closed me"])]);
    bed.done();
}

#[test]
fn v6_client_of_a_v4_address_is_shown_as_mapped_ipv4() {
    let bed = Bed::new("mapped");
    let listener = bed.listen(false);
    bed.expect(false, &[("listener", &["close>listen rfc me"])]);
    let port = listener.local_addr().expect("local address").port();
    let addr = SocketAddr::new(KERNEL_V4.to_ipv6_mapped().into(), port);
    let _client = bed.ns.run(|| TcpStream::connect(addr)).expect("connect");
    bed.expect(
        false,
        &[
            ("client mapped", &["close>syn_sent rfc me", "syn_sent>established rfc me"]),
            ("server", &["listen>syn_recv linux unknown", "syn_recv>established rfc unknown"]),
        ],
    );
    bed.done();
}

#[test]
fn simultaneous_open() {
    in_both_families("simopen", |bed, v6| {
        let (mut peer, _stream) = bed.connecting(v6);
        peer.syn();
        bed.expect(v6, &[("client", &["syn_sent>syn_recv unusual me"])]);
        peer.expect(SYN | ACK);
        peer.ack();
        bed.expect(v6, &[("client", &["syn_recv>established rfc me"])]);
    });
}

#[test]
fn closed_between_simultaneous_syns_and_ack() {
    in_both_families("simclose", |bed, v6| {
        let (mut peer, stream) = bed.connecting(v6);
        peer.syn();
        peer.expect(SYN | ACK);
        bed.expect(v6, &[("client", &["syn_sent>syn_recv unusual me"])]);
        drop(stream);
        bed.expect(v6, &[("client", &["syn_recv>fin_wait1 rfc me"])]);
        peer.rst();
        bed.expect(v6, &[("client", &["fin_wait1>close rfc reset_received me"])]);
    });
}

#[test]
fn reset_between_simultaneous_syns_and_ack() {
    in_both_families("simreset", |bed, v6| {
        let (mut peer, _stream) = bed.connecting(v6);
        peer.syn();
        peer.expect(SYN | ACK);
        peer.rst();
        let ending = "syn_recv>close rfc reset_received me";
        bed.expect(v6, &[("client", &["syn_sent>syn_recv unusual me", ending])]);
    });
}

/// The kernel makes up for the shutdown once the handshake ends.
#[test]
fn shut_down_between_simultaneous_syns_and_ack() {
    in_both_families("simshut", |bed, v6| {
        let (mut peer, stream) = bed.connecting(v6);
        peer.syn();
        peer.expect(SYN | ACK);
        wait_state(&stream, SYN_RECV);
        stream.shutdown(Shutdown::Write).expect("shut down");
        peer.ack();
        let steps: &[_] =
            &["syn_sent>syn_recv unusual me", "syn_recv>established rfc me", "established>fin_wait1 rfc me"];
        bed.expect(v6, &[("client", steps)]);
    });
}

#[test]
fn connected_to_itself() {
    in_both_families("self", |bed, v6| {
        let addr = SocketAddr::new(loopback(v6), 7777);
        let stream = bed.ns.run(|| sock::bind_connect(addr, addr)).expect("connect");
        let opening: &[_] =
            &["close>syn_sent rfc me", "syn_sent>syn_recv unusual me", "syn_recv>established rfc me"];
        bed.expect(v6, &[("client", opening)]);
        drop(stream);
        let closing: &[_] = &[
            "established>fin_wait1 rfc me",
            "fin_wait1>closing unusual me",
            "closing>close linux closed me",
        ];
        bed.expect(v6, &[("client", closing)]);
        assert_eq!(bed.watch().cells()[cell::TIME_WAIT_ENTERED], 1);
    });
}

#[test]
fn refused() {
    in_both_families("refused", |bed, v6| {
        let unused = bed.listen_at(SocketAddr::new(loopback(v6), 0)).local_addr().expect("local address");
        bed.expect(v6, &[("listener", &["close>listen rfc me", "listen>close rfc closed me"])]);
        let error = bed.ns.run(|| TcpStream::connect(unused)).expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        bed.expect(v6, &[("client", &["close>syn_sent rfc me", "syn_sent>close rfc refused me"])]);
    });
}

/// A second connection of the same addresses and ports.
#[test]
fn address_in_use_by_another_connection() {
    in_both_families("inuse", |bed, v6| {
        let listener = bed.listen(v6);
        let remote = listener.local_addr().expect("local address");
        let local = SocketAddr::new(kernel_ip(v6), 7777);
        let _first = bed.ns.run(|| sock::bind_connect(local, remote)).expect("connect");
        bed.expect(
            v6,
            &[
                ("listener", &["close>listen rfc me"]),
                ("client", &["close>syn_sent rfc me", "syn_sent>established rfc me"]),
                ("server", &["listen>syn_recv linux unknown", "syn_recv>established rfc unknown"]),
            ],
        );
        let error = bed.ns.run(|| sock::bind_connect(local, remote)).expect_err("in use");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        bed.expect(v6, &[("client", &["close>syn_sent rfc me", "syn_sent>close rfc aborted me"])]);
        let cells = bed.watch().cells();
        assert_eq!(cells[cell::CONNECT_GIVEN_UP], 1);
        assert_eq!(cells[cell::CONNECT_NEVER_SENT], 1);
    });
}

#[test]
fn no_free_port() {
    in_both_families("ports", |bed, v6| {
        bed.ns.sysctl("net.ipv4.ip_local_port_range", "40000 40000");
        let listener = bed.listen_at(SocketAddr::new(kernel_ip(v6), 80));
        let remote = listener.local_addr().expect("local address");
        let _first = bed.ns.run(|| TcpStream::connect(remote)).expect("connect");
        let error = bed.ns.run(|| TcpStream::connect(remote)).expect_err("no port");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        bed.expect(
            v6,
            &[
                ("listener", &["close>listen rfc me"]),
                ("client", &["close>syn_sent rfc me", "syn_sent>established rfc me"]),
                ("server", &["listen>syn_recv linux unknown", "syn_recv>established rfc unknown"]),
                ("client", &["close>syn_sent rfc me", "syn_sent>close rfc aborted me"]),
            ],
        );
    });
}

#[test]
fn closed_or_shut_down_before_an_answer() {
    in_both_families("giveup", |bed, v6| {
        let (_peer, stream) = bed.connecting(v6);
        drop(stream);
        bed.expect(v6, &[("client", &["syn_sent>close rfc aborted me"])]);
        for how in [Shutdown::Write, Shutdown::Both] {
            let (_peer, stream) = bed.connecting(v6);
            stream.shutdown(how).expect("shut down");
            bed.expect(v6, &[("client", &["syn_sent>close rfc aborted me"])]);
        }
        let cells = bed.watch().cells();
        assert_eq!((cells[cell::CONNECT_GIVEN_UP], cells[cell::CONNECT_NEVER_SENT]), (3, 0));
    });
}

/// A SYN, and then a reset or nothing, makes no socket: only a request, which has no transitions.
#[test]
fn half_open_requests_are_no_sockets() {
    in_both_families("halfopen", |bed, v6| {
        let listener = bed.listen(v6);
        let mut reset = bed.peer(v6, listener.local_addr().expect("local address"));
        let mut silent = bed.peer(v6, listener.local_addr().expect("local address"));
        for peer in [&mut reset, &mut silent] {
            peer.syn();
            peer.expect(SYN | ACK);
        }
        reset.send(&reset.segment(RST));
        bed.expect(v6, &[("listener", &["close>listen rfc me"])]);
        drop(listener);
        bed.expect(v6, &[("listener", &["listen>close rfc closed me"])]);
    });
}

#[test]
fn listening_where_another_listens() {
    in_both_families("relisten", |bed, v6| {
        let addr = SocketAddr::new(kernel_ip(v6), 8080);
        let (first, error) = bed.ns.run(|| {
            let second =
                rustix::net::socket(family_of(v6), rustix::net::SocketType::STREAM, None).expect("socket");
            rustix::net::sockopt::set_socket_reuseaddr(&second, true).expect("reuse");
            rustix::net::bind(&second, &addr).expect("bind");
            let first = sock::listen(addr, 1).expect("listen");
            (first, rustix::net::listen(&second, 1).expect_err("in use"))
        });
        assert_eq!(error, rustix::io::Errno::ADDRINUSE);
        // Listening again only changes the backlog.
        rustix::net::listen(&first, 2).expect("listen");
        let failed: &[_] = &["close>listen rfc me", "listen>close rfc closed me"];
        bed.expect(v6, &[("listener", &["close>listen rfc me"]), ("listener", failed)]);
    });
}

#[test]
fn a_listener_is_shut_down_or_disconnected_and_listens_again() {
    in_both_families("unlisten", |bed, v6| {
        let listener = bed.listen_at(SocketAddr::new(kernel_ip(v6), 8080));
        rustix::net::shutdown(&listener, rustix::net::Shutdown::Read).expect("shut down");
        let steps: &[_] = &["close>listen rfc me", "listen>close rfc closed me"];
        bed.expect(v6, &[("listener", steps)]);
        rustix::net::listen(&listener, 1).expect("listen");
        rustix::net::connect_unspec(&listener).expect("disconnect");
        bed.expect(v6, &[("listener", steps)]);
    });
}

#[test]
fn fast_open() {
    in_both_families("fastopen", |bed, v6| {
        bed.ns.sysctl("net.ipv4.tcp_fastopen", "519"); // both sides, no cookies asked for
        let listener = fast_listener(bed, v6);
        let mut peer = bed.peer(v6, listener.local_addr().expect("local address"));
        syn_with_data(&mut peer, b"now");
        bed.expect(v6, &[("server", &["listen>syn_recv linux unknown"])]);
        let (mut server, _) = sock::accept(&listener, TIMEOUT).expect("accept before the handshake ends");
        let mut data = [0; 3];
        server.read_exact(&mut data).expect("read");
        assert_eq!(&data, b"now");
        assert_eq!(sock::state(&server).expect("state"), SYN_RECV);
        peer.expect(SYN | ACK);
        peer.ack();
        bed.expect(v6, &[("server", &["syn_recv>established rfc unknown"])]);
    });
}

#[test]
fn fast_open_over_loopback() {
    in_both_families("fastlo", |bed, v6| {
        bed.ns.sysctl("net.ipv4.tcp_fastopen", "519");
        let listener = bed.listen_at(SocketAddr::new(loopback(v6), 0));
        sock::fastopen_listener(&listener, 16).expect("allow fast open");
        let addr = listener.local_addr().expect("local address");
        let _client = bed.ns.run(|| sock::fastopen_connect(addr, b"now")).expect("connect");
        let (mut server, _) = sock::accept(&listener, TIMEOUT).expect("accept");
        let mut data = [0; 3];
        server.read_exact(&mut data).expect("read");
        bed.expect(
            v6,
            &[
                ("listener", &["close>listen rfc me"]),
                ("client", &["close>syn_sent rfc me", "syn_sent>established rfc me"]),
                ("server", &["listen>syn_recv linux unknown", "syn_recv>established rfc unknown"]),
            ],
        );
        assert_eq!(bed.ns.snmp()["TcpExt.TCPFastOpenPassive"], 1);
    });
}

#[test]
fn fast_open_child_is_reset_or_closed_before_the_handshake_ends() {
    in_both_families("fastreset", |bed, v6| {
        bed.ns.sysctl("net.ipv4.tcp_fastopen", "519");
        let listener = fast_listener(bed, v6);
        let child = || {
            let mut peer = bed.peer(v6, listener.local_addr().expect("local address"));
            syn_with_data(&mut peer, b"now");
            peer.expect(SYN | ACK);
            let (mut server, _) = sock::accept(&listener, TIMEOUT).expect("accept");
            server.read_exact(&mut [0; 3]).expect("read");
            bed.expect(v6, &[("server", &["listen>syn_recv linux unknown"])]);
            (peer, server)
        };
        let (peer, _server) = child();
        peer.rst();
        bed.expect(v6, &[("server", &["syn_recv>close rfc reset_received unknown"])]);

        let (peer, server) = child();
        drop(server);
        bed.expect(v6, &[("server", &["syn_recv>fin_wait1 rfc me"])]);
        peer.rst();
        bed.expect(v6, &[("server", &["fin_wait1>close rfc reset_received unknown"])]);

        let (_peer, server) = child();
        sock::linger_zero(&server).expect("linger");
        drop(server);
        bed.expect(v6, &[("server", &["syn_recv>close rfc aborted me"])]);

        let mut peer = bed.peer(v6, listener.local_addr().expect("local address"));
        syn_with_data(&mut peer, b"never read");
        bed.expect(v6, &[("server", &["listen>syn_recv linux unknown"])]);
        drop(sock::accept(&listener, TIMEOUT).expect("accept"));
        bed.expect(v6, &[("server", &["syn_recv>close rfc reset_sent me"])]);
    });
}

fn fast_listener(bed: &Bed, v6: bool) -> TcpListener {
    let listener = bed.listen(v6);
    sock::fastopen_listener(&listener, 16).expect("allow fast open");
    bed.expect(v6, &[("listener", &["close>listen rfc me"])]);
    listener
}

fn syn_with_data(peer: &mut crate::support::peer::Peer<'_>, data: &[u8]) {
    let syn = Segment { options: vec![2, 4, 5, 0xb4], payload: data.to_vec(), ..peer.segment(SYN) };
    peer.send(&syn);
    peer.snd_nxt = peer.snd_nxt.wrapping_add(syn.len());
}

fn family_of(v6: bool) -> rustix::net::AddressFamily {
    if v6 { rustix::net::AddressFamily::INET6 } else { rustix::net::AddressFamily::INET }
}
