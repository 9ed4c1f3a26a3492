//! What listeners dropped between two samples: the kernel's counters, as differences, given to [`super::attribution`].

use std::collections::{BTreeMap, HashMap};

use super::attribution::{Counted, Share, Surge, attribute};
use super::{Drops, queues};
use crate::sample::{ListenerSample, NamespaceSample, Sample, Sysctls};

/// Drops that the counters of a namespace have and no listener has yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) overflows: u64,
    pub(super) others: u64,
    /// `TCPReqQFullDrop`: a part of `others`.
    pub(super) full: u64,
}

impl Pending {
    pub(super) fn sum(self) -> u64 {
        self.overflows + self.others
    }
}

/// What happened at one listener that is in both samples.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    pub now: &'a ListenerSample,
    pub before: &'a ListenerSample,
    pub drops: Drops,
    /// By how much the kernel's own count on the socket grew.
    pub sk_drops: u64,
    /// Drops that are in there twice.
    pub twice: u64,
    /// How many of `drops` are for want of room in the accept queue, at whatever stage.
    pub overflows: u64,
}

/// What happened in one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamespaceChange {
    pub listen_drops: u64,
    pub listen_overflows: u64,
    /// Drops of the namespace that are not attributed to any listener.
    pub unattributed: u64,
    /// The part of them that the listeners' counters may just not have had yet.
    pub(super) pending: Pending,
}

/// What happened to listeners between two samples.
#[derive(Clone, Debug, Default)]
pub struct Changes<'a> {
    pub listeners: Vec<Change<'a>>,
    /// By inode number; only those whose counters are known from both samples.
    pub namespaces: BTreeMap<u64, NamespaceChange>,
}

/// Compares two samples.
pub fn changes<'a>(before: &'a Sample, now: &'a Sample) -> Changes<'a> {
    changes_with(before, now, &BTreeMap::new())
}

/// The same, with what was pending when `before` was taken.
pub(super) fn changes_with<'a>(
    before: &'a Sample,
    now: &'a Sample,
    pending: &BTreeMap<u64, Pending>,
) -> Changes<'a> {
    let earlier: HashMap<u64, &ListenerSample> =
        before.listeners.iter().map(|listener| (listener.id, listener)).collect();
    let mut by_namespace: BTreeMap<u64, Vec<Change<'a>>> = BTreeMap::new();
    for listener in &now.listeners {
        // What it dropped before it was met is nobody's.
        let Some(before) = earlier.get(&listener.id).filter(|before| before.local == listener.local) else {
            continue;
        };
        let sk_drops = u64::from(listener.drops.wrapping_sub(before.drops));
        let change =
            Change { now: listener, before, drops: Drops::default(), sk_drops, twice: 0, overflows: 0 };
        by_namespace.entry(listener.netns).or_default().push(change);
    }
    let mut changes = Changes::default();
    for namespace in now.namespaces.iter().filter(|namespace| namespace.is_alive) {
        let of = by_namespace.get_mut(&namespace.inode).map_or(&mut [][..], Vec::as_mut_slice);
        let pending = pending.get(&namespace.inode).copied().unwrap_or_default();
        if let Some(change) = in_namespace(find(before, namespace), namespace, pending, of) {
            changes.namespaces.insert(namespace.inode, change);
        }
    }
    changes.listeners = by_namespace.into_values().flatten().collect();
    changes
}

/// The namespace as it was in an earlier sample; not another one that had the same number.
pub fn find<'a>(sample: &'a Sample, namespace: &NamespaceSample) -> Option<&'a NamespaceSample> {
    let same = sample.namespaces.iter().filter(|one| one.inode == namespace.inode && one.is_alive);
    same.into_iter().find(|one| is_same(one.generation, namespace.generation))
}

/// Whether two generations are of one namespace. It has none before anything happens in it.
pub(super) fn is_same(a: u64, b: u64) -> bool {
    a == b || a == 0 || b == 0
}

