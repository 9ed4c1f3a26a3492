//! Attribution over pairs of samples whose counters were measured on a live kernel.

use std::sync::Arc;

use super::*;
use crate::model::testing::{listener_at, sample_at};
use crate::sample::NetCounters;

/// Counters of the namespace: `ListenOverflows`, `ListenDrops`, `TCPReqQFullDrop`, `TCPReqQFullDoCookies`,
/// `SyncookiesSent`, `SyncookiesRecv`, `PassiveOpens`, `EmbryonicRsts`, `TCPDeferAcceptDrop`.
type Counts = [u64; 9];

/// `sk_drops`, accept queue, SYN queue; both limits are 4.
type Queues = (u32, u64, u64);

fn sample(seconds: f64, settings: (u64, u64), counts: Counts, listeners: &[Queues]) -> Sample {
    let mut sample = sample_at(seconds, 1);
    let mut counters = NetCounters::default();
    let ext = &mut counters.ext;
    for (slot, count) in [
        &mut ext.listen_overflows,
        &mut ext.listen_drops,
        &mut ext.req_q_full_drop,
        &mut ext.req_q_full_do_cookies,
        &mut ext.syncookies_sent,
        &mut ext.syncookies_recv,
    ]
    .into_iter()
    .zip(counts)
    {
        *slot = Some(count + 1_000);
    }
    counters.snmp.passive_opens = counts[6];
    ext.embryonic_rsts = Some(counts[7]);
    ext.defer_accept_drop = Some(counts[8]);
    sample.namespaces[0].counters = Some(counters);
    sample.namespaces[0].sysctls = Some(Arc::new(Sysctls {
        syncookies: Some(settings.0),
        abort_on_overflow: Some(settings.1),
        max_syn_backlog: Some(256),
        ..Sysctls::default()
    }));
    let listener = |(port, (drops, accept, syn)): (u16, &Queues)| ListenerSample {
        // The kernel's counter wraps within the test.
        drops: drops.wrapping_sub(3),
        accept_queue: *accept,
        accept_limit: 4,
        syn_queue: Some(*syn),
        ..listener_at(1, port)
    };
    sample.listeners = (1..).zip(listeners).map(listener).collect();
    sample
}

/// What each listener dropped, as `[accept_queue_syn, accept_queue_ack, syn_queue, other, unknown]`, and what is
/// attributed to none.
fn dropped(settings: (u64, u64), counts: Counts, now: &[Queues]) -> (Vec<[u64; 5]>, u64) {
    let before: Vec<Queues> = now.iter().map(|(_, accept, syn)| (0, *accept, *syn)).collect();
    let first = sample(1.0, settings, [0; 9], &before);
    let second = sample(2.0, settings, counts, now);
    let changes = changes(&first, &second);
    let drops = changes.listeners.iter().map(|change| change.drops.counts()).collect();
    let change = changes.namespaces[&1];
    let sum: u64 = changes.listeners.iter().map(|change| change.drops.total()).sum();
    assert_eq!(sum + change.unattributed, change.listen_drops, "nothing is lost or made up");
    (drops, change.unattributed)
}

#[test]
fn one_listener_as_measured() {
    let cases = [
        ("20 SYN, accept queue full", (0, 0), [20, 20, 0, 0, 0, 0, 0, 0, 0], (20, 5, 0), [20, 0, 0, 0, 0]),
        ("the same with cookies", (1, 1), [20, 20, 0, 0, 0, 0, 0, 0, 0], (20, 5, 0), [20, 0, 0, 0, 0]),
        ("the same, always cookies", (2, 0), [20, 20, 0, 20, 0, 0, 0, 0, 0], (20, 5, 0), [20, 0, 0, 0, 0]),
        ("4 last ACKs", (0, 0), [4, 4, 0, 0, 0, 0, 0, 0, 0], (8, 5, 4), [0, 4, 0, 0, 0]),
        ("4 last ACKs, aborted", (1, 1), [4, 4, 0, 0, 0, 0, 0, 4, 0], (8, 5, 0), [0, 4, 0, 0, 0]),
        ("4 cookie ACKs", (2, 0), [4, 4, 0, 0, 0, 4, 0, 0, 0], (4, 5, 0), [0, 4, 0, 0, 0]),
        ("25 of 30, 5 got through", (2, 1), [25, 25, 0, 0, 0, 30, 5, 0, 0], (25, 5, 0), [0, 25, 0, 0, 0]),
        (
            "5 stored ones got through, 25 cookies not",
            (1, 0),
            [25, 25, 0, 0, 0, 25, 5, 0, 0],
            (25, 5, 0),
            [0, 20, 0, 0, 5],
        ),
        ("25 SYN, SYN queue full", (0, 0), [0, 25, 25, 0, 0, 0, 0, 0, 0], (25, 0, 5), [0, 0, 25, 0, 0]),
        ("no room by max_syn_backlog", (0, 0), [0, 7, 0, 0, 0, 0, 0, 0, 0], (7, 0, 5), [0, 0, 7, 0, 0]),
        ("neither queue", (1, 0), [0, 7, 0, 0, 0, 0, 0, 0, 0], (7, 0, 0), [0, 0, 0, 7, 0]),
        ("stray segments only", (1, 0), [0; 9], (10, 0, 0), [0; 5]),
        ("10 RST beside 4 last ACKs", (1, 0), [4, 4, 0, 0, 0, 0, 0, 10, 0], (18, 5, 4), [0, 4, 0, 0, 0]),
        ("10 RST beside 3 SYN", (1, 0), [3, 3, 0, 0, 0, 0, 0, 10, 0], (13, 5, 4), [3, 0, 0, 0, 0]),
        ("3 deferred beside 3 SYN", (1, 1), [3, 3, 0, 0, 0, 0, 0, 3, 3], (6, 5, 4), [3, 0, 0, 0, 0]),
        ("strays and no request held", (1, 0), [4, 4, 0, 0, 0, 0, 0, 0, 0], (7, 5, 0), [4, 0, 0, 0, 0]),
        ("3 SYN and 2 last ACKs", (1, 0), [5, 5, 0, 0, 0, 0, 0, 0, 0], (7, 5, 2), [3, 2, 0, 0, 0]),
        ("both queues", (0, 0), [5, 12, 7, 0, 0, 0, 0, 0, 0], (12, 5, 5), [5, 0, 7, 0, 0]),
    ];
    for (name, settings, counts, now, expected) in cases {
        assert_eq!(dropped(settings, counts, &[now]), (vec![expected], 0), "{name}");
    }
}

