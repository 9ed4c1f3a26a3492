//! Listeners: both queues with their limits, who owns them, and what they dropped and why.
//!
//! [`changes()`] compares two samples, for whoever wants to know what happened lately. [`Tally`] adds up what happened
//! since a listener was first seen; it remembers as much as there are listeners.

mod attribution;
mod changes;
mod queues;
mod recent;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::process::Process;
use crate::sample::{ListenerSample, NamespaceSample, Sample, Sysctls};
use changes::Pending;
pub use changes::{Change, Changes, NamespaceChange, changes, find};
pub use queues::{accept_full, accept_stays_full, syn_full, syn_limit};
pub use recent::{Recent, RecentService, recent};

/// What was dropped, by cause: connections that were not made, at least not yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// A SYN, as the accept queue was full. The client sends it again.
    pub accept_queue_syn: u64,
    /// The last ACK of a handshake, or data that stood for it, as the accept queue was full: the client believes that it
    /// is connected.
    pub accept_queue_ack: u64,
    /// A SYN, as the SYN queue was full and there are no cookies.
    pub syn_queue: u64,
    /// Something else: no memory, no route back.
    pub other: u64,
    /// The kernel's counters do not tell by which of these.
    pub unknown: u64,
}

impl Drops {
    pub const CAUSES: [&str; 5] = ["accept_queue_syn", "accept_queue_ack", "syn_queue", "other", "unknown"];

    /// In the order of [`Self::CAUSES`].
    pub const fn counts(self) -> [u64; 5] {
        [self.accept_queue_syn, self.accept_queue_ack, self.syn_queue, self.other, self.unknown]
    }

    pub fn total(self) -> u64 {
        self.counts().iter().sum()
    }

    pub const fn accept_queue(self) -> u64 {
        self.accept_queue_syn + self.accept_queue_ack
    }
}

impl std::ops::AddAssign for Drops {
    fn add_assign(&mut self, more: Self) {
        self.accept_queue_syn += more.accept_queue_syn;
        self.accept_queue_ack += more.accept_queue_ack;
        self.syn_queue += more.syn_queue;
        self.other += more.other;
        self.unknown += more.unknown;
    }
}

/// One listening socket.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerReport {
    pub sample: ListenerSample,
    pub owner: Option<Arc<Process>>,
    /// The SYN queue is full when longer than this.
    pub syn_limit: Option<u64>,
    /// Since it was first seen.
    pub drops: Drops,
    /// What the kernel counted on the socket since then: `drops` and stray segments.
    pub sk_drops: u64,
    /// Drops that are in `sk_drops` twice.
    pub twice: u64,
}

/// Listeners at one address, as clients see them: more than one share it by `SO_REUSEPORT`.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub netns: u64,
    pub local: SocketAddr,
    pub members: Vec<ListenerReport>,
}

/// What the listeners of a namespace dropped since it was first seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamespaceDrops {
    pub listen_drops: u64,
    pub listen_overflows: u64,
    /// Not attributed to any listener; it never gets less.
    pub unattributed: u64,
    /// Dropped while the sample was taken, and attributed with the next one.
    pub pending: u64,
    /// Settings of the namespace, where they are known.
    pub sysctls: Option<Sysctls>,
}

/// All listeners of a sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listeners {
    pub services: Vec<Service>,
    /// By inode number; only where the kernel's counters are known.
    pub namespaces: BTreeMap<u64, NamespaceDrops>,
}

impl Service {
    /// What all members dropped, and what the kernel counted on them.
    pub fn drops(&self) -> (Drops, u64) {
        self.members.iter().fold((Drops::default(), 0), |(mut drops, sk_drops), member| {
            drops += member.drops;
            (drops, sk_drops + member.sk_drops)
        })
    }

    /// The process, if all members have the same.
    pub fn owner(&self) -> Option<&Arc<Process>> {
        let first = self.members.first()?.owner.as_ref()?;
        let is_first = |member: &ListenerReport| member.owner.as_ref().is_some_and(|owner| owner == first);
        self.members.iter().all(is_first).then_some(first)
    }
}

/// Adds up what happened at each listener since it was first seen.
#[derive(Debug, Default)]
pub struct Tally {
    last: Option<Arc<Sample>>,
    /// By [`ListenerSample::id`].
    listeners: BTreeMap<u64, Sum>,
    /// By inode number, with the generation.
    namespaces: BTreeMap<u64, (u64, NamespaceDrops)>,
    /// By inode number.
    pending: BTreeMap<u64, Pending>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    drops: Drops,
    sk_drops: u64,
    twice: u64,
}

