//! What listeners counted, kept so that no counter on the page ever falls.
//!
//! A listener has series of its own or is part of `other`, and may change between the two. What it counted while it was
//! part of `other` stays counted there, and its own series have the rest. Nor does anything fall when one of several
//! listeners at an address is closed, or a network namespace is gone.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::model::listeners::{Drops, ListenerReport, Listeners, Service};

/// Drops by cause, and SYN-ACKs sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) drops: [u64; Drops::CAUSES.len()],
    pub(super) synacks: u64,
}

impl Counts {
    fn of(member: &ListenerReport) -> Self {
        Self { drops: member.drops.counts(), synacks: member.sample.synack_retransmits }
    }

    /// What came since `before`.
    fn since(self, before: Self) -> Self {
        let drops = std::array::from_fn(|cause| self.drops[cause].saturating_sub(before.drops[cause]));
        Self { drops, synacks: self.synacks.saturating_sub(before.synacks) }
    }

    fn add(&mut self, more: Self) {
        self.drops.iter_mut().zip(more.drops).for_each(|(sum, more)| *sum += more);
        self.synacks += more.synacks;
    }
}

/// Of one listening address.
#[derive(Debug, Default)]
struct Account {
    /// What each listener had counted at the last scrape, by [`crate::sample::ListenerSample::id`].
    members: BTreeMap<u64, Counts>,
    /// What its own series say.
    own: Counts,
    /// Whether they were on the last page.
    shown: bool,
}

/// A listening address with series of its own, and what its counters say.
pub(super) type Shown<'a> = (&'a Service, Counts);

#[derive(Debug, Default)]
pub(super) struct Ledger {
    accounts: BTreeMap<(u64, SocketAddr), Account>,
    other: Counts,
    /// Of each network namespace at the last scrape, and of all that ever were.
    namespaces: BTreeMap<u64, u64>,
    unattributed: u64,
}

impl Ledger {
    /// Takes the listeners of a report, and says which have series of their own, the most trouble first, and which not.
    pub(super) fn divide<'a>(
        &mut self,
        listeners: &'a Listeners,
        room: usize,
    ) -> (Vec<Shown<'a>>, Vec<&'a Service>) {
        let mut ranked: Vec<&Service> = listeners.services.iter().collect();
        ranked.sort_by_cached_key(|service| self.rank(service));
        let folded = ranked.split_off(ranked.len().min(room));
        let mut accounts = std::mem::take(&mut self.accounts);
        let mut enter = |service: &Service, shown: bool| {
            let key = (service.netns, service.local);
            let account = self.entered(accounts.remove(&key), service, shown);
            let own = account.own;
            self.accounts.insert(key, account);
            own
        };
        let shown = ranked.into_iter().map(|service| (service, enter(service, true))).collect();
        for service in &folded {
            enter(service, false);
        }
        (shown, folded)
    }

    /// What counted and did not have series of its own.
    pub(super) const fn other(&self) -> Counts {
        self.other
    }

    /// Drops that are no listener's for certain, of all network namespaces that ever were.
    pub(super) fn unattributed(&mut self, listeners: &Listeners) -> u64 {
        let now = listeners.namespaces.iter().map(|(inode, namespace)| (*inode, namespace.unattributed));
        let now: BTreeMap<u64, u64> = now.collect();
        for (inode, count) in &now {
            let before = self.namespaces.get(inode).copied().unwrap_or_default();
            // A smaller one is that of another namespace, which was given the number anew.
            self.unattributed += if *count < before { *count } else { count - before };
        }
        self.namespaces = now;
        self.unattributed
    }

    fn entered(&mut self, account: Option<Account>, service: &Service, shown: bool) -> Account {
        let is_new = account.is_none();
        let mut account = account.unwrap_or_default();
        let mut counted = Counts::default();
        for member in &service.members {
            let before = account.members.get(&member.sample.id).copied().unwrap_or_default();
            counted.add(Counts::of(member).since(before));
        }
        // Only where the series is on both pages can somebody see by how much it grew.
        if shown && (account.shown || is_new) {
            account.own.add(counted);
        } else {
            self.other.add(counted);
        }
        account.members =
            service.members.iter().map(|member| (member.sample.id, Counts::of(member))).collect();
        account.shown = shown;
        account
    }

    /// The first come first: the most trouble, then queues that are half full, then those that were shown, so that series do
    /// not come and go, then the fullest queues.
    fn rank(&self, service: &Service) -> impl Ord + use<> {
        let fullness = service.members.iter().map(|member| {
            let sample = &member.sample;
            (sample.accept_queue + sample.syn_queue.unwrap_or(0)) * 1_000_000 / (sample.accept_limit + 1)
        });
        let fullest = fullness.max().unwrap_or(0);
        let synacks: u64 = service.members.iter().map(|member| member.sample.synack_retransmits).sum();
        let trouble = service.drops().0.total() + synacks;
        let key = (service.netns, service.local);
        let was_shown = self.accounts.get(&key).is_some_and(|account| account.shown);
        (Reverse(trouble), Reverse(fullest >= 500_000), Reverse(was_shown), Reverse(fullest), key)
    }
}