#[test]
fn two_listeners_are_told_apart_by_their_queues_or_not_at_all() {
    const NONE: [u64; 5] = [0; 5];
    type Case = (&'static str, (u64, u64), Counts, [Queues; 2], [[u64; 5]; 2], u64);
    const CASES: [Case; 8] = [
        (
            "one cause, each its own",
            (1, 0),
            [8, 8, 0, 0, 0, 0, 0, 0, 0],
            [(5, 5, 0), (3, 4, 0)],
            [[5, 0, 0, 0, 0], [3, 0, 0, 0, 0]],
            0,
        ),
        (
            "strays at one that is not full",
            (1, 0),
            [5, 5, 0, 0, 0, 0, 0, 0, 0],
            [(5, 5, 0), (3, 0, 0)],
            [[5, 0, 0, 0, 0], NONE],
            0,
        ),
        (
            "one at each queue",
            (0, 0),
            [5, 12, 7, 0, 0, 0, 0, 0, 0],
            [(5, 5, 0), (7, 0, 5)],
            [[5, 0, 0, 0, 0], [0, 0, 7, 0, 0]],
            0,
        ),
        (
            "last ACKs at the one that holds requests",
            (1, 0),
            [9, 9, 0, 0, 0, 0, 0, 0, 0],
            [(5, 5, 0), (8, 5, 4)],
            [[5, 0, 0, 0, 0], [0, 4, 0, 0, 0]],
            0,
        ),
        ("last ACKs at either", (1, 0), [9, 9, 0, 0, 0, 0, 0, 0, 0], [(5, 5, 1), (8, 5, 4)], [NONE, NONE], 9),
        (
            "both queues of both",
            (0, 0),
            [5, 12, 7, 0, 0, 0, 0, 0, 0],
            [(6, 5, 5), (6, 5, 5)],
            [NONE, NONE],
            12,
        ),
        (
            "a cookie for either",
            (1, 0),
            [8, 8, 0, 0, 0, 1, 0, 0, 0],
            [(5, 5, 0), (3, 5, 0)],
            [[0, 0, 0, 0, 5], [0, 0, 0, 0, 3]],
            0,
        ),
        (
            "one of them closed meanwhile",
            (1, 0),
            [20, 20, 0, 0, 0, 0, 0, 0, 0],
            [(5, 5, 0), (0, 0, 0)],
            [[5, 0, 0, 0, 0], NONE],
            15,
        ),
    ];
    for (name, settings, counts, now, expected, unattributed) in CASES {
        assert_eq!(dropped(settings, counts, &now), (expected.to_vec(), unattributed), "{name}");
    }
}

fn totals(listeners: &Listeners) -> (Drops, NamespaceDrops) {
    (listeners.services[0].drops().0, listeners.namespaces[&1])
}

#[test]
fn old_drops_are_nobodys_and_new_ones_add_up() {
    let mut tally = Tally::default();
    let mut apply = |seconds, drops: u32, overflows: u64| {
        let counts = [overflows, overflows, 0, 0, 0, 0, 0, 0, 0];
        totals(&tally.apply(&Arc::new(sample(seconds, (1, 0), counts, &[(drops, 5, 0)]))))
    };
    assert_eq!(apply(1.0, 500, 700), (Drops::default(), apply(1.0, 500, 700).1));
    let (drops, namespace) = apply(2.0, 510, 710);
    assert_eq!((drops.accept_queue_syn, drops.total(), namespace.listen_drops), (10, 10, 10));
    // Three more were dropped after the listeners were read.
    let (drops, namespace) = apply(3.0, 515, 718);
    assert_eq!((drops.total(), namespace.unattributed, namespace.pending), (15, 0, 3));
    let (drops, namespace) = apply(4.0, 518, 718);
    assert_eq!((drops.total(), namespace.unattributed, namespace.pending), (18, 0, 0));
    // Two whose listener is never seen to have dropped them.
    assert_eq!(apply(5.0, 518, 720).1.pending, 2);
    let (drops, namespace) = apply(6.0, 518, 720);
    assert_eq!((drops.total(), namespace.unattributed, namespace.pending), (18, 2, 0));
    assert_eq!(namespace.listen_drops, 20);
}

#[test]
fn drops_that_come_late_keep_their_cause() {
    let mut tally = Tally::default();
    let mut apply = |seconds, drops, counted| {
        let counts = [0, counted, counted, 0, 0, 0, 0, 0, 0];
        totals(&tally.apply(&Arc::new(sample(seconds, (0, 0), counts, &[(drops, 0, 0)]))))
    };
    apply(1.0, 0, 0);
    assert_eq!(apply(2.0, 4, 9).1.pending, 5);
    let (drops, namespace) = apply(3.0, 9, 9);
    assert_eq!((drops.syn_queue, drops.total()), (9, 9));
    assert_eq!((namespace.unattributed, namespace.pending), (0, 0));
}

#[test]
fn cookies_that_come_back_before_their_drops_are_told_in_sum() {
    let mut tally = Tally::default();
    let mut apply = |seconds, drops, counted, cookies| {
        let counts = [counted, counted, 0, 0, 0, cookies, 34, 0, 0];
        totals(&tally.apply(&Arc::new(sample(seconds, (1, 0), counts, &[(drops, 0, 0)])))).0
    };
    apply(1.0, 0, 0, 0);
    // Six cookies came back and found no room after the listener was read.
    apply(2.0, 23, 29, 6);
    let drops = apply(3.0, 29, 29, 6);
    assert_eq!((drops.accept_queue_syn, drops.accept_queue_ack, drops.unknown), (23, 6, 0));
}

#[test]
fn what_is_gone_is_forgotten() {
    let mut tally = Tally::default();
    let many: Vec<Queues> = (0..50).map(|_| (0, 0, 0)).collect();
    tally.apply(&Arc::new(sample(1.0, (1, 0), [0; 9], &many)));
    tally.apply(&Arc::new(sample(2.0, (1, 0), [0; 9], &many[..3])));
    assert_eq!(tally.listeners.len(), 3);
    let mut gone = sample(3.0, (1, 0), [0; 9], &[]);
    gone.namespaces.clear();
    let report = tally.apply(&Arc::new(gone));
    assert_eq!((tally.listeners.len(), tally.namespaces.len(), tally.pending.len()), (0, 0, 0));
    assert_eq!(report, Listeners::default());
}

#[test]
fn one_address_is_one_service() {
    let process = |pid| Arc::new(Process { pid, command: Some("httpd".into()), ..Process::default() });
    let mut now = sample(1.0, (1, 0), [0; 9], &[(0, 0, 0), (0, 0, 0), (0, 0, 0)]);
    now.processes = [7, 8].map(|pid| (pid, process(pid))).into();
    now.listeners[1].local = now.listeners[0].local;
    now.listeners[0].pid = Some(7);
    now.listeners[1].pid = Some(7);
    let report = Tally::default().apply(&Arc::new(now.clone()));
    let members: Vec<usize> = report.services.iter().map(|service| service.members.len()).collect();
    assert_eq!(members, [2, 1]);
    assert_eq!(report.services[0].owner().map(|owner| owner.pid), Some(7));
    assert_eq!(report.services[1].owner(), None);
    now.listeners[1].pid = Some(8);
    let report = Tally::default().apply(&Arc::new(now));
    assert_eq!(report.services[0].owner(), None, "two of them");
}

#[test]
fn another_namespace_with_the_same_number_starts_anew() {
    let first = sample(1.0, (1, 0), [0; 9], &[(0, 5, 0)]);
    let mut second = sample(2.0, (1, 0), [9, 9, 0, 0, 0, 0, 0, 0, 0], &[(9, 5, 0)]);
    second.namespaces[0].generation = 5;
    assert_eq!(changes(&first, &second).namespaces[&1].listen_drops, 9, "nothing had happened in it");
    let mut third = second.clone();
    third.namespaces[0].generation = 6;
    assert!(changes(&second, &third).namespaces.is_empty());
    let mut tally = Tally::default();
    let drops =
        [first, second, third].map(|sample| tally.apply(&Arc::new(sample)).namespaces[&1].listen_drops);
    assert_eq!(drops, [0, 9, 0]);
}
