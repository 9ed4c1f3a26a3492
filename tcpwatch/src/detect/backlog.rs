//! What the detectors of listeners share: how many drops are trouble, whom it concerns, and who has to change what about
//! a queue's limit.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::detect::tell;
use crate::finding::{Evidence, Subject};
use crate::model::listeners::{RecentService, namespace, owner};
use crate::sample::Sample;

/// What overflows of either queue are measured by.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Fewest drops.
    pub drops: u64,
    /// Within so much time.
    pub within: Duration,
    /// Drops from which it is critical.
    pub critical_drops: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { drops: 1, within: Duration::from_secs(5), critical_drops: 10 }
    }
}

pub(super) fn key(service: &RecentService<'_>) -> String {
    format!("{}:{}", service.netns, service.local)
}

/// Where several processes share a service, its owner is the one whose queue is the fullest.
pub(super) fn subject(sample: &Sample, service: &RecentService<'_>) -> Subject {
    Subject {
        netns: Some(service.netns),
        listener: Some(service.local),
        owner: service.fullest().and_then(|member| owner(sample, member)),
        ..Subject::default()
    }
}

/// The name of the service's owner for a sentence, and of how many processes it is one.
pub(super) fn who(subject: &Subject, service: &RecentService<'_>) -> String {
    let name = tell::who(subject.owner.as_deref());
    let all: BTreeSet<_> = service.members.iter().map(|member| member.pid).collect();
    match all.len() {
        0 | 1 => name,
        many => format!("{name}, one of {many} processes,"),
    }
}

/// A command where the listener is.
pub(super) fn inside(sample: &Sample, service: &RecentService<'_>, command: &str) -> String {
    let pid = service.members.iter().find_map(|member| member.pid);
    namespace(sample, service.netns)
        .map_or_else(|| command.to_owned(), |namespace| tell::inside(sample, namespace, pid, command))
}

pub(super) fn list(sample: &Sample, service: &RecentService<'_>) -> String {
    inside(sample, service, &format!("ss -ltnm 'sport = :{}'", service.local.port()))
}

/// Who decided that the queue is as short as it is, and how to change that.
pub(super) fn longer(sample: &Sample, service: &RecentService<'_>) -> String {
    let who = who(&subject(sample, service), service);
    let (_, limit) = service.accept_queue();
    match service.sysctls.and_then(|sysctls| sysctls.somaxconn) {
        Some(most) if limit < most => format!(
            "The limit of {limit} is the application's own: {who} has to call listen() with a longer backlog \
             (net.core.somaxconn would allow {most})"
        ),
        Some(most) => format!(
            "The limit of {limit} may be net.core.somaxconn, which is {most}: raise it in this network namespace, and the \
             backlog of {who} if that is not longer; then restart {who}, as the limit is fixed when listen() is called"
        ),
        None => format!(
            "The limit of {limit} is the smaller one of what {who} gives to listen() and of net.core.somaxconn; it is \
             fixed when listen() is called"
        ),
    }
}

/// Both queues, their limits and the settings behind them.
pub(super) fn queues(service: &RecentService<'_>) -> Vec<(&'static str, Evidence)> {
    let (length, limit) = service.accept_queue();
    let mut evidence = vec![
        ("accept_queue_length", Evidence::Count(length)),
        ("accept_queue_limit", Evidence::Count(limit)),
    ];
    if let Some((requests, young)) = service.requests() {
        evidence.push(("syn_queue_length", Evidence::Count(requests)));
        evidence.push(("syn_queue_young", Evidence::Count(young)));
    }
    let settings = service.sysctls;
    for (name, value) in [
        ("syn_queue_limit", service.syn_limit()),
        ("somaxconn", settings.and_then(|sysctls| sysctls.somaxconn)),
        ("tcp_max_syn_backlog", settings.and_then(|sysctls| sysctls.max_syn_backlog)),
        ("tcp_syncookies", settings.and_then(|sysctls| sysctls.syncookies)),
    ] {
        evidence.extend(value.map(|value| (name, Evidence::Count(value))));
    }
    evidence.push(("synack_retransmits", Evidence::Count(service.synack_retransmits)));
    if service.members.len() > 1 {
        evidence.push(("members", Evidence::Count(service.members.len() as u64)));
    }
    evidence
}

/// Whether clients are reset when the accept queue is full at their last ACK.
pub(super) fn aborts_on_overflow(sample: &Sample, netns: u64) -> bool {
    let sysctls = crate::model::listeners::sysctls(sample, netns);
    sysctls.and_then(|sysctls| sysctls.abort_on_overflow).is_some_and(|abort| abort != 0)
}
