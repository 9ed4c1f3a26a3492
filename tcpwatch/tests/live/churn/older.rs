//! Sockets that are older than the programs: each is counted once, however many there are and whatever they do meanwhile.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Not as _;
use std::thread;
use std::time::Instant;

use tcpwatch::kernel::Options;
use tcpwatch_common::TcpState::{CloseWait, Established, FinWait2, Listen};

use super::traffic::{Traffic, is_small};
use super::{Idle, alone};
use crate::held::figures::{PATIENCE, PAUSE, Watcher, assert_never_negative, sample, small, states};
use crate::support::netns::Netns;
use crate::support::sock;

#[test]
fn each_is_counted_once_where_the_table_has_no_room_for_it() {
    let _alone = alone();
    let ns = Netns::new("older");
    let held = ns.run(|| Idle::open(400));
    let mut watcher = Watcher::live(&Options { sockets: 64, ..small() });
    let report = watcher.reconciled(&ns);
    assert_eq!(states(&report, &ns).counts[Established.index()], Some(800));
    assert!(states(&report, &ns).is_complete);
    let host = report.sample.host.as_ref().expect("host counters");
    assert!(host.untracked >= 800 - 64 - 8, "{} sockets without a place", host.untracked);
    assert_eq!(host.unmet, 0);
    // Now the meeting is over: their events are no news of older sockets.
    drop(held);
    let report = watcher.reconciled(&ns);
    assert_eq!(states(&report, &ns).counts[Established.index()], Some(0));
    assert_never_negative(sample(&report, &ns));
}

/// Connections that were never accepted and whose clients have gone: they take no file, so there can be many.
struct Crowd {
    _listeners: Vec<TcpListener>,
    count: u64,
}

impl Crowd {
    fn open(listeners: u16, each: u64) -> Self {
        let listen = |number| {
            let address = SocketAddr::from(([127, 0, 0, 1], 5000 + number));
            sock::listen(address, i32::MAX).expect("listen")
        };
        let listeners: Vec<_> = (0..listeners).map(listen).collect();
        for listener in &listeners {
            let to = listener.local_addr().expect("address");
            for _ in 0..each {
                drop(TcpStream::connect(to).expect("connect"));
            }
        }
        let count = each * u64::try_from(listeners.len()).expect("few");
        Self { _listeners: listeners, count }
    }
}

/// Waits until no mini-socket is left.
fn wait_for_minis(ns: &Netns) {
    let deadline = Instant::now() + PATIENCE;
    while ns
        .run(|| fs::read_to_string("/proc/thread-self/net/sockstat").expect("read it").contains(" tw 0 "))
        .not()
    {
        assert!(Instant::now() < deadline, "mini-sockets are left");
        thread::sleep(PAUSE);
    }
}

#[test]
fn a_crowd_is_counted_once_while_others_come_and_go() {
    let _alone = alone();
    let ns = Netns::new("crowd");
    ns.sysctl("net.core.somaxconn", "1000000");
    // So that nothing is left of the clients soon.
    ns.sysctl("net.ipv4.tcp_fin_timeout", "1");
    ns.sysctl("net.ipv4.ip_local_port_range", "1024 64999");
    let (listeners, each) = if is_small() { (2, 500) } else { (8, 15_000) };
    let crowd = ns.run(|| Crowd::open(listeners, each));
    wait_for_minis(&ns);
    let busy = Netns::new("beside");
    let traffic = Traffic::start(&busy, 0, if is_small() { 200 } else { 4000 });
    // Room for a part of them only.
    let mut watcher = Watcher::live(&small());
    traffic.finish();
    let report = watcher.reconciled(&busy);
    assert_eq!(states(&report, &busy).counts[Established.index()], Some(0));
    let report = watcher.reconciled(&ns);
    let counts = states(&report, &ns).counts;
    // A client that took the port of an earlier one ended that one's connection.
    assert!(counts[CloseWait.index()].is_some_and(|count| count >= crowd.count / 10 * 9), "{counts:?}");
    assert_eq!(counts[Listen.index()], Some(listeners.into()));
    assert!(states(&report, &ns).is_complete);
    drop(crowd);
    let report = watcher.reconciled(&ns);
    assert_eq!(states(&report, &ns).counts[CloseWait.index()], Some(0));
    assert_never_negative(sample(&report, &ns));
}

#[test]
fn namespaces_that_nobody_can_enter_are_counted_where_the_kernel_lists_them() {
    let ns = Netns::new("hidden");
    let inode = ns.inode();
    let held = ns.run(|| Idle::open(3));
    // Its sockets keep it, and nothing else does.
    drop(ns);
    let mut watcher = Watcher::live(&small());
    let is_listed = watcher.source.kernel().lists_namespaces();
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let is_old = release.starts_with("5.");
    assert!(is_listed || is_old, "Linux {release} can list its namespaces");
    if is_listed {
        let report = watcher.report();
        let states = report.states.get(&inode).expect("it is there");
        assert_eq!(states.counts[Established.index()], Some(6));
        assert_eq!(states.counts[Listen.index()], Some(1));
        assert!(states.is_complete);
    }
    drop(held);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let report = watcher.report();
        let left = report.states.get(&inode).map(|states| {
            [Established, CloseWait, FinWait2, Listen].map(|state| states.counts[state.index()].unwrap_or(0))
        });
        if left.is_none_or(|left| left == [0; 4]) {
            return;
        }
        assert!(Instant::now() < deadline, "{left:?} are left");
        thread::sleep(PAUSE);
    }
}
