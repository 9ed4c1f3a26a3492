//! A reset from the peer, in every state in which one can come.

use super::closing::{FIN_ACK, shut_down};
use super::in_both_families;
use crate::support::peer::Peer;
use crate::support::segment::{ACK, RST};
use crate::support::states::{CLOSE_WAIT, CLOSING, FIN_WAIT2, LAST_ACK, wait_state};
use std::io::{ErrorKind, Write};
use std::net::TcpStream;

#[test]
fn in_syn_sent_it_refuses() {
    in_both_families("syn_sent", |bed, v6| {
        let (peer, _stream) = bed.connecting(v6);
        peer.rst();
        bed.expect(v6, &[("client", &["syn_sent>close rfc refused me"])]);
        assert_eq!(bed.watch().others(1), ["reset received in syn_sent"]);
    });
}

#[test]
fn in_established() {
    reset_after("established", |_, _| &[], "established>close rfc reset_received");
}

/// The application may still write, which then fails with EPIPE and not with ECONNRESET.
#[test]
fn in_close_wait() {
    reset_after(
        "close_wait",
        |peer, stream| {
            peer.fin();
            wait_state(stream, CLOSE_WAIT);
            &["established>close_wait rfc"]
        },
        "close_wait>close rfc reset_received",
    );
}

#[test]
fn in_fin_wait1() {
    reset_after(
        "fin_wait1",
        |_, stream| {
            shut_down(stream);
            &["established>fin_wait1 rfc me"]
        },
        "fin_wait1>close rfc reset_received",
    );
}

#[test]
fn in_fin_wait2() {
    reset_after(
        "fin_wait2",
        |peer, stream| {
            shut_down(stream);
            peer.expect(FIN_ACK);
            peer.ack();
            wait_state(stream, FIN_WAIT2);
            &["established>fin_wait1 rfc me", "fin_wait1>fin_wait2 rfc"]
        },
        "fin_wait2>close linux reset_received",
    );
}

#[test]
fn in_closing() {
    reset_after(
        "closing",
        |peer, stream| {
            shut_down(stream);
            peer.fin();
            wait_state(stream, CLOSING);
            &["established>fin_wait1 rfc me", "fin_wait1>closing unusual"]
        },
        "closing>close linux reset_received",
    );
}

#[test]
fn in_last_ack() {
    reset_after(
        "last_ack",
        |peer, stream| {
            peer.fin();
            wait_state(stream, CLOSE_WAIT);
            shut_down(stream);
            wait_state(stream, LAST_ACK);
            &["established>close_wait rfc", "close_wait>last_ack rfc me"]
        },
        "last_ack>close rfc reset_received",
    );
}

/// Data for an orphan ends it like a reset, and is answered by one.
#[test]
fn data_comes_when_nobody_can_read_it() {
    in_both_families("orphan", |bed, v6| {
        let (mut peer, stream) = bed.client(v6);
        drop(stream);
        bed.expect(v6, &[("client", &["established>fin_wait1 rfc me"])]);
        peer.data(b"late");
        bed.expect(v6, &[("client", &["fin_wait1>close rfc reset_received me"])]);
        peer.expect(RST);
        // 6.18 tells of the reset twice, as received and as sent.
        bed.watch().await_other("reset received in fin_wait1");
    });
}

/// An acknowledgement of nothing comes to a listener.
#[test]
fn a_listener_sends_one() {
    in_both_families("stray", |bed, v6| {
        let listener = bed.listen(v6);
        let mut peer = bed.peer(v6, listener.local_addr().expect("local address"));
        peer.send(&peer.segment(ACK));
        peer.expect(RST);
        assert_eq!(bed.watch().others(1), ["reset sent in listen"]);
        bed.expect(v6, &[("listener", &["close>listen rfc me"])]);
    });
}

/// Newer kernels tell of it, and there is no socket; older ones do not.
#[test]
fn no_socket_sends_one() {
    in_both_families("nobody", |bed, v6| {
        let before = bed.watch().host();
        let unused = bed.listen(v6).local_addr().expect("local address");
        bed.expect(v6, &[("listener", &["close>listen rfc me", "listen>close rfc closed me"])]);
        let mut peer = bed.peer(v6, unused);
        peer.syn();
        peer.expect(RST | ACK);
        bed.expect(v6, &[]);
        assert_eq!(bed.watch().others(0), [""; 0]);
        let after = bed.watch().host();
        let sent = after.resets_sent - before.resets_sent;
        let without_socket = after.resets_sent_no_socket - before.resets_sent_no_socket;
        // Other tests run at the same time.
        assert!(sent >= without_socket, "{sent} resets sent, {without_socket} without a socket");
        let tells = tells_of_no_socket();
        assert!(without_socket >= u64::from(tells), "none of {sent} resets without a socket");
    });
}

/// Brings a passive and an active connection to a state by `bring`, which returns the steps there, and resets it.
/// A step without an owner at its end has one if the connection is active, whose owner was seen at its birth.
#[track_caller]
fn reset_after(state: &str, bring: fn(&mut Peer<'_>, &TcpStream) -> &'static [&'static str], ending: &str) {
    in_both_families(state, |bed, v6| {
        for active in [false, true] {
            let (mut peer, mut stream) = if active { bed.client(v6) } else { bed.server(v6) };
            let (name, owner) = if active { ("client", "me") } else { ("server", "unknown") };
            let mut steps = bring(&mut peer, &stream).to_vec();
            steps.push(ending);
            bed.watch().skip_others();
            peer.rst();
            let with_owner = |step: &str| match step.strip_suffix(" me") {
                Some(_) => step.to_owned(),
                None => format!("{step} {owner}"),
            };
            let steps: Vec<_> = steps.into_iter().map(with_owner).collect();
            let steps: Vec<_> = steps.iter().map(String::as_str).collect();
            bed.expect(v6, &[(name, &steps)]);
            assert_eq!(bed.watch().others(1), [format!("reset received in {state}")]);
            if state == "close_wait" {
                let error = stream.write(b"x").expect_err("reset");
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            }
        }
    });
}

/// Whether this kernel's tracepoint tells of resets that answer a segment for which there was no socket: it then has
/// the reason for each reset as a third argument.
fn tells_of_no_socket() -> bool {
    std::fs::read("/sys/kernel/btf/vmlinux")
        .expect("read the kernel's types")
        .windows(b"\0sk_rst_reason\0".len())
        .any(|bytes| bytes == b"\0sk_rst_reason\0")
}
