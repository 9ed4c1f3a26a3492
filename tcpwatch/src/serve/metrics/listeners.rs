//! Metrics of listeners: both queues with their limits, and drops by cause.
//!
//! Only the listeners with the most trouble have series of their own, so that a host with thousands of them stays
//! cheap; the rest is added up.

use std::cmp::Reverse;

use super::bounds;
use super::family::{Family, Label, number};
use super::owner::{OTHER, Owner};
use crate::model::Report;
use crate::model::listeners::{Drops, ListenerReport, Service};
use crate::view::listeners::address;

pub(super) fn add(families: &mut Vec<Family>, report: &Report) {
    let (shown, folded) = ranked(&report.listeners.services);
    let rows: Vec<Row> = shown.iter().map(|service| Row::new(service)).chain(Row::folded(&folded)).collect();
    if !rows.is_empty() {
        families.extend(queues(&rows));
        families.push(drops(&rows));
        families.push(
            Family::gauge(
                "tcpwatch_listeners_folded",
                "Listening addresses without series of their own: those with the least trouble, added up in \
                 listen_addr=\"other\"",
            )
            .only(Some(number(folded.len() as u64))),
        );
    }
    let namespaces = &report.listeners.namespaces;
    families.push(
        Family::counter(
            "tcpwatch_listener_drops_unattributed_total",
            "Drops that the kernel counted in ListenDrops and that are no listener's for certain",
        )
        .only(
            (!namespaces.is_empty())
                .then(|| number(namespaces.values().map(|namespace| namespace.unattributed).sum())),
        ),
    );
}

/// Those to be shown, the most trouble first, and the others.
fn ranked(services: &[Service]) -> (Vec<&Service>, Vec<&Service>) {
    let mut ranked: Vec<&Service> = services.iter().collect();
    ranked.sort_by_cached_key(|service| {
        let fullest = service.members.iter().map(|member| {
            let sample = &member.sample;
            let queued = sample.accept_queue + sample.syn_queue.unwrap_or(0);
            queued * 1_000_000 / (sample.accept_limit + 1)
        });
        (Reverse(service.drops().0.total()), Reverse(fullest.max()), service.netns, service.local)
    });
    let folded = ranked.split_off(ranked.len().min(bounds::LISTENERS));
    (ranked, folded)
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
    accept: (u64, u64),
    /// `None` where the source cannot tell.
    syn: (Option<u64>, Option<u64>),
    drops: Drops,
}

impl Row {
    fn new(service: &Service) -> Self {
        Self {
            listen_addr: address(service.local).0,
            owner: owner(service),
            netns: service.netns.to_string(),
            ..Self::sum(&[service])
        }
    }

    /// What is left over; nothing if nothing is.
    fn folded(services: &[&Service]) -> Option<Self> {
        (!services.is_empty()).then(|| Self::sum(services))
    }

    fn sum(services: &[&Service]) -> Self {
        let members = || services.iter().flat_map(|service| &service.members);
        let sum = |of: fn(&ListenerReport) -> Option<u64>| members().map(of).sum::<Option<u64>>();
        let mut drops = Drops::default();
        members().for_each(|member| drops += member.drops);
        Self {
            listen_addr: OTHER.into(),
            owner: Owner::only(OTHER),
            netns: OTHER.into(),
            accept: (
                members().map(|member| member.sample.accept_queue).sum(),
                members().map(|member| member.sample.accept_limit).sum(),
            ),
            syn: (sum(|member| member.sample.syn_queue), sum(|member| member.syn_limit)),
            drops,
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
        row.add(&mut accept_length, Some(row.accept.0));
        row.add(&mut accept_limit, Some(row.accept.1));
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
        for (cause, count) in Drops::CAUSES.into_iter().zip(row.drops.counts()) {
            family.add(&row.labels(Some(cause)), number(count));
        }
    }
    family
}

/// SYN-ACKs sent again, by listener. Those with the most are others than those with the most trouble.
pub(super) fn synack_retransmits(services: &[Service]) -> Family {
    let mut family = Family::counter(
        "tcpwatch_listener_synack_retransmits_total",
        "SYN-ACKs that listeners sent again because no ACK came: clients that never answer (a SYN flood), or a full \
         accept queue. Listeners with few of them are in listen_addr=\"other\"",
    );
    let count = |service: &Service| -> u64 {
        service.members.iter().map(|member| member.sample.synack_retransmits).sum()
    };
    let mut ranked: Vec<_> = services.iter().map(|service| (count(service), service)).collect();
    ranked.sort_by_key(|(count, service)| (Reverse(*count), service.netns, service.local));
    let (shown, folded) = ranked.split_at(ranked.len().min(bounds::LISTENERS));
    for (count, service) in shown {
        Row::new(service).add(&mut family, Some(*count));
    }
    Row::sum(&[]).add(&mut family, Some(folded.iter().map(|(count, _)| count).sum()));
    family
}
