//! More network namespaces than rows of counters: what is not known of one is not shown as 0.

use tcpwatch::kernel::Options;
use tcpwatch::model::states::total;
use tcpwatch::sample::What;
use tcpwatch_common::TcpState::Established;

use super::{Idle, alone};
use crate::held::figures::{Watcher, small, states};
use crate::support::netns::Netns;

#[test]
fn a_namespace_without_a_row_has_unknown_counts_and_a_reason() {
    let _alone = alone();
    let all: Vec<Netns> = ["one", "two", "three", "four", "five"].map(Netns::new).into();
    let held: Vec<Idle> = all.iter().map(|ns| ns.run(|| Idle::open(5))).collect();
    let mut watcher = Watcher::live(&Options { namespaces: 4, ..small() });
    let report = watcher.report();
    let mut unknown = 0;
    for ns in &all {
        let states = states(&report, ns);
        if let Some(count) = states.counts[Established.index()] {
            assert_eq!((count, states.is_complete), (10, true), "{}", ns.name());
        } else {
            assert!(!states.is_complete, "{} is unknown", ns.name());
            unknown += 1;
        }
    }
    assert!(unknown > 0, "five namespaces do not fit into four rows, of which the host's own takes one");
    let others = report.states.get(&0).expect("the others are shown as one");
    assert!(others.counts[Established.index()] >= Some(10 * unknown), "{others:?}");
    let sum = total(&report.states);
    // Where one walk is for all namespaces: from Linux 5.19 on.
    if watcher.source.kernel().lists_namespaces() {
        assert!(others.is_complete, "all of those were counted");
        assert!(sum.counts[Established.index()] >= Some(50), "the sum has those in `others`: {sum:?}");
    } else {
        assert_eq!(sum.counts[Established.index()], None, "nobody counts mini-sockets of others: {sum:?}");
    }
    let short = report.sample.shortages.iter().find(|one| one.what == What::Namespaces);
    assert!(short.is_some_and(|short| short.count >= 10), "{:?}", report.sample.shortages);
    drop(held);
}

#[test]
fn older_sockets_are_no_longer_met_once_the_source_is_open() {
    let _alone = alone();
    let watcher = Watcher::live(&small());
    assert!(!watcher.source.kernel().is_adopting(), "a burst before the first sample could ruin the counts");
}
