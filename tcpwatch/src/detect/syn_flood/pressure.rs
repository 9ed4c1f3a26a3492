//! How many handshakes wait at a listener, and how many of them will ever be finished.

use std::time::Duration;

use super::{Limits, Whose};
use crate::detect::tell;
use crate::model::Window;
use crate::model::listeners::{RecentService, find, namespace};
use crate::sample::{ListenerSample, Sample};

/// The figures behind a verdict.
#[derive(Clone, Debug, Default)]
pub(super) struct Pressure {
    pub span: Duration,
    /// Half-open requests now, how many may be, and those whose SYN-ACK was not sent again yet.
    pub requests: u64,
    pub limit: u64,
    pub young: u64,
    /// Requests whose last ACK was dropped.
    pub stuck: u64,
    /// Connections made in the namespace.
    pub made: u64,
    /// Cookies of the listener, or of several that all have full queues: `None` if they are another one's.
    pub cookies: Option<Cookies>,
    /// Others may have a part in them.
    pub shared: bool,
    /// `tcp_syncookies` is 2.
    pub always_cookies: bool,
    /// SYNs dropped by the full SYN queue.
    pub dropped: u64,
    /// Addresses that left SYN-ACKs unanswered, as far as they are remembered.
    pub sources: u64,
    /// It was the same one sample ago.
    pub lasts: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cookies {
    pub sent: u64,
    pub received: u64,
    pub failed: u64,
}

impl Pressure {
    /// `None` as well if no more handshakes are under way than is good.
    pub(super) fn new(
        window: &Window,
        service: &RecentService<'_>,
        whose: Whose,
        limits: &Limits,
    ) -> Option<Self> {
        let now = window.now();
        let first = window.recent(limits.within).next()?;
        let mut pressure = Self::between(first, now, service, whose, of_members(service)?, limits)?;
        if !pressure.is_there(limits) {
            return None;
        }
        // Only now, as there can be thousands of listeners and of remotes.
        pressure.sources = sources(first, now, service);
        // One sample ago it was there too, and more than half a second has passed since.
        pressure.lasts = window.previous().is_some_and(|before| {
            let earlier = window.recent(limits.within).next().filter(|first| first.elapsed < before.elapsed);
            let Some(queue) = queue(before, service) else { return false };
            let cookies =
                earlier.and_then(|first| Self::between(first, before, service, whose, queue, limits));
            is_pressed(queue.0, pressure.limit, limits)
                || cookies.is_some_and(|one| one.is_cookie_storm(limits))
        });
        Some(pressure)
    }

    /// The cookies of a namespace that always sends them, as if they were the service's. `None` if all are answered.
    pub(super) fn of_cookies(window: &Window, service: &RecentService<'_>, limits: &Limits) -> Option<Self> {
        let between = |first, last| Self::between(first, last, service, Whose::Its, (0, 0, 0), limits);
        let first = window.recent(limits.within).next()?;
        let mut pressure = between(first, window.now()).filter(|one| one.is_cookie_storm(limits))?;
        pressure.lasts = window.previous().is_some_and(|before| {
            let is_earlier = first.elapsed < before.elapsed;
            is_earlier && between(first, before).is_some_and(|one| one.is_cookie_storm(limits))
        });
        Some(pressure)
    }

    fn between(
        first: &Sample,
        last: &Sample,
        service: &RecentService<'_>,
        whose: Whose,
        (requests, young, stuck): Queue,
        limits: &Limits,
    ) -> Option<Self> {
        let space = namespace(last, service.netns)?;
        let (old, new) = (find(first, space)?.counters.as_ref()?, space.counters.as_ref()?);
        let grown = |old: Option<u64>, new: Option<u64>| new.map_or(0, |new| tell::growth(new, old));
        let cookies = Cookies {
            sent: grown(old.ext.syncookies_sent, new.ext.syncookies_sent),
            received: grown(old.ext.syncookies_recv, new.ext.syncookies_recv),
            failed: grown(old.ext.syncookies_failed, new.ext.syncookies_failed),
        };
        let mode = service.sysctls.and_then(|sysctls| sysctls.syncookies);
        let limit = service.syn_limit()?;
        // Of several with full queues each has its part in the flood whose own requests are not answered either: those of
        // real clients are finished while they are young.
        let is_its = match whose {
            Whose::Others => false,
            Whose::Its => true,
            Whose::Shared => aged_share(requests, young, limit, limits) >= limits.unanswered_share,
        };
        Some(Self {
            span: last.elapsed.saturating_sub(first.elapsed),
            requests,
            limit,
            young,
            stuck,
            made: tell::growth(new.snmp.passive_opens, Some(old.snmp.passive_opens)),
            cookies: (is_its && mode != Some(0)).then_some(cookies),
            shared: whose == Whose::Shared,
            always_cookies: mode == Some(2),
            dropped: service.drops.syn_queue,
            sources: 0,
            lasts: false,
        })
    }

