//! What listeners went through lately: the same attribution as [`super::Tally`]'s, over the samples of a window.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::changes::{Changes, changes_with, find};
use super::{Drops, accept_full, accept_stays_full, namespace, syn_full, syn_limit, sysctls};
use crate::model::Window;
use crate::sample::{ListenerSample, Sample, Sysctls};

/// Listeners at one address, and what happened to them lately.
#[derive(Clone, Debug)]
pub struct RecentService<'a> {
    pub netns: u64,
    pub local: SocketAddr,
    /// As they are now.
    pub members: Vec<&'a ListenerSample>,
    pub sysctls: Option<&'a Sysctls>,
    pub drops: Drops,
    /// Those of them that the accept queue had no room for, at whatever stage.
    pub overflows: u64,
    pub sk_drops: u64,
    pub synack_retransmits: u64,
    /// Samples in which an accept queue was full, and of how many.
    pub accept_full: (u64, u64),
    /// Whether it was full in the last two of them, or as good as.
    accept_full_still: bool,
    accept_full_now: bool,
    /// The same of the SYN queue, as a number of samples.
    pub syn_full: (u64, u64),
    /// Connections made in the namespace.
    pub made: Option<u64>,
}

/// What happened lately.
#[derive(Clone, Debug, Default)]
pub struct Recent<'a> {
    pub services: BTreeMap<(u64, SocketAddr), RecentService<'a>>,
    /// Drops that belong to no listener for certain, by namespace.
    pub unattributed: BTreeMap<u64, u64>,
    /// The time looked at.
    pub span: Duration,
}

/// Looks at the samples of the last `age`. Costs nothing to speak of while no listener has trouble.
pub fn recent(window: &Window, age: Duration) -> Recent<'_> {
    let samples: Vec<&Sample> = window.recent(age).collect();
    let now = window.now();
    let mut recent = Recent::default();
    let Some(first) = samples.first() else { return recent };
    recent.span = now.elapsed.saturating_sub(first.elapsed);
    for listener in &now.listeners {
        let service = recent.services.entry((listener.netns, listener.local));
        service.or_insert_with(|| RecentService::new(listener, now)).members.push(listener);
    }
    for sample in &samples {
        recent.look(sample);
    }
    for service in recent.services.values_mut() {
        service.made = made(first, now, service.netns);
    }
    let mut pending = BTreeMap::new();
    for pair in samples.windows(2) {
        if let [before, now] = pair {
            let changes = changes_with(before, now, &pending);
            pending = changes.namespaces.iter().map(|(inode, change)| (*inode, change.pending)).collect();
            recent.add(&changes);
        }
    }
    recent
}

fn made(first: &Sample, now: &Sample, netns: u64) -> Option<u64> {
    let space = namespace(now, netns)?;
    let (old, new) = (find(first, space)?.counters.as_ref()?, space.counters.as_ref()?);
    Some(new.snmp.passive_opens.saturating_sub(old.snmp.passive_opens))
}

impl<'a> RecentService<'a> {
    fn new(listener: &ListenerSample, now: &'a Sample) -> Self {
        Self {
            netns: listener.netns,
            local: listener.local,
            members: Vec::new(),
            sysctls: sysctls(now, listener.netns),
            drops: Drops::default(),
            overflows: 0,
            sk_drops: 0,
            synack_retransmits: 0,
            accept_full: (0, 0),
            accept_full_still: false,
            accept_full_now: false,
            syn_full: (0, 0),
            made: None,
        }
    }

    /// The member whose accept queue is closest to its limit; the first of those that are as close.
    pub fn fullest(&self) -> Option<&'a ListenerSample> {
        let part =
            |member: &ListenerSample| (member.accept_queue + 1) * 1_000_000 / (member.accept_limit + 1);
        self.members.iter().copied().min_by_key(|member| Reverse(part(member)))
    }

    /// The accept queue that is closest to its limit: its length, and the limit.
    pub fn accept_queue(&self) -> (u64, u64) {
        self.fullest().map(|member| (member.accept_queue, member.accept_limit)).unwrap_or_default()
    }

    /// Half-open requests of all members, and how many of them are young; `None` if that is not known.
    pub fn requests(&self) -> Option<(u64, u64)> {
        self.members.iter().try_fold((0, 0), |(length, young), member| {
            Some((length + member.syn_queue?, young + member.young?))
        })
    }

    /// How many half-open requests all members take.
    pub fn syn_limit(&self) -> Option<u64> {
        self.members.iter().try_fold(0, |sum, member| Some(sum + syn_limit(member, self.sysctls)?))
    }

    /// Whether the application accepts next to nothing: a queue stays full, or all that was made is still in it.
    pub fn is_stalled(&self) -> bool {
        let waiting: u64 = self.members.iter().map(|member| member.accept_queue).sum();
        let is_full = self.members.iter().any(|member| accept_stays_full(member));
        self.accept_full_still || (is_full && self.made.is_some_and(|made| made <= waiting))
    }
}

impl Recent<'_> {
    fn look(&mut self, sample: &Sample) {
        let mut seen: BTreeMap<(u64, SocketAddr), [bool; 3]> = BTreeMap::new();
        for listener in &sample.listeners {
            let [accept, stays, syn] = seen.entry((listener.netns, listener.local)).or_default();
            *accept |= accept_full(listener);
            *stays |= accept_stays_full(listener);
            // Most queues are empty, and settings are looked for in all namespaces.
            *syn |= listener.syn_queue != Some(0) && syn_full(listener, sysctls(sample, listener.netns));
        }
        for (key, [accept, stays, syn]) in seen {
            if let Some(service) = self.services.get_mut(&key) {
                let count = |(full, all): (u64, u64), is: bool| (full + u64::from(is), all + 1);
                let was_full = service.accept_full_now;
                service.accept_full = count(service.accept_full, accept);
                service.accept_full_still = stays && was_full;
                service.accept_full_now = stays;
                service.syn_full = count(service.syn_full, syn);
            }
        }
    }

    fn add(&mut self, changes: &Changes<'_>) {
        for change in &changes.listeners {
            if let Some(service) = self.services.get_mut(&(change.now.netns, change.now.local)) {
                service.drops += change.drops;
                service.overflows += change.overflows;
                service.sk_drops += change.sk_drops;
                let retransmits = change.now.synack_retransmits;
                service.synack_retransmits += retransmits.saturating_sub(change.before.synack_retransmits);
            }
        }
        for (inode, change) in &changes.namespaces {
            *self.unattributed.entry(*inode).or_default() +=
                change.unattributed.saturating_sub(change.pending.sum());
        }
    }
}
