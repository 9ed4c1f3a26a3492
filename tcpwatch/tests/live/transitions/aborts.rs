//! Connections that the application or the administrator throws away.

use super::closing::{FIN_ACK, shut_down};
use super::{Bed, TIMEOUT, await_data, in_both_families};
use crate::support::peer::Peer;
use crate::support::segment::{ACK, RST};
use crate::support::states::{CLOSE_WAIT, FIN_WAIT2, wait_state};
use crate::support::{sock, tun::kernel_ip};
use rustix::net::connect_unspec;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use tcpwatch_common::cell;

#[test]
fn linger_of_no_time() {
    in_both_families("linger", |bed, v6| {
        let (peer, stream) = bed.server(v6);
        abort(bed, v6, peer, stream, linger, ("server", &["established>close rfc aborted me"]));

        let (mut peer, stream) = bed.server(v6);
        peer.fin();
        wait_state(&stream, CLOSE_WAIT);
        let steps: &[_] = &["established>close_wait rfc unknown", "close_wait>close rfc aborted me"];
        abort(bed, v6, peer, stream, linger, ("server", steps));

        // Over the loopback device, where the client sees the reset.
        let (client, server) = bed.pair(v6);
        sock::linger_zero(&client).expect("linger");
        drop(client);
        let reset: &[_] = &["established>close rfc reset_received unknown"];
        bed.expect(v6, &[("client", &["established>close rfc aborted me"]), ("server", reset)]);
        drop(server);
        bed.expect(v6, &[]);
    });
}

#[test]
fn disconnected_and_connected_again() {
    in_both_families("disconnect", |bed, v6| {
        let (mut peer, stream) = bed.client(v6);
        connect_unspec(&stream).expect("disconnect");
        peer.expect(RST | ACK);
        bed.expect(v6, &[("client", &["established>close rfc aborted me"])]);
        let mut next = bed.peer(v6, SocketAddr::new(kernel_ip(v6), 0));
        bed.ns.run(|| rustix::net::connect(&stream, &next.local)).expect_err("non-blocking");
        next.accept_from_kernel();
        bed.expect(v6, &[("client", &["close>syn_sent rfc me", "syn_sent>established rfc me"])]);
    });
}

#[test]
fn closed_with_unread_data() {
    in_both_families("unread", |bed, v6| {
        let (mut peer, stream) = bed.server(v6);
        peer.data(b"never read");
        abort(bed, v6, peer, stream, await_data, ("server", &["established>close rfc reset_sent me"]));

        let (mut peer, stream) = bed.server(v6);
        peer.data(b"never read");
        peer.fin();
        wait_state(&stream, CLOSE_WAIT);
        let steps: &[_] = &["established>close_wait rfc unknown", "close_wait>close rfc reset_sent me"];
        abort(bed, v6, peer, stream, await_data, ("server", steps));

        // All was read, also the FIN, or nothing ever came: no reset.
        let (mut peer, mut stream) = bed.client(v6);
        peer.data(b"read");
        await_data(&stream);
        std::io::Read::read_exact(&mut stream, &mut [0; 4]).expect("read");
        drop(stream);
        bed.expect(v6, &[("client", &["established>fin_wait1 rfc me"])]);
    });
}

/// Here too the peer is reset, and no mini-socket is made.
#[test]
fn closed_with_unread_data_after_shutdown() {
    in_both_families("unreadfw2", |bed, v6| {
        let (mut peer, stream) = bed.client(v6);
        shut_down(&stream);
        peer.data(b"never read"); // and the FIN is not acknowledged
        bed.expect(v6, &[("client", &["established>fin_wait1 rfc me"])]);
        abort(bed, v6, peer, stream, await_data, ("client", &["fin_wait1>close rfc reset_sent me"]));

        let (mut peer, stream) = bed.client(v6);
        shut_down(&stream);
        peer.expect(FIN_ACK);
        peer.data(b"never read");
        wait_state(&stream, FIN_WAIT2);
        bed.expect(v6, &[("client", &["established>fin_wait1 rfc me", "fin_wait1>fin_wait2 rfc me"])]);
        abort(bed, v6, peer, stream, await_data, ("client", &["fin_wait2>close linux reset_sent me"]));
        let cells = bed.watch().cells();
        assert_eq!((cells[cell::TIME_WAIT_ENTERED], cells[cell::FIN_WAIT2_ORPHANED]), (0, 0));
    });
}

#[test]
fn linger_of_no_time_after_shutdown() {
    in_both_families("lingerfw2", |bed, v6| {
        let (mut peer, stream) = bed.client(v6);
        shut_down(&stream);
        peer.expect(FIN_ACK);
        peer.ack();
        wait_state(&stream, FIN_WAIT2);
        bed.expect(v6, &[("client", &["established>fin_wait1 rfc me", "fin_wait1>fin_wait2 rfc me"])]);
        abort(bed, v6, peer, stream, linger, ("client", &["fin_wait2>close linux aborted me"]));
        let cells = bed.watch().cells();
        assert_eq!((cells[cell::TIME_WAIT_ENTERED], cells[cell::FIN_WAIT2_ORPHANED]), (0, 0));
    });
}

