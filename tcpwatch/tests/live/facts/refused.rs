//! Listeners that the kernel side has no room for when they are opened, as one user opens too many between two ticks.

use std::net::{Ipv4Addr, TcpListener};

use tcpwatch::kernel::Options;
use tcpwatch::sample::{Sample, What};
use tcpwatch::source::Live;

use super::Host;
use crate::support::netns::Netns;
use crate::support::sock;

/// Watched at each tick. The kernel side takes twice as many of one user between two ticks.
const WATCHED: u32 = 100;
const OPENED: usize = 250;

/// Listeners of the whole host that are known, watched or in turns.
fn known(sample: &Sample) -> usize {
    let in_turns = sample.shortages.iter().find(|one| one.what == What::ListenersInTurns);
    sample.listeners.len() + in_turns.map_or(0, |one| usize::try_from(one.count).expect("few"))
}

#[test]
fn listeners_that_were_too_many_at_once_are_known_at_the_next_tick() {
    let ns = Netns::new("at_once");
    let options = Options {
        listeners: WATCHED,
        namespaces: 64,
        ring_bytes: 1 << 16,
        sockets: 1 << 15,
        ..Options::default()
    };
    let mut host = Host { live: Live::open(&options, |_| ()).expect("live tests need root and eBPF") };
    let before = known(&host.sample());
    let listen = |_| sock::listen((Ipv4Addr::LOCALHOST, 0).into(), 2).expect("listen");
    let many: Vec<TcpListener> = ns.run(|| (0..OPENED).map(listen).collect());
    let sample = host.sample();
    let refused = sample.host.as_ref().expect("eBPF").listeners_untracked;
    assert!(refused >= 50, "{refused} had no room");
    let is_told = |sample: &Sample| sample.shortages.iter().any(|one| one.what == What::Listeners);
    assert!(is_told(&sample), "{:?}", sample.shortages);
    if !host.live.kernel().lists_namespaces() {
        // Nothing on this kernel walks all listeners.
        return;
    }
    host.until("all of them", |sample| (known(sample) >= before + OPENED).then_some(()));

    // Few enough are left to be watched, and each is one of ours.
    let few: Vec<TcpListener> = many.into_iter().rev().take(20).collect();
    let sample = host.until("room for those that are left", |sample| {
        let mine = sample.listeners.iter().filter(|one| one.netns == ns.inode()).count();
        (mine == few.len()).then(|| sample.clone())
    });
    for listener in &few {
        let address = listener.local_addr().expect("bound");
        let of = sample.listeners.iter().find(|one| one.netns == ns.inode() && one.local == address);
        assert_eq!(of.and_then(|one| one.pid), Some(std::process::id()), "{address}");
    }
}
