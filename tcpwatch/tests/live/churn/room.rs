//! The table of sockets: below its size each socket has a place, and above it nobody takes all of it.

use tcpwatch::kernel::Options;
use tcpwatch::sample::{Sample, Shortage, SocketSample, What};
use tcpwatch::source::{Live, Source as _};

use super::{Idle, alone};
use crate::held::figures::{Watcher, small};
use crate::scenarios::child::Child;
use crate::support::netns::Netns;

/// The smallest table in which chance is no excuse: five hundred sets.
const PLACES: u32 = 1 << 12;

pub fn shortage(sample: &Sample) -> Option<&Shortage> {
    sample.shortages.iter().find(|one| one.what == What::Sockets)
}

/// All sockets of a namespace, as the walk tells them.
fn sockets(source: &mut Live, ns: &Netns) -> Vec<SocketSample> {
    let (mut all, inode) = (Vec::new(), ns.inode());
    source.sockets(&|netns| netns == inode, &mut |socket| all.push(*socket)).expect("walk");
    all
}

#[test]
fn a_table_that_is_half_full_has_a_place_for_each() {
    let _alone = alone();
    let (ns, later) = (Netns::new("older"), Netns::new("later"));
    // Some are met, others are born: half of the table in all.
    let older = ns.run(|| Idle::open(500));
    let mut watcher = Watcher::live(&Options { sockets: PLACES, ..small() });
    watcher.reconciled(&ns);
    let born = later.run(|| Idle::open(500));
    let report = watcher.reconciled(&later);
    assert_eq!(shortage(&report.sample), None);
    assert_eq!(report.sample.host.as_ref().expect("host counters").untracked, 0);
    let all = sockets(&mut watcher.source, &later);
    let known = all.iter().filter(|one| one.lifetime.is_some()).count();
    assert_eq!((all.len(), known), (1001, 1001), "each has an age");
    drop((older, born));
    let report = watcher.reconciled(&later);
    let host = report.sample.host.as_ref().expect("host counters");
    assert_eq!((host.untracked, host.gaps), (0, 0), "each was known when it ended");
}

#[test]
fn who_fills_the_table_leaves_room_for_others_and_what_had_none_is_no_shortage_for_ever() {
    let _alone = alone();
    let (hog, ns) = (Netns::new("hog"), Netns::new("fair"));
    // While older sockets are met nobody gives his place.
    let mut watcher = Watcher::live(&Options { sockets: 1 << 8, adopt: false, ..small() });
    watcher.reconciled(&hog);
    // Another process, as what one process has is of one owner.
    let many = Child::crowding(&hog, 500);
    let report = watcher.reconciled(&hog);
    let short = shortage(&report.sample).expect("1,001 sockets do not fit into 256 places").count;
    assert!((600..=1001).contains(&short), "{short} without a place");

    let few = ns.run(|| Idle::open(8));
    let report = watcher.reconciled(&ns);
    let all = sockets(&mut watcher.source, &ns);
    let known = all.iter().filter(|one| one.lifetime.is_some()).count();
    assert_eq!((all.len(), known), (17, 17), "each of the others has an age");
    let owned = all.iter().filter(|one| one.pid == Some(std::process::id())).count();
    assert!(owned >= 9, "who listens and who connects is known: {owned}");
    assert!(shortage(&report.sample).expect("still").count >= short, "those who gave their places have none");

    drop(few);
    watcher.reconciled(&ns);
    drop(many);
    let report = watcher.reconciled(&hog);
    assert_eq!(shortage(&report.sample), None, "none is open that has no place");
    let host = report.sample.host.as_ref().expect("host counters");
    assert!(host.untracked > 0 && host.gaps == 0, "{} without a place, {} gaps", host.untracked, host.gaps);
}