#[test]
fn listener_closed_with_connections_in_its_queue() {
    in_both_families("unaccepted", |bed, v6| {
        let listener = bed.listen(v6);
        let mut open = bed.peer(v6, listener.local_addr().expect("local address"));
        open.connect_to_kernel();
        let mut closed = bed.peer(v6, listener.local_addr().expect("local address"));
        closed.connect_to_kernel();
        closed.fin();
        let opening: &[_] = &["listen>syn_recv linux unknown", "syn_recv>established rfc unknown"];
        let closing = [opening, &["established>close_wait rfc unknown"]].concat();
        bed.expect(v6, &[("listener", &["close>listen rfc me"]), ("server", opening), ("server", &closing)]);
        drop(listener);
        bed.expect(
            v6,
            &[
                ("listener", &["listen>close rfc closed me"]),
                ("server", &["established>close rfc aborted unknown"]),
                ("server", &["close_wait>close rfc aborted unknown"]),
            ],
        );
    });
}

#[test]
fn destroyed_by_the_administrator() {
    in_both_families("killed", |bed, v6| {
        for active in [false, true] {
            let (peer, _stream) = if active { bed.client(v6) } else { bed.server(v6) };
            let (name, owner) = if active { ("client", "me") } else { ("server", "unknown") };
            if !destroy(bed, peer.remote, peer.local) {
                return;
            }
            bed.expect(v6, &[(name, &[&format!("established>close rfc killed {owner}")])]);
        }
        let (mut peer, stream) = bed.server(v6);
        peer.fin();
        wait_state(&stream, CLOSE_WAIT);
        assert!(destroy(bed, peer.remote, peer.local));
        let steps: &[_] = &["established>close_wait rfc unknown", "close_wait>close rfc killed unknown"];
        bed.expect(v6, &[("server", steps)]);

        let (peer, _stream) = bed.connecting(v6);
        assert!(destroy(bed, peer.remote, peer.local));
        bed.expect(v6, &[("client", &["syn_sent>close rfc killed me"])]);
    });
}

/// The kernel takes the listener out of LISTEN and then aborts the closed socket.
#[test]
fn listener_destroyed_by_the_administrator() {
    in_both_families("killedlisten", |bed, v6| {
        let listener = bed.listen(v6);
        let any = if v6 { SocketAddr::from(([0; 16], 0)) } else { SocketAddr::from(([0; 4], 0)) };
        bed.expect(v6, &[("listener", &["close>listen rfc me"])]);
        if !destroy(bed, listener.local_addr().expect("local address"), any) {
            return;
        }
        let steps: &[_] = &["listen>close rfc closed me", "close>close linux killed unknown"];
        bed.expect(v6, &[("listener", steps)]);
    });
}

/// Neither a mini-socket nor its destruction makes a transition.
#[test]
fn time_wait_destroyed_by_the_administrator() {
    in_both_families("killedtw", |bed, v6| {
        let (mut peer, stream) = bed.client(v6);
        drop(stream);
        peer.expect(FIN_ACK);
        peer.fin();
        let steps: &[_] = &[
            "established>fin_wait1 rfc me",
            "fin_wait1>fin_wait2 rfc me",
            "fin_wait2>close linux closed me",
        ];
        bed.expect(v6, &[("client", steps)]);
        // Which 5.10 does not support.
        let _ = bed.ns.run(|| sock::destroy(peer.remote, peer.local));
        bed.expect(v6, &[]);
    });
}

/// A SYN with the right number takes over a `TIME_WAIT`: only the new connection is told of.
#[test]
fn time_wait_taken_over_by_a_new_connection() {
    in_both_families("twreuse", |bed, v6| {
        let listener = bed.listen_at(SocketAddr::new(kernel_ip(v6), 8080));
        bed.expect(v6, &[("listener", &["close>listen rfc me"])]);
        let mut first = bed.peer(v6, listener.local_addr().expect("local address"));
        let mut again = bed.peer(v6, listener.local_addr().expect("local address"));
        again.local = first.local;
        first.connect_to_kernel();
        drop(sock::accept(&listener, TIMEOUT).expect("accept"));
        first.expect(FIN_ACK);
        first.fin();
        let opening: &[_] = &["listen>syn_recv linux unknown", "syn_recv>established rfc unknown"];
        let histories = bed.watch().histories(super::family(v6), |told| told.len() >= 5);
        assert_eq!(histories.len(), 1, "{histories:?}");
        assert_eq!(
            histories[0].steps.last().map(String::as_str),
            Some("fin_wait2>close linux closed unknown")
        );
        again.connect_to_kernel();
        bed.expect(v6, &[("server", opening)]);
    });
}

/// Destroys a socket as `ss -K` does. False if this kernel cannot.
fn destroy(bed: &Bed, local: SocketAddr, remote: SocketAddr) -> bool {
    match bed.ns.run(|| sock::destroy(local, remote)) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::Unsupported => false,
        Err(error) => panic!("destroy {local} to {remote}: {error}"),
    }
}

/// Prepares the socket, closes it, and sees that the peer is reset.
#[track_caller]
fn abort(
    bed: &Bed,
    v6: bool,
    mut peer: Peer<'_>,
    stream: TcpStream,
    prepare: fn(&TcpStream),
    (name, steps): (&str, &[&str]),
) {
    prepare(&stream);
    bed.watch().skip_others();
    drop(stream);
    bed.expect(v6, &[(name, steps)]);
    peer.expect(RST | ACK);
    let others = bed.watch().others(1);
    assert_eq!(others, ["reset sent in close"]);
}

fn linger(stream: &TcpStream) {
    sock::linger_zero(stream).expect("linger");
}
