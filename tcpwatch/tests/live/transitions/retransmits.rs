//! Segments sent again, told and counted.

use super::{TIMEOUT, in_both_families};
use crate::support::segment::{ACK, SYN, Segment};
use crate::support::sock;
use std::io::Write;
use tcpwatch_common::host::Retransmit;

#[test]
fn syn() {
    in_both_families("resyn", |bed, v6| {
        let before = bed.watch().host().retransmits[Retransmit::Syn as usize];
        let (mut peer, _stream) = bed.connecting(v6);
        bed.watch().await_other("retransmit syn in syn_sent");
        assert!(bed.watch().host().retransmits[Retransmit::Syn as usize] > before);
        peer.synack();
        peer.expect(ACK);
        bed.expect(v6, &[("client", &["syn_sent>established rfc me"])]);
    });
}

#[test]
fn data_and_fin() {
    in_both_families("redata", |bed, v6| {
        let before = bed.watch().host().retransmits[Retransmit::Data as usize];
        let (mut peer, mut stream) = bed.server(v6);
        stream.write_all(b"again").expect("write");
        bed.watch().await_other("retransmit data in established");
        peer.expect(ACK);
        peer.ack();
        drop(stream);
        bed.expect(v6, &[("server", &["established>fin_wait1 rfc me"])]);
        bed.watch().await_other("retransmit data in fin_wait1");
        assert!(bed.watch().host().retransmits[Retransmit::Data as usize] >= before + 2);
    });
}

#[test]
fn synack_of_a_request_counts_for_its_listener() {
    in_both_families("resynack", |bed, v6| {
        let before = bed.watch().host().retransmits[Retransmit::SynAck as usize];
        let listener = bed.listen(v6);
        let addr = listener.local_addr().expect("local address");
        let quiet = bed.listen(v6).local_addr().expect("local address");
        let mut peer = bed.peer(v6, addr);
        peer.syn();
        peer.expect(SYN | ACK);
        assert_eq!(bed.watch().synack_retransmits(addr.port()), Some(0));
        // A SYN that comes again is answered again at once.
        peer.syn_raw();
        bed.watch().await_other("retransmit synack in listen");
        let once = bed.watch().synack_retransmits(addr.port());
        assert!(once >= Some(1), "{once:?}");
        // And without it the timer does.
        bed.watch().await_other("retransmit synack in listen");
        assert!(bed.watch().synack_retransmits(addr.port()) > once);
        assert!(bed.watch().host().retransmits[Retransmit::SynAck as usize] >= before + 2);
        assert_eq!(bed.watch().synack_retransmits(quiet.port()), None, "closed again");
        drop(listener);
        bed.expect(
            v6,
            &[
                ("listener", &["close>listen rfc me", "listen>close rfc closed me"]),
                ("listener", &["close>listen rfc me", "listen>close rfc closed me"]),
            ],
        );
        // What is kept for a listener goes with it.
        assert_eq!(bed.watch().synack_retransmits(addr.port()), None);
    });
}

#[test]
fn synack_of_a_fast_open_child() {
    in_both_families("refast", |bed, v6| {
        bed.ns.sysctl("net.ipv4.tcp_fastopen", "519");
        let listener = bed.listen(v6);
        sock::fastopen_listener(&listener, 16).expect("allow fast open");
        let addr = listener.local_addr().expect("local address");
        let peer = bed.peer(v6, addr);
        peer.send(&Segment { options: vec![2, 4, 5, 0xb4], payload: b"now".to_vec(), ..peer.segment(SYN) });
        let _child = sock::accept(&listener, TIMEOUT).expect("accept");
        bed.watch().await_other("retransmit synack in syn_recv");
        assert_eq!(bed.watch().synack_retransmits(addr.port()), Some(0));
        let child: &[_] = &["listen>syn_recv linux unknown"];
        bed.expect(v6, &[("listener", &["close>listen rfc me"]), ("server", child)]);
    });
}
