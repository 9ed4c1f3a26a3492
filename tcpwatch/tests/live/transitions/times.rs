//! How long sockets were in their states: no call, segment or timer makes a duration too short.
//!
//! A socket is left alone in a state, and then leaves it. The bounds are generous: nothing here tests how fast
//! anything is.

use super::closing::{FIN_ACK, shut_down};
use super::{Bed, TIMEOUT, in_both_families};
use crate::support::peer::Peer;
use crate::support::sock;
use crate::support::states::{
    CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LAST_ACK, SYN_SENT, wait_state,
};
use rustix::net::connect_unspec;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};
use tcpwatch_common::TcpState;

/// How long sockets are left alone.
const ALONE: Duration = Duration::from_millis(300);
/// No test takes longer.
const LONGEST: Duration = Duration::from_mins(1);

/// What ends a connection.
#[derive(Clone, Copy, Debug)]
enum End {
    /// `close()` by the last owner.
    Close,
    /// `connect()` to no address, which throws the connection away.
    Disconnect,
    /// The segment that ends the connection in its order.
    Segment,
    Reset,
}

/// Each state that a connection can leave for CLOSE, with all that can make it do so.
const ENDS: &[(u8, &[End])] = &[
    (SYN_SENT, &[End::Close, End::Disconnect, End::Reset]),
    (ESTABLISHED, &[End::Disconnect, End::Reset]),
    (CLOSE_WAIT, &[End::Disconnect, End::Reset]),
    (FIN_WAIT1, &[End::Disconnect, End::Reset]),
    (FIN_WAIT2, &[End::Close, End::Disconnect, End::Segment, End::Reset]),
    (CLOSING, &[End::Disconnect, End::Segment, End::Reset]),
    (LAST_ACK, &[End::Disconnect, End::Segment, End::Reset]),
];

#[test]
fn every_end_is_as_late_as_it_was() {
    in_both_families("times", |bed, v6| {
        let held = hold_all(bed, v6);
        thread::sleep(ALONE);
        for (state, end, peer, stream) in held {
            make(end, state, peer, stream);
            let name = TcpState::from_kernel(state.into()).expect("a state").name();
            let lasted = bed.watch().lasted(name, "close");
            assert!(lasted >= ALONE && lasted < LONGEST, "{name} ended by {end:?} lasted {lasted:?}");
        }
    });
}

/// The same while nobody asks for single transitions: then TCP's own time stamp may be taken.
#[test]
fn every_end_is_as_late_as_it_was_for_histograms() {
    in_both_families("timesums", |bed, v6| {
        let held = hold_all(bed, v6);
        bed.watch().stop();
        thread::sleep(ALONE);
        for (state, end, peer, stream) in held {
            let index = TcpState::from_kernel(state.into()).expect("a state").index();
            let sum = || Duration::from_nanos(bed.watch().host().time_in_state[index].sum_ns);
            let before = sum();
            make(end, state, peer, stream);
            // Other tests' sockets may add to it, and take nothing away.
            let deadline = Instant::now() + TIMEOUT;
            let added = || sum().saturating_sub(before);
            while added() < ALONE && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(2));
            }
            assert!(added() >= ALONE, "state {state} ended by {end:?} added {:?}", added());
        }
    });
}

/// Edges inside a connection that segments make: they take as long as the peer takes to answer.
#[test]
fn segments_come_as_late_as_they_came() {
    in_both_families("timesegs", |bed, v6| {
        let (mut peer, stream) = bed.connecting(v6);
        thread::sleep(ALONE);
        peer.synack();
        assert_lasted(bed, "syn_sent", "established");
        thread::sleep(ALONE);
        shut_down(&stream);
        assert_lasted(bed, "established", "fin_wait1");
        peer.expect(FIN_ACK);
        thread::sleep(ALONE);
        peer.ack();
        assert_lasted(bed, "fin_wait1", "fin_wait2");

        let (mut peer, stream) = bed.client(v6);
        thread::sleep(ALONE);
        peer.fin();
        assert_lasted(bed, "established", "close_wait");
        thread::sleep(ALONE);
        drop(stream);
        assert_lasted(bed, "close_wait", "last_ack");

        let (mut peer, stream) = bed.client(v6);
        shut_down(&stream);
        thread::sleep(ALONE);
        peer.fin(); // which does not acknowledge the kernel's
        assert_lasted(bed, "fin_wait1", "closing");
    });
}

