//! `syn_flood`: more handshakes are begun at a listener than it can hold, and why: a flood, a burst of real clients, or an
//! application that is too slow.
//!
//! What tells them apart is whether SYN-ACKs are answered. A full SYN queue with cookies hurts nobody, so real clients
//! in any number are no finding unless SYNs of theirs are dropped.

mod pressure;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::finding::Candidate;
use crate::model::Window;
use crate::model::listeners::{RecentService, recent};
use pressure::Pressure;

/// What it is measured by.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Within so much time.
    pub within: Duration,
    /// Share of the SYN queue from which it is under pressure.
    pub queue_share: f64,
    /// Fewest SYN-ACKs that nobody answered.
    pub unanswered: u64,
    /// Share of all handshakes that is not answered, from which it is a flood.
    pub unanswered_share: f64,
    /// A share that is a flood at first sight; a smaller one has to be there in two samples.
    pub certain_share: f64,
    /// Unanswered SYN cookies a second that are a flood whatever their share: connections made beside them hide nothing.
    pub rate: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            within: Duration::from_secs(5),
            queue_share: 0.8,
            unanswered: 30,
            unanswered_share: 0.2,
            certain_share: 0.9,
            rate: 200.0,
        }
    }
}

/// What the half-open requests are a sign of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// SYNs whose SYN-ACKs nobody answers.
    Flood,
    /// Real clients, more at once than the SYN queue holds.
    Burst,
    /// Real clients that are kept from the accept queue.
    SlowApplication,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Burst => "burst",
            Self::SlowApplication => "slow_application",
        }
    }
}

pub(super) fn detect(window: &Window, limits: &Limits) -> Vec<Candidate> {
    let recent = recent(window, limits.within);
    let mut found = Vec::new();
    let mut by_namespace: BTreeMap<u64, Vec<&RecentService<'_>>> = BTreeMap::new();
    for service in recent.services.values() {
        by_namespace.entry(service.netns).or_default().push(service);
    }
    for services in by_namespace.values() {
        if let [first, _, ..] = services.as_slice()
            && always_cookies(first)
        {
            found.extend(anywhere(window, services, limits));
        }
        for service in services {
            let whose = whose(service, services);
            let Some(pressure) = Pressure::new(window, service, whose, limits) else { continue };
            if let Some(verdict) = verdict(service, &pressure, limits) {
                found.push(tell::candidate(window.now(), service, &pressure, verdict));
            }
        }
    }
    found
}

/// Whose the cookies of a namespace are, which counts them for all its listeners together. Cookies are sent where the SYN
/// queue is full, and always in mode 2, where no queue tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// They cannot be this service's.
    Others,
    /// They can only be this service's.
    Its,
    /// Several have full queues.
    Shared,
}

fn whose(service: &RecentService<'_>, services: &[&RecentService<'_>]) -> Whose {
    if always_cookies(service) {
        return if services.len() == 1 { Whose::Its } else { Whose::Others };
    }
    let could_be = |one: &RecentService<'_>| one.syn_full.0 > 0;
    match services.iter().filter(|one| could_be(one)).count() {
        _ if !could_be(service) => Whose::Others,
        0 | 1 => Whose::Its,
        _ => Whose::Shared,
    }
}

fn always_cookies(service: &RecentService<'_>) -> bool {
    service.sysctls.and_then(|sysctls| sysctls.syncookies) == Some(2)
}

/// A flood at any of several listeners that always send cookies: nothing tells at which.
fn anywhere(window: &Window, services: &[&RecentService<'_>], limits: &Limits) -> Option<Candidate> {
    let first = services.first()?;
    let pressure = Pressure::of_cookies(window, first, limits)?;
    let share = pressure.unanswered_share();
    let is_flood = pressure.unanswered() >= limits.unanswered
        && (share >= limits.certain_share
            || (pressure.lasts && (share >= limits.unanswered_share || pressure.is_fast(limits))));
    is_flood.then(|| tell::somewhere(window.now(), first, services.len(), &pressure))
}

fn verdict(service: &RecentService<'_>, pressure: &Pressure, limits: &Limits) -> Option<Verdict> {
    // A full accept queue keeps answered requests in the SYN queue.
    if service.accept_full.0 > 0 && (service.drops.accept_queue_ack > 0 || pressure.stuck > 0) {
        return Some(Verdict::SlowApplication);
    }
    let share = pressure.unanswered_share().max(pressure.aged_share(limits));
    let lasts = pressure.lasts && (share >= limits.unanswered_share || pressure.is_fast(limits));
    if pressure.unanswered() >= limits.unanswered && (lasts || share >= limits.certain_share) {
        return Some(Verdict::Flood);
    }
    // Real clients hurt only if SYNs are dropped.
    (pressure.lasts && service.drops.syn_queue > 0 && share < limits.unanswered_share)
        .then_some(Verdict::Burst)
}
