//! How many handshakes wait at a listener, and how many of them will ever be finished.

use std::time::Duration;

use super::Limits;
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
    /// Cookies of the listener: `None` if they may be another one's.
    pub cookies: Option<Cookies>,
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
        alone: bool,
        limits: &Limits,
    ) -> Option<Self> {
        let now = window.now();
        let first = window.recent(limits.within).next()?;
        let mut pressure = Self::between(first, now, service, alone, of_members(service)?)?;
        if !pressure.is_there(limits) {
            return None;
        }
        // Only now, as there can be thousands of listeners and of remotes.
        pressure.sources = sources(first, now, service);
        // One sample ago it was there too, and more than half a second has passed since.
        pressure.lasts = window.previous().is_some_and(|before| {
            let earlier = window.recent(limits.within).next().filter(|first| first.elapsed < before.elapsed);
            let Some(queue) = queue(before, service) else { return false };
            let cookies = earlier.and_then(|first| Self::between(first, before, service, alone, queue));
            is_pressed(queue.0, pressure.limit, limits)
                || cookies.is_some_and(|one| one.is_cookie_storm(limits))
        });
        Some(pressure)
    }

    fn between(
        first: &Sample,
        last: &Sample,
        service: &RecentService<'_>,
        alone: bool,
        (requests, young, stuck): Queue,
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
        Some(Self {
            span: last.elapsed.saturating_sub(first.elapsed),
            requests,
            limit: service.syn_limit()?,
            young,
            stuck,
            made: tell::growth(new.snmp.passive_opens, Some(old.snmp.passive_opens)),
            cookies: (alone && mode != Some(0)).then_some(cookies),
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
        let is_pressed = is_pressed(self.requests, self.limit, limits);
        if is_pressed { tell::share(self.requests.saturating_sub(self.young), self.requests) } else { 0.0 }
    }
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