fn in_namespace(
    before: Option<&NamespaceSample>,
    now: &NamespaceSample,
    pending: Pending,
    listeners: &mut [Change<'_>],
) -> Option<NamespaceChange> {
    let sysctls = now.sysctls.as_deref();
    let (counted, drops) = counted(before?, now, sysctls)?;
    let counted = Counted {
        overflows: counted.overflows + pending.overflows,
        others: counted.others + pending.others,
        full: counted.full + pending.full,
        ..counted
    };
    let surges: Vec<Surge> = listeners.iter().map(|change| surge(change, sysctls)).collect();
    let shares = attribute(&surges, &counted);
    for (change, share) in listeners.iter_mut().zip(&shares) {
        change.drops = share.drops;
        change.twice = share.twice;
        change.overflows = share.overflows;
    }
    let seen: u64 = surges.iter().map(|surge| surge.dropped).sum();
    let sum = |count: fn(&Share) -> u64| shares.iter().map(count).sum::<u64>();
    let overflows = counted.overflows.saturating_sub(sum(|share| share.overflows));
    let unattributed = (counted.overflows + counted.others).saturating_sub(sum(|share| share.drops.total()));
    // Only what was dropped between the reading of the listeners and of the counters can still come.
    let late = (counted.overflows + counted.others).saturating_sub(seen).min(unattributed);
    let late_overflows = overflows.min(late);
    let late_others = late - late_overflows;
    let full = counted.full.saturating_sub(sum(|share| share.drops.syn_queue)).min(late_others);
    Some(NamespaceChange {
        listen_drops: drops,
        listen_overflows: counted.overflows - pending.overflows,
        unattributed,
        pending: Pending { overflows: late_overflows, others: late_others, full },
    })
}

fn surge(change: &Change<'_>, sysctls: Option<&Sysctls>) -> Surge {
    let both = [change.now, change.before];
    let has_cookies = sysctls.and_then(|sysctls| sysctls.syncookies) != Some(0);
    Surge {
        dropped: change.sk_drops,
        accept_full: both.iter().any(|listener| queues::accept_full(listener)),
        syn_full: !has_cookies && both.iter().any(|listener| queues::syn_full(listener, sysctls)),
        may_hold_requests: both.iter().any(|listener| listener.syn_queue != Some(0)),
    }
}

/// The growth of a namespace's counters, and of `ListenDrops`.
fn counted(
    before: &NamespaceSample,
    now: &NamespaceSample,
    sysctls: Option<&Sysctls>,
) -> Option<(Counted, u64)> {
    let (before, now) = (before.counters.as_ref()?, now.counters.as_ref()?);
    let grown = |before: Option<u64>, now: Option<u64>| Some(now?.saturating_sub(before?));
    let (old, new) = (&before.ext, &now.ext);
    let drops = grown(old.listen_drops, new.listen_drops)?;
    let overflows = grown(old.listen_overflows, new.listen_overflows)?.min(drops);
    let known = |before, now| grown(before, now).unwrap_or(0);
    let cookies_sent = known(old.syncookies_sent, new.syncookies_sent);
    let counted = Counted {
        overflows,
        others: drops - overflows,
        full: known(old.req_q_full_drop, new.req_q_full_drop),
        without_cookie: known(old.req_q_full_do_cookies, new.req_q_full_do_cookies)
            .saturating_sub(cookies_sent),
        cookies_received: known(old.syncookies_recv, new.syncookies_recv),
        passive_opens: now.snmp.passive_opens.saturating_sub(before.snmp.passive_opens),
        embryonic_resets: known(old.embryonic_rsts, new.embryonic_rsts),
        deferred: known(old.defer_accept_drop, new.defer_accept_drop),
        is_aborting: sysctls.and_then(|sysctls| sysctls.abort_on_overflow).is_some_and(|abort| abort != 0),
    };
    Some((counted, drops))
}
