//! Maps that are too small: what does not fit is counted as such, and every count stays exact.

use std::net::TcpListener;

use tcpwatch::kernel::{Counters, Kernel, Options, Ring, run_stats};
use tcpwatch_common::TcpState;
use tcpwatch_common::cell;
use tcpwatch_common::event::{Filter, Kind};
use tcpwatch_common::names::program::{TRANSITION, TRANSITION_FOURTH};

use super::traffic::Traffic;
use super::{Idle, add, alone, ours, theirs};
use crate::held::figures::{Watcher, assert_never_negative, sample, small, states};
use crate::support::netns::Netns;

/// The programs with nothing that samples.
struct Bare {
    kernel: Kernel,
    counters: Counters,
    ring: Ring,
}

impl Bare {
    /// Transitions that its programs tell to have lost, which they may where tasks can be preempted in the midst of counting
    /// (see the known limits); 0 elsewhere.
    fn lost(&self) -> u64 {
        let named = |name| self.kernel.programs().iter().find(|program| program.name == name);
        if named(TRANSITION_FOURTH).is_none() {
            return 0;
        }
        let first = named(TRANSITION).and_then(|program| run_stats(program.fd?));
        let missed = first.and_then(|stats| stats.missed).expect("the kernel tells what it skipped");
        missed.saturating_sub(self.counters.host().expect("read the counters").nested)
    }

    fn open(options: &Options) -> Self {
        let mut kernel =
            Kernel::open(&Options { adopt: false, ..options.clone() }).expect("load the programs");
        let counters = Counters::open(&mut kernel).expect("open the maps");
        let ring = Ring::open(&mut kernel).expect("open the ring");
        Self { kernel, counters, ring }
    }

    /// The counters of a namespace's row, if it got one.
    fn cells(&self, ns: &Netns) -> Option<cell::Row> {
        let namespaces = self.counters.namespaces().expect("read the namespaces");
        // Cookies only grow: the last one is the living namespace's.
        let mine = namespaces.iter().filter(|(_, namespace)| u64::from(namespace.inode) == ns.inode());
        let (_, namespace) = mine.max_by_key(|(key, _)| *key)?;
        Some(self.counters.cells(namespace.row).expect("read a row"))
    }

    /// What was counted in any row.
    fn total(&self) -> [u64; 4] {
        let namespaces = self.counters.namespaces().expect("read the namespaces");
        let rows = namespaces.iter().map(|(_, namespace)| namespace.row);
        let mut sum = [0; 4];
        for row in rows.chain([cell::OVERFLOW_ROW]) {
            add(&mut sum, ours(&self.counters.cells(row).expect("read a row")));
        }
        sum
    }
}

/// What `counted` lacks of `made`.
fn shortage(made: [u64; 4], counted: [u64; 4]) -> u64 {
    made.iter().zip(counted).map(|(made, counted)| made.saturating_sub(counted)).sum()
}

#[test]
fn a_ring_that_is_too_small_loses_facts_and_says_how_many() {
    let _alone = alone();
    let ns = Netns::new("ring");
    let mut bare = Bare::open(&Options { ring_bytes: 4096, ..small() });
    let before = theirs(&ns);
    let all = Kind::ALL.iter().fold(0, |bits, kind| bits | kind.bit());
    let filter =
        Filter { netns: u32::try_from(ns.inode()).expect("a number of 32 bits"), ..Filter::default() };
    bare.kernel.want(all, filter).expect("subscribe");
    let traffic = Traffic::start(&ns, 0, 300);
    traffic.finish();
    // A socket of another namespace makes a fact that the filter leaves out.
    let elsewhere = Netns::new("elsewhere");
    elsewhere.run(|| TcpListener::bind("127.0.0.1:0")).expect("listen elsewhere");
    bare.kernel.want(0, Filter::default()).expect("unsubscribe");

    let (mut told, mut strangers) = (0, 0);
    let drained = bare.ring.drain(usize::MAX, |event| {
        told += u64::from(u64::from(event.netns) == ns.inode());
        strangers += u64::from(u64::from(event.netns) != ns.inode());
    });
    let ring = bare.counters.host().expect("read the counters").ring;
    assert!(ring.lost > 0 && told > 0, "{ring:?}");
    assert!(ring.filtered > 0, "{ring:?}");
    assert_eq!(strangers, 0, "the filter holds");
    assert_eq!((u64::try_from(drained).ok(), bare.ring.malformed()), (Some(told), 0));
    assert_eq!(bare.ring.delivered(), told);
    assert_eq!(ring.seen, ring.filtered + ring.lost + told, "{ring:?}");
    let now = theirs(&ns);
    let deltas: [u64; 4] = std::array::from_fn(|at| now[at] - before[at]);
    assert_eq!(ours(&bare.cells(&ns).expect("a row")), deltas, "the counters do not need the ring");
    println!("ring of one page: {ring:?}, {told} told");
}