/// A timer ends an orphan in `FIN_WAIT2` that may last longer than a minute: it becomes a mini-socket a minute before.
#[test]
fn a_timer_comes_as_late_as_it_came() {
    in_both_families("timetimer", |bed, v6| {
        bed.ns.sysctl("net.ipv4.tcp_fin_timeout", "61");
        let (mut peer, stream) = bed.client(v6);
        drop(stream);
        peer.expect(FIN_ACK);
        peer.ack();
        assert_lasted_at_least(bed, "fin_wait2", "close", Duration::from_millis(900));
    });
}

/// A connection that is restored needs no segment, so TCP has read no clock for it.
#[test]
fn a_restored_connection_is_as_old_as_it_is() {
    in_both_families("timerepair", |bed, v6| {
        let peer = bed.peer(v6, std::net::SocketAddr::new(crate::support::tun::kernel_ip(v6), 0));
        let stream = bed.ns.run(|| sock::restore(peer.local)).expect("restore a connection");
        // The watch checks that its time does not go back.
        bed.expect(v6, &[("client", &["close>syn_sent rfc me", "syn_sent>established rfc me"])]);
        thread::sleep(ALONE);
        drop(stream);
        assert_lasted(bed, "established", "close");
    });
}

/// Connections in all the states, each with what is to end it.
fn hold_all(bed: &Bed, v6: bool) -> Vec<(u8, End, Peer<'_>, TcpStream)> {
    let each = ENDS.iter().flat_map(|(state, ends)| ends.iter().map(|end| (*state, *end)));
    let held = each.map(|(state, end)| {
        let (peer, stream) = hold(bed, v6, state);
        // What led there is no matter, and would be taken for the next one's.
        bed.watch().rest();
        (state, end, peer, stream)
    });
    held.collect()
}

/// An active connection in `state`.
fn hold(bed: &Bed, v6: bool, state: u8) -> (Peer<'_>, TcpStream) {
    if state == SYN_SENT {
        return bed.connecting(v6);
    }
    let (mut peer, stream) = bed.client(v6);
    if matches!(state, CLOSE_WAIT | LAST_ACK) {
        peer.fin();
        wait_state(&stream, CLOSE_WAIT);
    }
    if matches!(state, FIN_WAIT1 | FIN_WAIT2 | CLOSING | LAST_ACK) {
        shut_down(&stream);
    }
    match state {
        CLOSING => peer.fin(), // which does not acknowledge the kernel's
        FIN_WAIT2 => {
            peer.expect(FIN_ACK);
            peer.ack();
        }
        _ => {}
    }
    wait_state(&stream, state);
    (peer, stream)
}

fn make(end: End, state: u8, mut peer: Peer<'_>, stream: TcpStream) {
    match end {
        End::Close => drop(stream),
        End::Disconnect => connect_unspec(&stream).expect("disconnect"),
        End::Reset => peer.rst(),
        End::Segment if state == FIN_WAIT2 => peer.fin(),
        End::Segment => {
            peer.expect(FIN_ACK);
            peer.ack();
        }
    }
}

#[track_caller]
fn assert_lasted(bed: &Bed, from: &str, to: &str) {
    assert_lasted_at_least(bed, from, to, ALONE);
}

#[track_caller]
fn assert_lasted_at_least(bed: &Bed, from: &str, to: &str, least: Duration) {
    let lasted = bed.watch().lasted(from, to);
    assert!(lasted >= least && lasted < LONGEST, "{from} before {to} lasted {lasted:?}");
}
