//! How connections end in order.

use super::{Bed, family, in_both_families};
use crate::support::segment::{ACK, FIN};
use crate::support::states::{CLOSE_WAIT, CLOSING, FIN_WAIT2, wait_state};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;
use tcpwatch_common::cell;

pub(super) const FIN_ACK: u8 = FIN | ACK;

/// Has one side of a connection close, and returns the other. An orphan whose FIN is acknowledged is handed to a
/// mini-socket, before the other side closes. Not so if the acknowledgement comes while `close()` still has the socket:
/// then the kernel keeps it whole for a minute, and another connection is tried.
fn orphaned(bed: &Bed, v6: bool, closer: &str, steps: &[&str], other: &[&str]) -> TcpStream {
    for _ in 0..10 {
        let (client, server) = bed.pair(v6);
        let (closing, left) = if closer == "client" { (client, server) } else { (server, client) };
        drop(closing);
        let name = if closer == "client" { "server" } else { "client" };
        let histories = bed.watch().histories(family(v6), |told| told.len() >= steps.len() + other.len());
        let of = |name: &str| histories.iter().find(|history| history.name == name);
        let seen = |name: &str| of(name).map_or(Vec::new(), |history| history.steps.clone());
        assert_eq!(seen(name), other, "{name}");
        if seen(closer) == steps {
            return left;
        }
        assert_eq!(seen(closer), steps[..steps.len() - 1], "{closer}");
        drop(left);
        bed.watch().histories(family(v6), |told| told.len() >= 3);
    }
    panic!("no orphan was handed to a mini-socket");
}

/// Mini-sockets that were made: TIME_WAIT, and FIN_WAIT2 without an owner.
fn minis(bed: &Bed) -> (u64, u64) {
    let cells = bed.watch().cells();
    (cells[cell::TIME_WAIT_ENTERED], cells[cell::FIN_WAIT2_ORPHANED])
}

#[test]
fn client_closes_first() {
    in_both_families("clientfirst", |bed, v6| {
        let first =
            ["established>fin_wait1 rfc me", "fin_wait1>fin_wait2 rfc me", "fin_wait2>close linux closed me"];
        let server = orphaned(bed, v6, "client", &first, &["established>close_wait rfc unknown"]);
        let before = minis(bed);
        drop(server);
        bed.expect(v6, &[("server", &["close_wait>last_ack rfc me", "last_ack>close rfc closed unknown"])]);
        assert_eq!(minis(bed), before, "its TIME_WAIT comes out of the mini-socket");
        assert!(before.1 > 0, "a FIN_WAIT2 mini-socket");
    });
}

#[test]
fn server_closes_first() {
    in_both_families("serverfirst", |bed, v6| {
        let first = [
            "established>fin_wait1 rfc me",
            "fin_wait1>fin_wait2 rfc unknown",
            "fin_wait2>close linux closed unknown",
        ];
        let client = orphaned(bed, v6, "server", &first, &["established>close_wait rfc me"]);
        let before = minis(bed);
        drop(client);
        bed.expect(v6, &[("client", &["close_wait>last_ack rfc me", "last_ack>close rfc closed me"])]);
        assert_eq!(minis(bed), before, "its TIME_WAIT comes out of the mini-socket");
        assert!(before.1 > 0, "a FIN_WAIT2 mini-socket");
    });
}

#[test]
fn fin_and_its_acknowledgement_come_together() {
    in_both_families("finack", |bed, v6| {
        let (mut peer, stream) = bed.server(v6);
        drop(stream);
        peer.expect(FIN_ACK);
        peer.fin();
        let steps: &[_] = &[
            "established>fin_wait1 rfc me",
            "fin_wait1>fin_wait2 rfc unknown",
            "fin_wait2>close linux closed unknown",
        ];
        bed.expect(v6, &[("server", steps)]);
        assert_minis(bed, 1, 0);
    });
}

#[test]
fn fin_comes_to_an_owned_fin_wait2() {
    in_both_families("timewait", |bed, v6| {
        let (mut peer, _stream) = in_fin_wait2(bed, v6);
        peer.fin();
        bed.expect(v6, &[("client", &["fin_wait2>close linux closed me"])]);
        assert_minis(bed, 1, 0);
    });
}

/// The mini-socket takes the peer's FIN, and nobody is told.
#[test]
fn close_after_shutdown_in_fin_wait2() {
    in_both_families("selfloop", |bed, v6| {
        let (mut peer, stream) = in_fin_wait2(bed, v6);
        drop(stream);
        bed.expect(v6, &[("client", &["fin_wait2>fin_wait2 linux me", "fin_wait2>close linux closed me"])]);
        peer.fin();
        bed.expect(v6, &[]);
        assert_minis(bed, 0, 1);
    });
}

#[test]
fn close_after_shutdown_of_a_passive_socket() {
    in_both_families("selfloop", |bed, v6| {
        let (mut peer, stream) = bed.server(v6);
        shut_down(&stream);
        bed.expect(v6, &[("server", &["established>fin_wait1 rfc me"])]);
        peer.expect(FIN_ACK);
        peer.ack();
        bed.expect(v6, &[("server", &["fin_wait1>fin_wait2 rfc unknown"])]);
        drop(stream);
        let steps: &[_] = &["fin_wait2>fin_wait2 linux me", "fin_wait2>close linux closed unknown"];
        bed.expect(v6, &[("server", steps)]);
    });
}