    /// Whether more handshakes are under way than is good.
    fn is_there(&self, limits: &Limits) -> bool {
        is_pressed(self.requests, self.limit, limits) || self.is_cookie_storm(limits) || self.dropped > 0
    }

    fn is_cookie_storm(&self, limits: &Limits) -> bool {
        self.lost_cookies() >= limits.unanswered
    }

    /// Cookies that nobody sent back.
    fn lost_cookies(&self) -> u64 {
        self.cookies.map_or(0, |cookies| cookies.sent.saturating_sub(cookies.received))
    }

    /// SYN-ACKs that nobody answered.
    pub(super) fn unanswered(&self) -> u64 {
        let aged = self.requests.saturating_sub(self.young);
        // Where fewer connections are made than requests wait, the young ones are not on their way either.
        let young = if self.made < self.requests { self.young } else { 0 };
        self.lost_cookies() + aged + young
    }

    /// Of all handshakes that were answered or will not be.
    pub(super) fn unanswered_share(&self) -> f64 {
        tell::share(self.unanswered(), self.unanswered() + self.made)
    }

    /// Of the listener's own requests, those that were not answered at once; 0 while its queue has room. Connections of
    /// other listeners in the namespace do not hide these.
    pub(super) fn aged_share(&self, limits: &Limits) -> f64 {
        aged_share(self.requests, self.young, self.limit, limits)
    }

    /// Whether so many cookies are not answered that no number of connections made beside them is an excuse.
    pub(super) fn is_fast(&self, limits: &Limits) -> bool {
        tell::number(self.lost_cookies()) >= limits.rate * self.span.as_secs_f64()
    }
}

fn aged_share(requests: u64, young: u64, limit: u64, limits: &Limits) -> f64 {
    let is_pressed = is_pressed(requests, limit, limits);
    if is_pressed { tell::share(requests.saturating_sub(young), requests) } else { 0.0 }
}

fn is_pressed(length: u64, limit: u64, limits: &Limits) -> bool {
    tell::number(length) >= limits.queue_share * tell::number(limit.max(1))
}

/// Half-open requests of a service, those of them that are young, and those that are stuck.
type Queue = (u64, u64, u64);

fn queue(sample: &Sample, service: &RecentService<'_>) -> Option<Queue> {
    let is_member = |one: &&ListenerSample| one.netns == service.netns && one.local == service.local;
    sum(sample.listeners.iter().filter(is_member))
}

/// As they are now.
fn of_members(service: &RecentService<'_>) -> Option<Queue> {
    sum(service.members.iter().copied())
}

fn sum<'a>(mut members: impl Iterator<Item = &'a ListenerSample>) -> Option<Queue> {
    members.try_fold((0, 0, 0), |(length, young, stuck), one| {
        Some((length + one.syn_queue?, young + one.young.unwrap_or(0), stuck + one.stuck.unwrap_or(0)))
    })
}

/// Clients of the service whose SYN-ACK was sent again.
fn sources(first: &Sample, last: &Sample, service: &RecentService<'_>) -> u64 {
    crate::model::remotes::changes(first, last)
        .iter()
        .filter(|change| change.now.is_client && change.now.netns == service.netns)
        .filter(|change| change.now.port == service.local.port() && change.counts.synack > 0)
        .count() as u64
}