#[test]
fn a_table_that_is_too_small_loses_ages_but_no_socket() {
    let _alone = alone();
    let ns = Netns::new("table");
    let mut watcher = Watcher::live(&Options { sockets: 64, ..small() });
    watcher.reconciled(&ns);
    let (half, more) = ns.run(|| (Idle::open(250), Idle::open(250)));
    let report = watcher.reconciled(&ns);
    let established = states(&report, &ns).counts[TcpState::Established.index()];
    assert_eq!(established, Some(1000));
    let untracked = report.sample.host.as_ref().expect("host counters").untracked;
    assert!(untracked >= 1000 - 64 - 8, "{untracked} sockets without a place");
    assert_eq!(sample(&report, &ns).adopted, [0; 13], "none is taken for an older one");
    drop(half);
    watcher.reconciled(&ns);
    drop(more);
    let report = watcher.reconciled(&ns);
    assert_eq!(states(&report, &ns).counts[TcpState::Established.index()], Some(0));
    assert_eq!(report.sample.host.as_ref().expect("host counters").gaps, 0);
    assert_never_negative(sample(&report, &ns));
    println!("table of 64 places: {untracked} sockets of the whole host without one");
}

#[test]
fn namespaces_beyond_the_rows_are_counted_together() {
    let _alone = alone();
    let namespaces = ["row0", "row1", "row2", "row3", "row4"].map(Netns::new);
    // Other namespaces of this machine are counted too: what happens in them is known from programs with more rows.
    let all = Bare::open(&Options { namespaces: 1024, ..small() });
    let few = Bare::open(&Options { namespaces: 2, ..small() });
    let opened = all.total();
    let before = namespaces.each_ref().map(theirs);
    let traffic: Vec<_> = namespaces.iter().map(|ns| Traffic::start(ns, 0, 140)).collect();
    for traffic in traffic {
        traffic.finish();
    }
    let (mut kernel, mut short) = ([0; 4], 0);
    for (ns, before) in namespaces.iter().zip(before) {
        let now = theirs(ns);
        let deltas = std::array::from_fn(|at| now[at] - before[at]);
        let counted = all.cells(ns).map(|cells| ours(&cells)).expect("it has a row of its own");
        short += shortage(deltas, counted);
        assert_eq!(shortage(counted, deltas), 0, "{}: {counted:?} are more than {deltas:?}", ns.name());
        add(&mut kernel, deltas);
    }
    assert!(short <= all.lost(), "{short} are missing with rows for all, {} are told", all.lost());
    if short > 0 {
        // Two sets of programs in turn are more than such a kernel runs on a slow processor without a loss.
        println!("lost as told: {short} of {kernel:?}");
        return;
    }
    let closing = all.total();
    let counted = few.total();
    let closed = all.total();
    let least: [u64; 4] = std::array::from_fn(|at| closing[at] - opened[at]);
    assert_eq!(shortage(kernel, least), 0, "{least:?} includes the kernel's {kernel:?}");
    assert_eq!(shortage(counted, closed), 0, "{counted:?} are more than {closed:?}");
    let short = shortage(least, counted);
    assert!(short <= few.lost(), "{short} of {least:?} are missing with few rows, {} are told", few.lost());
    let known = few.counters.namespaces().expect("read the namespaces");
    assert_eq!(known.len(), 2, "no more rows than there are: {known:?}");
    let folded = few.counters.host().expect("read the counters").folded;
    assert!(folded > 0);
    println!(
        "2 rows: {folded} sockets folded; counted {counted:?}, the kernel {kernel:?} in these namespaces"
    );
}
