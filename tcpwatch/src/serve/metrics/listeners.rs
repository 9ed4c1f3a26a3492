//! Metrics of listeners: both queues with their limits, and drops by cause.
//!
//! Only the listeners with the most trouble have series of their own, so that a host with thousands of them stays
//! cheap; the rest is added up.

use super::family::{Family, Label, number};
use super::ledger::{Counts, Ledger, Shown};
use super::owner::{OTHER, Owner};
use crate::model::listeners::{Drops, ListenerReport, Listeners, Service};
use crate::view::listeners::address;

/// What is on the page of each listener.
pub(super) struct Rows(Vec<Row>);

/// The `room` with the most trouble, and the others in one.
pub(super) fn rows(ledger: &mut Ledger, listeners: &Listeners, room: usize) -> Rows {
    let (shown, folded) = ledger.divide(listeners, room);
    let mut rows: Vec<Row> = shown.iter().map(Row::new).collect();
    // What was counted there stays, be it that there is none any more; and it is there before, to be counted from 0.
    if !rows.is_empty() || !folded.is_empty() || ledger.other() != Counts::default() {
        rows.push(Row::sum(&folded, ledger.other()));
    }
    Rows(rows)
}

pub(super) fn add(families: &mut Vec<Family>, rows: &Rows) {
    families.extend(queues(&rows.0));
    families.push(drops(&rows.0));
}

/// Drops that are no listener's for certain; nothing where they are not counted.
pub(super) fn unattributed(ledger: &mut Ledger, listeners: &Listeners) -> Family {
    let count = ledger.unattributed(listeners);
    Family::counter(
        "tcpwatch_listener_drops_unattributed_total",
        "Drops that the kernel counted in ListenDrops and that are no listener's for certain",
    )
    .only((!listeners.namespaces.is_empty()).then(|| number(count)))
}

/// What the owners of all members have in common.
fn owner(service: &Service) -> Owner {
    let owner = |member: &ListenerReport| member.owner.as_deref().map(Owner::of).unwrap_or_default();
    Owner::shared(service.members.iter().map(owner)).or_unknown()
}

/// One series of each metric.
struct Row {
    listen_addr: String,
    owner: Owner,
    netns: String,
    /// `None` of nothing.
    accept: (Option<u64>, Option<u64>),
    /// `None` where the source cannot tell, too.
    syn: (Option<u64>, Option<u64>),
    counts: Counts,
}

impl Row {
    fn new((service, counts): &Shown<'_>) -> Self {
        Self {
            listen_addr: address(service.local).0,
            owner: owner(service),
            netns: service.netns.to_string(),
            ..Self::sum(&[service], *counts)
        }
    }

    fn sum(services: &[&Service], counts: Counts) -> Self {
        let members = || services.iter().flat_map(|service| &service.members);
        let sum = |of: fn(&ListenerReport) -> Option<u64>| {
            members().map(of).sum::<Option<u64>>().filter(|_| !services.is_empty())
        };
        Self {
            listen_addr: OTHER.into(),
            owner: Owner::only(OTHER),
            netns: OTHER.into(),
            accept: (
                sum(|member| Some(member.sample.accept_queue)),
                sum(|member| Some(member.sample.accept_limit)),
            ),
            syn: (sum(|member| member.sample.syn_queue), sum(|member| member.syn_limit)),
            counts,
        }
    }

    fn labels<'a>(&'a self, cause: Option<&'a str>) -> Vec<Label<'a>> {
        let address = [("listen_addr", &*self.listen_addr)];
        let before: Vec<_> = address.into_iter().chain(cause.map(|cause| ("cause", cause))).collect();
        self.owner.labels(&before, &[("netns", &self.netns)])
    }

    fn add(&self, family: &mut Family, value: Option<u64>) {
        if let Some(value) = value {
            family.add(&self.labels(None), number(value));
        }
    }
}

fn queues(rows: &[Row]) -> [Family; 4] {
    let mut accept_length = Family::gauge(
        "tcpwatch_listener_accept_queue_length",
        "Connections that wait for accept(), all listeners of an address together",
    );
    let mut accept_limit = Family::gauge(
        "tcpwatch_listener_accept_queue_limit",
        "The accept queue is full when longer than this: the smaller one of backlog and somaxconn at listen()",
    );
    let mut syn_length = Family::gauge(
        "tcpwatch_listener_syn_queue_length",
        "Half-open requests: a SYN-ACK was sent, the last ACK has not come",
    );
    let mut syn_limit = Family::gauge(
        "tcpwatch_listener_syn_queue_limit",
        "The SYN queue is full when longer than this, as the kernel counts it: by the backlog, and without cookies by \
         tcp_max_syn_backlog too",
    );
    for row in rows {
        row.add(&mut accept_length, row.accept.0);
        row.add(&mut accept_limit, row.accept.1);
        row.add(&mut syn_length, row.syn.0);
        row.add(&mut syn_limit, row.syn.1);
    }
    [accept_length, accept_limit, syn_length, syn_limit]
}

fn drops(rows: &[Row]) -> Family {
    let mut family = Family::counter(
        "tcpwatch_listener_drops_total",
        "Connection attempts that listeners dropped since they were first seen. Cause: accept_queue_syn and \
         accept_queue_ack (accept queue full, at the SYN and at the last ACK), syn_queue (SYN queue full and no cookies), \
         other, unknown",
    );
    for row in rows {
        for (cause, count) in Drops::CAUSES.into_iter().zip(row.counts.drops) {
            family.add(&row.labels(Some(cause)), number(count));
        }
    }
    family
}

/// SYN-ACKs sent again, by listener.
pub(super) fn synack_retransmits(rows: &Rows) -> Family {
    let mut family = Family::counter(
        "tcpwatch_listener_synack_retransmits_total",
        "SYN-ACKs that listeners sent again because no ACK came: clients that never answer (a SYN flood), or a full \
         accept queue. Listeners without series of their own are in listen_addr=\"other\"",
    );
    for row in &rows.0 {
        row.add(&mut family, Some(row.counts.synacks));
    }
    family
}
