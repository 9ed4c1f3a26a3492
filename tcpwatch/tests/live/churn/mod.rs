//! Many short connections at once: not one transition may be lost, whatever interrupts what.

mod crowded;
mod limits;
mod older;
mod room;
pub mod traffic;

use std::collections::HashMap;
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use tcpwatch::model::Report;
use tcpwatch::source::Live;
use tcpwatch_common::TcpState::{Close, CloseWait, Established, Listen, SynRecv, SynSent};
use tcpwatch_common::cell;
use tcpwatch_common::names::program::TRANSITION_FOURTH;

use crate::held::figures::{PATIENCE, PAUSE, Watcher, assert_nothing_lost, edge, losses, sample, small};
use crate::support::netns::Netns;
use crate::support::withheld::Withheld;
use traffic::{Traffic, is_ours, is_small, steer};

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

fn print_recovered(what: &str, connections: u32, report: &Report) {
    println!("{what}: {connections} connections, {}", losses(report));
}

/// Open connections on which nothing happens.
pub(crate) struct Idle {
    _listener: TcpListener,
    _streams: Vec<TcpStream>,
}

impl Idle {
    /// Opens `count` connections in the calling thread's namespace.
    pub(crate) fn open(count: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let to = listener.local_addr().expect("address");
        let pair = |_| [TcpStream::connect(to).expect("connect"), listener.accept().expect("accept").0];
        let streams = (0..count).flat_map(pair).collect();
        Self { _listener: listener, _streams: streams }
    }
}

/// Whether every counter of the kernel's holds once it is at rest. Where not, exactly that is missing which the programs
/// could not see, or cannot but have said to be lost.
fn is_exact(watcher: &mut Watcher<Live>, at_first: &[(&Netns, [u64; 4])], withheld: &Withheld) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let report = watcher.report();
        let (mut counted, mut made) = ([0; 4], [0; 4]);
        for (ns, before) in at_first {
            add(&mut counted, ours(&cells(&report, ns)));
            let now = theirs(ns);
            add(&mut made, std::array::from_fn(|at| now[at] - before[at]));
        }
        if counted == made {
            // Something else than these four may still be missing.
            return !may_lose(&report) && withheld.cells(is_ours) == [0; cell::CELLS];
        }
        let missing = ours(&withheld.cells(is_ours));
        add(&mut counted, missing);
        if counted == made {
            println!("this host withholds process 1 from programs: {missing:?} of {made:?} are missing");
            return false;
        }
        if Instant::now() > deadline {
            let short: u64 = counted.iter().zip(&made).map(|(counted, made)| made.abs_diff(*counted)).sum();
            let why = format!("with {missing:?} withheld, {counted:?} are not {made:?}: {}", losses(&report));
            assert!(may_lose(&report) && short <= report.sample.missed_transitions(), "{why}");
            println!("lost as told: {why}");
            return false;
        }
        thread::sleep(PAUSE);
    }
}

/// Whether transitions were skipped by all programs on a kernel where that can be: there the tests demand
/// that what is lost is told.
fn may_lose(report: &Report) -> bool {
    let is_preemptible = report.sample.programs.iter().any(|program| program.name == TRANSITION_FOURTH);
    is_preemptible && report.sample.missed_transitions() > 0
}

fn add(sum: &mut [u64; 4], more: [u64; 4]) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

/// Makes many connections in every namespace, and demands that not one transition is lost.
fn churn(namespaces: &[Netns; 3]) {
    let each = if is_small() { 334 } else { 8400 };
    let withheld = Withheld::watch();
    let mut watcher = Watcher::live(&small());
    let before = namespaces.each_ref().map(|ns| (ns, theirs(ns)));
    for ns in namespaces {
        watcher.reconciled(ns);
    }
    let traffic: Vec<_> =
        namespaces.iter().flat_map(|ns| [0, 1].map(|lane| Traffic::start(ns, lane, each))).collect();
    let made: u32 = traffic.into_iter().map(Traffic::finish).sum();
    assert_eq!(made, 6 * (each + 1));
    if is_exact(&mut watcher, &before, &withheld) {
        for (ns, before) in before {
            let report = watcher.reconciled(ns);
            let now = theirs(ns);
            let deltas: [u64; 4] = std::array::from_fn(|at| now[at] - before[at]);
            assert_eq!(ours(&cells(&report, ns)), deltas, "{}: opens, resets and failures", ns.name());
            assert!(deltas.iter().all(|delta| *delta > 0), "every counter moved: {deltas:?}");
            assert_eq!(deltas[1], u64::from(2 * (each + 1)), "one active open for each connection");
            assert_nothing_lost(&report);
        }
    }
    let report = watcher.report();
    let is_skipped = report.sample.missed_transitions() > 0;
    assert!(!is_skipped || may_lose(&report), "skipped by all programs: {}", losses(&report));
    print_recovered("churn", made, &report);
}

#[test]
fn not_one_transition_of_many_connections_is_lost() {
    let _alone = alone();
    churn(&["churn0", "churn1", "churn2"].map(Netns::new));
}

#[test]
fn not_one_transition_is_lost_where_packets_come_by_interrupts() {
    let _alone = alone();
    let namespaces = ["steer0", "steer1", "steer2"].map(Netns::new);
    // One is left as it is.
    namespaces[1..].iter().for_each(steer);
    churn(&namespaces);
}

#[test]
fn sockets_are_met_exactly_once_however_busy_they_are_at_the_start() {
    let _alone = alone();
    let rounds = if is_small() { 1 } else { 4 };
    for round in 0..rounds {
        let namespaces = ["attach0", "attach1"].map(Netns::new);
        let withheld = Withheld::watch();
        let idle = namespaces.each_ref().map(|ns| ns.run(|| Idle::open(100)));
        let traffic: Vec<_> = namespaces.iter().map(|ns| Traffic::start(ns, 0, 1_000_000)).collect();
        let mut watcher = Watcher::live(&small());
        watcher.report();
        let made: u32 = traffic.into_iter().map(Traffic::stop).sum();
        let report = watcher.report();
        if withheld.cells(is_ours) != [0; cell::CELLS] || may_lose(&report) {
            println!(
                "round {round} shows nothing, as this host may keep something back: {}",
                losses(&report)
            );
            continue;
        }
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
