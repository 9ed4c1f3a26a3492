//! Counters of listeners from scrape to scrape: whatever is shown, none falls and nothing is counted twice.

use super::*;
use crate::model::Report;

/// Scrapes of one daemon.
struct Scrapes {
    model: Model,
    ledger: Ledger,
    budget: Budget,
}

impl Scrapes {
    fn of(listeners: u64) -> Self {
        let budget = Budget { listeners, ..Budget::default() };
        Self { model: Model::default(), ledger: Ledger::default(), budget }
    }

    /// Ports with the SYN-ACKs that they sent again so far, and the length of their accept queues.
    fn scrape(&mut self, listeners: &[(u16, u64, u64)]) -> String {
        let mut sample = full();
        let one = |&(port, synacks, queue): &(u16, u64, u64)| ListenerSample {
            accept_queue: queue,
            ..listener(port, synacks)
        };
        sample.listeners = listeners.iter().map(one).collect();
        let report = self.model.apply(sample);
        self.page(&report)
    }

    fn page(&mut self, report: &Report) -> String {
        let families = families(report, &Findings::default(), USAGE, self.budget, &mut self.ledger);
        encode(&families).expect("encodes")
    }
}

/// What the counter of SYN-ACKs says, by port; 0 is `other`.
fn synacks(page: &str) -> BTreeMap<u16, u64> {
    let lines = lines(page, "tcpwatch_listener_synack_retransmits_total");
    let one = |line: &&str| {
        let (labels, value) = line.rsplit_once(' ').expect("a value");
        let address = labels.split('"').nth(1).expect("an address");
        let port = address.rsplit_once(':').map_or(0, |(_, port)| port.parse().expect("a port"));
        (port, value.parse().expect("a count"))
    };
    lines.iter().map(one).collect()
}

#[test]
fn what_was_counted_in_other_stays_there() {
    let mut scrapes = Scrapes::of(1);
    assert_eq!(synacks(&scrapes.scrape(&[(1, 10, 0), (2, 4, 0)])), BTreeMap::from([(1, 10), (0, 4)]));
    assert_eq!(synacks(&scrapes.scrape(&[(1, 11, 0), (2, 9, 0)])), BTreeMap::from([(1, 11), (0, 9)]));
    // It rises from there: what came while it did belongs to `other`, and its own begins.
    assert_eq!(
        synacks(&scrapes.scrape(&[(1, 12, 0), (2, 20, 0)])),
        BTreeMap::from([(2, 0), (0, 9 + 11 + 1)])
    );
    assert_eq!(synacks(&scrapes.scrape(&[(1, 12, 0), (2, 23, 0)])), BTreeMap::from([(2, 3), (0, 21)]));
    // The first one comes back, with what it had counted by itself.
    assert_eq!(synacks(&scrapes.scrape(&[(1, 40, 0), (2, 23, 0)])), BTreeMap::from([(1, 11), (0, 21 + 28)]));
    assert_eq!(synacks(&scrapes.scrape(&[(1, 45, 0), (2, 23, 0)])), BTreeMap::from([(1, 16), (0, 49)]));
    // One that is gone leaves what it counted.
    assert_eq!(synacks(&scrapes.scrape(&[(1, 45, 0)])), BTreeMap::from([(1, 16), (0, 49)]));
    assert_eq!(synacks(&scrapes.scrape(&[])), BTreeMap::from([(0, 49)]));
}

#[test]
fn one_of_several_at_an_address_may_go() {
    let mut scrapes = Scrapes::of(10);
    let mut counted = |counts: &[(u64, u64)]| {
        let mut sample = full();
        let one = |&(id, synacks): &(u64, u64)| ListenerSample { id, ..listener(80, synacks) };
        sample.listeners = counts.iter().map(one).collect();
        let report = scrapes.model.apply(sample);
        synacks(&scrapes.page(&report))[&80]
    };
    assert_eq!(counted(&[(1, 5), (2, 7)]), 12);
    assert_eq!(counted(&[(2, 8)]), 13);
    assert_eq!(counted(&[(2, 8), (3, 2)]), 15);
}

#[test]
fn series_do_not_come_and_go_with_every_connection() {
    let mut scrapes = Scrapes::of(1);
    assert!(synacks(&scrapes.scrape(&[(1, 0, 1), (2, 0, 0)])).contains_key(&1));
    assert!(synacks(&scrapes.scrape(&[(1, 0, 0), (2, 0, 9)])).contains_key(&1), "it is hardly used");
    assert!(synacks(&scrapes.scrape(&[(1, 0, 0), (2, 0, 2_500)])).contains_key(&2), "half full");
    assert!(synacks(&scrapes.scrape(&[(1, 1, 0), (2, 0, 2_500)])).contains_key(&1), "real trouble");
}

#[test]
fn drops_of_a_namespace_that_is_gone_stay_counted() {
    let mut scrapes = Scrapes::of(1);
    let mut unattributed = |counts: &[(u64, u64)]| {
        let mut report = scrapes.model.apply(full());
        report.listeners.namespaces.clear();
        for (inode, unattributed) in counts {
            let drops =
                crate::model::listeners::NamespaceDrops { unattributed: *unattributed, ..Default::default() };
            report.listeners.namespaces.insert(*inode, drops);
        }
        let page = scrapes.page(&report);
        let found = lines(&page, "tcpwatch_listener_drops_unattributed_total");
        found
            .first()
            .and_then(|line| line.rsplit(' ').next())
            .map(|count| count.parse::<u64>().expect("a count"))
    };
    assert_eq!(unattributed(&[(1, 5), (2, 7)]), Some(12));
    assert_eq!(unattributed(&[(1, 6)]), Some(13));
    assert_eq!(unattributed(&[(1, 6), (2, 1)]), Some(14), "the number was given anew");
    assert_eq!(unattributed(&[]), None);
    assert_eq!(unattributed(&[(1, 2)]), Some(16));
}