impl Tally {
    /// Takes the next sample.
    pub fn apply(&mut self, sample: &Arc<Sample>) -> Listeners {
        let last = self.last.replace(Arc::clone(sample));
        let pending = std::mem::take(&mut self.pending);
        let changes = last.as_deref().map(|last| changes::changes_with(last, sample, &pending));
        let changes = changes.unwrap_or_default();
        self.add_listeners(sample, &changes);
        let namespaces = self.add_namespaces(sample, &changes, &pending);
        let mut by_address: BTreeMap<(u64, SocketAddr), Vec<ListenerReport>> = BTreeMap::new();
        for listener in &sample.listeners {
            let report = self.report(sample, listener);
            by_address.entry((listener.netns, listener.local)).or_default().push(report);
        }
        let services =
            by_address.into_iter().map(|((netns, local), members)| Service { netns, local, members });
        Listeners { services: services.collect(), namespaces }
    }

    fn add_listeners(&mut self, sample: &Sample, changes: &Changes<'_>) {
        let mut sums: BTreeMap<u64, Sum> = BTreeMap::new();
        for listener in &sample.listeners {
            sums.insert(listener.id, Sum::default());
        }
        // Only those that were there before, so that a number that is used again starts anew.
        for change in &changes.listeners {
            let mut sum = self.listeners.get(&change.now.id).copied().unwrap_or_default();
            sum.drops += change.drops;
            sum.sk_drops += change.sk_drops;
            sum.twice += change.twice;
            sums.insert(change.now.id, sum);
        }
        self.listeners = sums;
    }

    fn add_namespaces(
        &mut self,
        sample: &Sample,
        changes: &Changes<'_>,
        pending: &BTreeMap<u64, Pending>,
    ) -> BTreeMap<u64, NamespaceDrops> {
        let mut sums = BTreeMap::new();
        for namespace in sample.namespaces.iter().filter(|one| one.is_alive && one.counters.is_some()) {
            let known = self.namespaces.get(&namespace.inode);
            let known = known.filter(|(generation, _)| changes::is_same(*generation, namespace.generation));
            let mut sum = known.map_or_else(NamespaceDrops::default, |(_, sum)| *sum);
            sum.sysctls = namespace.sysctls.as_deref().copied();
            if let Some(change) = changes.namespaces.get(&namespace.inode) {
                sum.listen_drops += change.listen_drops;
                sum.listen_overflows += change.listen_overflows;
                // What was pending and has not come is not attributed; the rest gets its chance.
                let attributed = (pending.get(&namespace.inode).map_or(0, |pending| pending.sum())
                    + change.listen_drops)
                    .saturating_sub(change.unattributed);
                let stale =
                    pending.get(&namespace.inode).map_or(0, |one| one.sum().saturating_sub(attributed));
                let waiting = waiting(change.pending, change.unattributed.saturating_sub(stale));
                sum.unattributed += change.unattributed - waiting.sum();
                sum.pending = waiting.sum();
                self.pending.insert(namespace.inode, waiting);
            }
            sums.insert(namespace.inode, (namespace.generation, sum));
        }
        self.namespaces = sums;
        self.namespaces.iter().map(|(inode, (_, sum))| (*inode, *sum)).collect()
    }

    fn report(&self, sample: &Sample, listener: &ListenerSample) -> ListenerReport {
        let sum = self.listeners.get(&listener.id).copied().unwrap_or_default();
        ListenerReport {
            sample: listener.clone(),
            owner: owner(sample, listener),
            syn_limit: syn_limit(listener, sysctls(sample, listener.netns)),
            drops: sum.drops,
            sk_drops: sum.sk_drops,
            twice: sum.twice,
        }
    }
}

/// As much of `pending` as there is `room` for.
fn waiting(pending: Pending, room: u64) -> Pending {
    let overflows = pending.overflows.min(room);
    let others = pending.others.min(room - overflows);
    Pending { overflows, others, full: pending.full.min(others) }
}

/// The process that owns a listener, as far as it is known.
pub fn owner(sample: &Sample, listener: &ListenerSample) -> Option<Arc<Process>> {
    sample.processes.get(&listener.pid?).cloned()
}

/// A namespace that exists, by its inode number.
pub fn namespace(sample: &Sample, inode: u64) -> Option<&NamespaceSample> {
    sample.namespaces.iter().find(|namespace| namespace.inode == inode && namespace.is_alive)
}

/// The settings of a namespace, by its inode number.
pub fn sysctls(sample: &Sample, inode: u64) -> Option<&Sysctls> {
    namespace(sample, inode)?.sysctls.as_deref()
}
