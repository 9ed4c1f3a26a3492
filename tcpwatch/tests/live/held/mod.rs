//! Sockets held in every TCP state at once: tcpwatch must count exactly what the kernel lists.

pub mod figures;
mod rows;
mod vitals;
mod walk;

use std::net::SocketAddr;

use tcpwatch::source::Fallback;
use tcpwatch_common::TcpState;

use crate::support::link;
use crate::support::netns::Netns;
use crate::support::peer::Peer;
use crate::support::segment::{ACK, SYN};
use crate::support::sock;
use crate::support::states::{self, Held, HeldSocket, SYN_RECV, SYN_SENT, hold, hold_v6, wait_state};
use crate::support::tun::{Tun, peer_ip};
use figures::{Watcher, assert_nothing_lost, sample, small};

/// Whole sockets in `SYN_RECV` that each [`hold_all`] makes; all others there are half-open requests.
const WHOLE_SYN_RECV: u64 = 2;

/// A namespace whose peers are scripted.
struct Bed {
    ns: Netns,
    tun: Tun,
}

impl Bed {
    fn new(hint: &str) -> Self {
        let ns = Netns::new(hint);
        let tun = Tun::new(&ns, "tun0");
        Self { ns, tun }
    }

    /// Holds `n` sockets in each of the eleven situations, and a few whole sockets in `SYN_RECV`, IPv4 or IPv6.
    fn hold_all(&self, n: usize, v6: bool) -> Held {
        let mut held = if v6 { hold_v6(&self.tun, n) } else { hold(&self.tun, n) };
        for port in 0..WHOLE_SYN_RECV {
            let port = 9000 + u16::try_from(port).expect("a few");
            held.sockets.push(self.whole_syn_recv(SocketAddr::new(peer_ip(v6), port)));
        }
        held
    }

    /// A simultaneous open that stops half way: the only way to stay in `SYN_RECV` as a whole socket.
    fn whole_syn_recv(&self, remote: SocketAddr) -> HeldSocket {
        self.tun.run(|| {
            let stream = sock::connect_start(remote).expect("connect");
            let local = stream.local_addr().expect("local address");
            let mut peer = Peer::new(&self.tun, remote, local);
            peer.expect(SYN);
            peer.syn();
            peer.expect(SYN | ACK);
            wait_state(&stream, SYN_RECV);
            HeldSocket { state: SYN_RECV, local, remote, fd: Some(stream.into()) }
        })
    }

    fn families(&self, n: usize) -> Vec<Held> {
        let families: &[bool] = if link::has_ipv6() { &[false, true] } else { &[false] };
        families.iter().map(|v6| self.hold_all(n, *v6)).collect()
    }
}

/// The source agrees with /proc, and both with what is held.
fn check(watcher: &mut Watcher<tcpwatch::source::Live>, bed: &Bed, held: &[Held], n: u64) {
    let report = watcher.reconciled(&bed.ns);
    let states = figures::states(&report, &bed.ns);
    let mut expected = [0; 13];
    for one in held {
        for (sum, count) in expected.iter_mut().zip(one.counts()) {
            *sum += count;
        }
    }
    for state in TcpState::RFC {
        assert_eq!(states.counts[state.index()], Some(expected[state as usize]), "{}", state.name());
    }
    let families = u64::try_from(held.len()).expect("two at most");
    assert_eq!(states.half_open, Some(n * families));
    assert_eq!(expected[usize::from(SYN_RECV)], (n + WHOLE_SYN_RECV) * families);
    assert_eq!(states.fin_wait2_minis, Some(n * families));
    assert_eq!(expected[usize::from(states::FIN_WAIT2)], 2 * n * families);
    assert!(states.is_complete);
    assert_nothing_lost(&report);
}

/// Some are destroyed as `ss -K` does, the others closed by dropping their owner's descriptors.
fn release(watcher: &mut Watcher<tcpwatch::source::Live>, bed: &Bed, mut held: Vec<Held>) {
    let first = held.remove(0);
    bed.ns.run(|| {
        for socket in &first.sockets {
            let destroyed = sock::destroy(socket.local, socket.remote);
            // Not every kernel can destroy a mini-socket.
            assert!(destroyed.is_ok() || socket.fd.is_none(), "destroy {socket:?}: {destroyed:?}");
        }
    });
    let report = watcher.reconciled(&bed.ns);
    for state in [TcpState::Established, TcpState::FinWait1, TcpState::CloseWait, TcpState::LastAck] {
        let left: usize =
            held.iter().flat_map(|held| &held.sockets).filter(|s| s.state == state as u8).count();
        let count = figures::states(&report, &bed.ns).counts[state.index()];
        assert_eq!(count, u64::try_from(left).ok(), "{} after all of IPv4 were destroyed", state.name());
    }
    drop((first, held));
    let report = watcher.reconciled(&bed.ns);
    let states = figures::states(&report, &bed.ns);
    assert_eq!(states.counts[TcpState::Listen.index()], Some(0));
    assert_eq!(states.counts[TcpState::Established.index()], Some(0));
    assert_eq!(states.counts[TcpState::SynSent.index()], Some(0));
    assert_nothing_lost(&report);
}

#[test]
fn sockets_opened_after_the_source_are_counted_as_the_kernel_lists_them() {
    let beds = [Bed::new("after3"), Bed::new("after50")];
    let mut watcher = Watcher::live(&small());
    for (bed, n) in beds.iter().zip([3, 50]) {
        watcher.reconciled(&bed.ns);
        let held = bed.families(n);
        check(&mut watcher, bed, &held, u64::try_from(n).expect("small"));
        assert_eq!(sample(&watcher.report(), &bed.ns).adopted, [0; 13], "none of them is older");
        release(&mut watcher, bed, held);
    }
}

#[test]
fn sockets_opened_before_the_source_are_met_and_counted_as_the_kernel_lists_them() {
    let beds = [Bed::new("before3"), Bed::new("before50")];
    let held = [beds[0].families(3), beds[1].families(50)];
    let mut watcher = Watcher::live(&small());
    for ((bed, held), n) in beds.iter().zip(held).zip([3, 50]) {
        check(&mut watcher, bed, &held, n);
        let whole = held.iter().flat_map(|held| &held.sockets).filter(|socket| socket.fd.is_some()).count();
        let adopted: u64 = sample(&watcher.report(), &bed.ns).adopted.iter().sum();
        assert_eq!(adopted, u64::try_from(whole).expect("small"), "each whole socket is met once");
        release(&mut watcher, bed, held);
    }
}

#[test]
fn the_fallback_counts_what_the_kernel_lists() {
    let bed = Bed::new("fallback");
    let mut watcher = Watcher::new(Fallback::open().expect("open the fallback source"));
    watcher.agree(&bed.ns);
    let held = bed.families(3);
    let report = watcher.agree(&bed.ns);
    let states = figures::states(&report, &bed.ns);
    let sent: usize = held.iter().flat_map(|held| &held.sockets).filter(|s| s.state == SYN_SENT).count();
    assert_eq!(states.counts[TcpState::SynSent.index()], u64::try_from(sent).ok());
    // It cannot tell the parts, and says so.
    assert_eq!((states.half_open, states.fin_wait2_minis), (None, None));
    assert!(states.is_complete && report.sample.host.is_none());
    drop(held);
    watcher.agree(&bed.ns);
}