#[test]
fn close_after_shutdown_in_the_other_closing_states() {
    in_both_families("selfloops", |bed, v6| {
        let (mut peer, stream) = bed.client(v6);
        shut_down(&stream);
        bed.expect(v6, &[("client", &["established>fin_wait1 rfc me"])]);
        drop(stream);
        bed.expect(v6, &[("client", &["fin_wait1>fin_wait1 linux me"])]);
        peer.expect(FIN_ACK);
        peer.ack();
        bed.expect(v6, &[("client", &["fin_wait1>fin_wait2 rfc me", "fin_wait2>close linux closed me"])]);

        let (mut peer, stream) = bed.client(v6);
        shut_down(&stream);
        peer.fin(); // which does not acknowledge the kernel's
        wait_state(&stream, CLOSING);
        drop(stream);
        let steps: &[_] =
            &["established>fin_wait1 rfc me", "fin_wait1>closing unusual me", "closing>closing linux me"];
        bed.expect(v6, &[("client", steps)]);
        peer.expect(FIN_ACK);
        peer.ack();
        bed.expect(v6, &[("client", &["closing>close linux closed me"])]);

        let (mut peer, stream) = bed.client(v6);
        peer.fin();
        wait_state(&stream, CLOSE_WAIT);
        shut_down(&stream);
        drop(stream);
        let steps: &[_] =
            &["established>close_wait rfc me", "close_wait>last_ack rfc me", "last_ack>last_ack linux me"];
        bed.expect(v6, &[("client", steps)]);
        peer.expect(FIN_ACK);
        peer.ack();
        bed.expect(v6, &[("client", &["last_ack>close rfc closed me"])]);
        assert_minis(bed, 1, 1);
    });
}

#[test]
fn simultaneous_close() {
    in_both_families("simclose", |bed, v6| {
        let (mut peer, stream) = bed.server(v6);
        drop(stream);
        peer.fin();
        bed.expect(v6, &[("server", &["established>fin_wait1 rfc me", "fin_wait1>closing unusual unknown"])]);
        peer.expect(FIN_ACK);
        peer.ack();
        bed.expect(v6, &[("server", &["closing>close linux closed unknown"])]);
        assert_minis(bed, 1, 0);
    });
}

/// The peer's connection ends in its order too, and nothing of it depends on the direction of the handshake.
#[test]
fn peer_closes_first() {
    in_both_families("peerfirst", |bed, v6| {
        for active in [false, true] {
            let (mut peer, stream) = if active { bed.client(v6) } else { bed.server(v6) };
            let (name, owner) = if active { ("client", "me") } else { ("server", "unknown") };
            peer.fin();
            bed.expect(v6, &[(name, &[&format!("established>close_wait rfc {owner}")])]);
            drop(stream);
            bed.expect(v6, &[(name, &["close_wait>last_ack rfc me"])]);
            peer.expect(FIN_ACK);
            peer.ack();
            bed.expect(v6, &[(name, &[&format!("last_ack>close rfc closed {owner}")])]);
        }
        assert_minis(bed, 0, 0);
    });
}

/// `FIN_WAIT2` is only handed to a mini-socket if it may last a minute at the most.
#[test]
fn orphan_with_a_long_fin_timeout_stays_a_full_socket() {
    in_both_families("longfin", |bed, v6| {
        bed.ns.sysctl("net.ipv4.tcp_fin_timeout", "120");
        let (mut peer, stream) = bed.client(v6);
        drop(stream);
        peer.expect(FIN_ACK);
        peer.ack();
        bed.expect(v6, &[("client", &["established>fin_wait1 rfc me", "fin_wait1>fin_wait2 rfc me"])]);
        peer.fin();
        bed.expect(v6, &[("client", &["fin_wait2>close linux closed me"])]);
        assert_minis(bed, 1, 0);
    });
}

/// An active connection that its owner has shut down.
fn in_fin_wait2(bed: &Bed, v6: bool) -> (crate::support::peer::Peer<'_>, TcpStream) {
    let (mut peer, stream) = bed.client(v6);
    shut_down(&stream);
    peer.expect(FIN_ACK);
    peer.ack();
    wait_state(&stream, FIN_WAIT2);
    bed.expect(v6, &[("client", &["established>fin_wait1 rfc me", "fin_wait1>fin_wait2 rfc me"])]);
    (peer, stream)
}

#[track_caller]
fn assert_minis(bed: &Bed, time_wait: u64, fin_wait2: u64) {
    let cells = bed.watch().cells();
    let counted = (cells[cell::TIME_WAIT_ENTERED], cells[cell::FIN_WAIT2_ORPHANED]);
    assert_eq!(counted, (time_wait, fin_wait2), "TIME_WAIT and FIN_WAIT2 mini-sockets");
}

/// Shuts down some time after the last segment: what follows at once may be made up for by the kernel, and then has
/// no owner.
pub(super) fn shut_down(stream: &TcpStream) {
    thread::sleep(Duration::from_millis(1));
    stream.shutdown(Shutdown::Write).expect("shut down");
}
