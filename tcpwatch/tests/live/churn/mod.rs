//! Many short connections at once: not one transition may be lost, whatever interrupts what.

mod limits;
mod traffic;

use std::collections::HashMap;
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tcpwatch::model::Report;
use tcpwatch_common::TcpState::{Close, CloseWait, Established, Listen, SynRecv, SynSent};
use tcpwatch_common::cell;

use crate::held::figures::{Watcher, assert_nothing_lost, edge, sample, small};
use crate::support::netns::Netns;
use traffic::{Traffic, is_small};

/// One test at a time keeps all CPUs busy.
fn alone() -> MutexGuard<'static, ()> {
    static BUSY: Mutex<()> = Mutex::new(());
    BUSY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kernel's counters that ours are held against, in the order of [`ours`].
fn theirs(ns: &Netns) -> [u64; 4] {
    let counters: HashMap<String, u64> = ns.snmp();
    [
        counters["Tcp.PassiveOpens"],
        counters["Tcp.ActiveOpens"],
        counters["Tcp.EstabResets"],
        counters["Tcp.AttemptFails"] - counters["TcpExt.EmbryonicRsts"],
    ]
}

/// What the kernel should have counted, by our counters.
fn ours(cells: &cell::Row) -> [u64; 4] {
    [
        edge(cells, Listen, SynRecv),
        edge(cells, Close, SynSent).saturating_sub(cells[cell::CONNECT_NEVER_SENT]),
        edge(cells, Established, Close) + edge(cells, CloseWait, Close),
        edge(cells, SynSent, Close).saturating_sub(cells[cell::CONNECT_GIVEN_UP])
            + cells[cell::SYN_RECV_FAILED],
    ]
}

fn cells(report: &Report, ns: &Netns) -> cell::Row {
    sample(report, ns).cells.expect("transitions are seen")
}

#[expect(clippy::print_stdout, reason = "shown with the test that fails, or by --nocapture")]
fn print_recovered(what: &str, connections: u32, report: &Report) {
    let host = report.sample.host.as_ref().expect("the source has host counters");
    let missed: Vec<u64> = report.sample.programs[..2].iter().map(|program| program.missed).collect();
    println!("{what}: {connections} connections, {} transitions recovered, missed {missed:?}", host.nested);
}

/// Open connections on which nothing happens.
struct Idle {
    _listener: TcpListener,
    _streams: Vec<TcpStream>,
}

impl Idle {
    /// Opens `count` connections in the calling thread's namespace.
    fn open(count: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let to = listener.local_addr().expect("address");
        let pair = |_| [TcpStream::connect(to).expect("connect"), listener.accept().expect("accept").0];
        let streams = (0..count).flat_map(pair).collect();
        Self { _listener: listener, _streams: streams }
    }
}

#[test]
fn not_one_transition_of_many_connections_is_lost() {
    let _alone = alone();
    let each = if is_small() { 334 } else { 8400 };
    let namespaces = ["churn0", "churn1", "churn2"].map(Netns::new);
    let mut watcher = Watcher::live(&small());
    let before = namespaces.each_ref().map(theirs);
    for ns in &namespaces {
        watcher.reconciled(ns);
    }
    let traffic: Vec<_> =
        namespaces.iter().flat_map(|ns| [0, 1].map(|lane| Traffic::start(ns, lane, each))).collect();
    let made: u32 = traffic.into_iter().map(Traffic::finish).sum();
    assert_eq!(made, 6 * (each + 1));
    for (ns, before) in namespaces.iter().zip(before) {
        let report = watcher.reconciled(ns);
        let now = theirs(ns);
        let deltas: [u64; 4] = std::array::from_fn(|at| now[at] - before[at]);
        assert_eq!(ours(&cells(&report, ns)), deltas, "{}: opens, resets and failures", ns.name());
        assert!(deltas.iter().all(|delta| *delta > 0), "every counter moved: {deltas:?}");
        assert_eq!(deltas[1], u64::from(2 * (each + 1)), "one active open for each connection");
        assert_nothing_lost(&report);
    }
    print_recovered("churn", made, &watcher.report());
}

#[test]
fn sockets_are_met_exactly_once_however_busy_they_are_at_the_start() {
    let _alone = alone();
    let rounds = if is_small() { 2 } else { 4 };
    for round in 0..rounds {
        let namespaces = ["attach0", "attach1"].map(Netns::new);
        let idle = namespaces.each_ref().map(|ns| ns.run(|| Idle::open(100)));
        let traffic: Vec<_> = namespaces.iter().map(|ns| Traffic::start(ns, 0, 1_000_000)).collect();
        let mut watcher = Watcher::live(&small());
        watcher.report();
        let made: u32 = traffic.into_iter().map(Traffic::stop).sum();
        for ns in &namespaces {
            assert_nothing_lost(&watcher.reconciled(ns));
        }
        drop(idle);
        for ns in &namespaces {
            assert_nothing_lost(&watcher.reconciled(ns));
        }
        print_recovered(&format!("attached while busy, round {round}"), made, &watcher.report());
    }
}
