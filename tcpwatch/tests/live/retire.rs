//! Namespaces that come and go: their rows are used again, and what they counted is not forgotten.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tcpwatch::kernel::Options;
use tcpwatch::model::{Model, rates};
use tcpwatch::source::{Live, Source as _};
use tcpwatch_common::TcpState::{Close, SynSent};

use crate::churn::traffic::is_small;
use crate::held::figures::{Watcher, sample, small};
use crate::support::netns::Netns;

const CONNECTIONS: u64 = 3;
/// More than there are rows.
fn namespaces() -> u64 {
    if is_small() { 20 } else { 60 }
}

fn connects(live: &mut Live, model: &mut Model) -> u64 {
    let report = model.apply(live.sample(false).expect("a sample"));
    let all = rates::total(&report.transitions);
    all.iter().find(|t| (t.from, t.to) == (Close, SynSent)).map_or(0, |t| t.count)
}

#[test]
fn rows_are_used_again_and_counts_never_fall() {
    let options = Options {
        sockets: 4096,
        namespaces: 16,
        ring_bytes: 4096,
        retire_after: Duration::ZERO,
        ..Options::default()
    };
    let mut live = Live::open(&options, |_| ()).expect("live tests need root and eBPF");
    let mut model = Model::default();
    let first = connects(&mut live, &mut model);
    let mut before = first;
    for number in 1..=namespaces() {
        let namespace = Netns::new("retire");
        namespace.run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
            let address = listener.local_addr().expect("bound");
            for _ in 0..CONNECTIONS {
                drop(TcpStream::connect(address).expect("connect"));
            }
        });
        drop(namespace);
        // A namespace that is gone is noticed at the next look for namespaces, at most every second.
        if number.is_multiple_of(10) {
            std::thread::sleep(Duration::from_millis(1100));
        }
        let now = connects(&mut live, &mut model);
        assert!(now >= before, "the host's counters never fall: {now} after {before}");
        before = now;
    }
    // Other tests run at the same time and connect as well, so there can be more.
    assert!(before - first >= namespaces() * CONNECTIONS, "{first} to {before}");
    let met = live.namespaces_met().expect("the map can be read");
    assert!(met <= 16, "{met} rows are in use");
}

#[test]
fn a_namespace_never_has_the_figures_of_an_earlier_one_with_its_number() {
    let connect = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        drop(TcpStream::connect(listener.local_addr().expect("bound")).expect("connect"));
    };
    // Other tests make namespaces too, and each that had a connection keeps its row for a while.
    let mut watcher = Watcher::live(&Options { namespaces: 4096, ..small() });
    if !watcher.source.kernel().lists_namespaces() {
        return;
    }
    // Numbers are given out again soon.
    for _ in 0..200 {
        let first = Netns::new("first");
        let inode = first.inode();
        first.run(connect);
        assert!(sample(&watcher.report(), &first).cells.is_some_and(|cells| cells.iter().sum::<u64>() > 0));
        drop(first);
        let later: Vec<Netns> = (0..4).map(|_| Netns::new("later")).collect();
        let Some(same) = later.iter().find(|ns| ns.inode() == inode) else { continue };
        let report = watcher.report();
        let mut shown =
            report.sample.namespaces.iter().filter(|shown| shown.is_alive && shown.inode == same.inode());
        // It may not have been looked for yet.
        let counted = shown.next().and_then(|shown| shown.cells).map_or(0, |cells| cells.iter().sum::<u64>());
        assert_eq!(counted, 0, "nothing has happened in it");
        return;
    }
    panic!("no number was given out again");
}
