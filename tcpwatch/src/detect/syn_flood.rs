//! `syn_flood`: more handshakes are begun at a listener than it can hold, and why: a flood, a burst of real clients, or an
//! application that is too slow.
//!
//! What tells them apart is whether SYN-ACKs are answered. A full SYN queue with cookies hurts nobody, so real clients
//! in any number are no finding unless SYNs of theirs are dropped.

mod pressure;
mod tell;
#[cfg(test)]
mod tests;

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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            within: Duration::from_secs(5),
            queue_share: 0.8,
            unanswered: 30,
            unanswered_share: 0.2,
            certain_share: 0.9,
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
    for service in recent.services.values() {
        let others = recent.services.values().filter(|other| other.netns == service.netns);
        let alone = is_alone(service, others);
        let Some(pressure) = Pressure::new(window, service, alone, limits) else { continue };
        if let Some(verdict) = verdict(service, &pressure, limits) {
            found.push(tell::candidate(window.now(), service, &pressure, verdict));
        }
    }
    found
}

/// Whether the cookies of the namespace can only be this service's. Cookies are sent where the SYN queue is full, and
/// always in mode 2, where no queue tells.
fn is_alone<'a>(service: &RecentService<'_>, services: impl Iterator<Item = &'a RecentService<'a>>) -> bool {
    let always = service.sysctls.and_then(|sysctls| sysctls.syncookies) == Some(2);
    let could_be = |one: &&RecentService<'_>| always || one.syn_full.0 > 0;
    services.filter(could_be).count() <= 1 && could_be(&service)
}

fn verdict(service: &RecentService<'_>, pressure: &Pressure, limits: &Limits) -> Option<Verdict> {
    // A full accept queue keeps answered requests in the SYN queue.
    if service.accept_full.0 > 0 && (service.drops.accept_queue_ack > 0 || pressure.stuck > 0) {
        return Some(Verdict::SlowApplication);
    }
    let share = pressure.unanswered_share().max(pressure.aged_share(limits));
    let lasts = pressure.lasts && share >= limits.unanswered_share;
    if pressure.unanswered() >= limits.unanswered && (lasts || share >= limits.certain_share) {
        return Some(Verdict::Flood);
    }
    // Real clients hurt only if SYNs are dropped.
    (pressure.lasts && service.drops.syn_queue > 0 && share < limits.unanswered_share)
        .then_some(Verdict::Burst)
}
