//! Timelines for the tests of the detectors of listeners and remotes: counters that only grow, second by second.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::testing::{NETNS, PID, PORT, host};
use crate::model::Window;
use crate::sample::{NetCounters, RemoteCounts, RemoteSample, Sample, Sysctls};

/// What one second of a listener with a backlog of 128 looked like. Counts are of that second, queues of its end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Second {
    pub accept_queue: u64,
    pub syn_queue: u64,
    pub young: u64,
    pub stuck: u64,
    /// `sk_drops`.
    pub drops: u32,
    pub overflows: u64,
    pub listen_drops: u64,
    pub queue_full: u64,
    pub cookies_sent: u64,
    pub cookies_received: u64,
    pub made: u64,
    pub synack_retransmits: u64,
}

/// The seconds one after the other, with `tcp_syncookies` as given.
pub(crate) fn listener(cookies: u64, seconds: &[Second]) -> Window {
    let seconds: Vec<_> = seconds.iter().map(|second| (*second, None)).collect();
    listeners(cookies, &seconds)
}

/// The same with another listener, of whose own second only the queues count.
pub(crate) fn listeners(cookies: u64, seconds: &[(Second, Option<Second>)]) -> Window {
    let mut sample = host(100.0);
    let space = &mut sample.namespaces[0];
    space.sysctls = Some(Arc::new(Sysctls {
        somaxconn: Some(4096),
        max_syn_backlog: Some(512),
        syncookies: Some(cookies),
        abort_on_overflow: Some(0),
        ..Sysctls::default()
    }));
    let mut counters = NetCounters::default();
    let ext = &mut counters.ext;
    for slot in [
        &mut ext.listen_overflows,
        &mut ext.listen_drops,
        &mut ext.req_q_full_drop,
        &mut ext.req_q_full_do_cookies,
        &mut ext.syncookies_sent,
        &mut ext.syncookies_recv,
        &mut ext.syncookies_failed,
        &mut ext.embryonic_rsts,
        &mut ext.defer_accept_drop,
    ] {
        *slot = Some(77);
    }
    space.counters = Some(counters);
    sample.listeners[0].accept_limit = 128;
    if seconds.iter().any(|(_, other)| other.is_some()) {
        let mut other = sample.listeners[0].clone();
        other.id += 1;
        other.local.set_port(PORT + 1);
        sample.listeners.push(other);
    }
    let mut window = Window::new(Arc::new(sample.clone()));
    for (second, other) in seconds {
        advance(&mut sample);
        pass(&mut sample, second);
        if let (Some(second), Some(listener)) = (other, sample.listeners.get_mut(1)) {
            (listener.accept_queue, listener.syn_queue) = (second.accept_queue, Some(second.syn_queue));
            listener.young = Some(second.young);
        }
        window.push(Arc::new(sample.clone()));
    }
    window
}

fn pass(sample: &mut Sample, second: &Second) {
    let listener = &mut sample.listeners[0];
    listener.accept_queue = second.accept_queue;
    listener.syn_queue = Some(second.syn_queue);
    listener.young = Some(second.young);
    listener.stuck = Some(second.stuck);
    listener.drops += second.drops;
    listener.synack_retransmits += second.synack_retransmits;
    let counters = sample.namespaces[0].counters.as_mut().expect("given");
    counters.snmp.passive_opens += second.made;
    let ext = &mut counters.ext;
    for (slot, count) in [
        (&mut ext.listen_overflows, second.overflows),
        (&mut ext.listen_drops, second.listen_drops),
        (&mut ext.req_q_full_drop, second.queue_full),
        (&mut ext.req_q_full_do_cookies, second.cookies_sent),
        (&mut ext.syncookies_sent, second.cookies_sent),
        (&mut ext.syncookies_recv, second.cookies_received),
    ] {
        *slot = slot.map(|was| was + count);
    }
}

fn advance(sample: &mut Sample) {
    let tick = std::time::Duration::from_secs(1);
    sample.elapsed += tick;
    sample.at += tick;
}

/// A service that `web` uses, at 10.0.0.9 and port 443.
pub(crate) fn destination(counts: RemoteCounts) -> RemoteSample {
    remote(9, 443, false, counts)
}

/// A client of `web`.
pub(crate) fn client(last: u8, counts: RemoteCounts) -> RemoteSample {
    remote(last, PORT, true, counts)
}

fn remote(last: u8, port: u16, is_client: bool, counts: RemoteCounts) -> RemoteSample {
    RemoteSample {
        netns: NETNS,
        address: Ipv4Addr::new(10, 0, 0, last).into(),
        port,
        is_client,
        pid: Some(PID),
        counts,
    }
}

/// Two samples five seconds apart: between them the counters of the namespace went from nothing to `counters`, and
/// `remotes` came.
pub(crate) fn remotes(counters: &NetCounters, remotes: Vec<RemoteSample>) -> Window {
    let mut first = host(100.0);
    let mut none = NetCounters::default();
    none.ext.abort_on_data = Some(0);
    none.ext.abort_on_close = Some(0);
    first.namespaces[0].counters = Some(none);
    let mut now = host(105.0);
    now.namespaces[0].counters = Some(*counters);
    now.remotes = remotes;
    super::testing::window([first, now])
}
