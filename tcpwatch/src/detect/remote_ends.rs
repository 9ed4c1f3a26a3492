//! What the detectors of remote ends share: what happened lately, by the service that it happened with.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::tell;
use crate::finding::{Evidence, Subject};
use crate::model::Window;
use crate::model::{listeners, remotes};
use crate::process::Process;
use crate::sample::{NetCounters, RemoteCounts, RemoteSample, Sample};

/// What happened with clients of one service here, or with one destination elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Ends<'a> {
    pub netns: u64,
    /// `None` for clients.
    pub destination: Option<SocketAddr>,
    pub port: u16,
    pub counts: RemoteCounts,
    /// Addresses of clients that had a part in it, and the one with the most.
    pub remotes: u64,
    pub worst: &'a RemoteSample,
}

/// A namespace, a destination, and the port of a service.
type Key = (u64, Option<SocketAddr>, u16);

/// What happened lately, and the samples that tell.
pub(super) struct Lately<'a> {
    pub first: &'a Sample,
    pub now: &'a Sample,
    pub span: Duration,
}

impl<'a> Lately<'a> {
    /// The last `age`; `None` with a single sample.
    pub(super) fn new(window: &'a Window, age: Duration) -> Option<Self> {
        let (first, now) = (window.recent(age).next()?, window.now());
        let span = now.elapsed.saturating_sub(first.elapsed);
        (!span.is_zero()).then_some(Self { first, now, span })
    }

    pub(super) fn seconds(&self) -> f64 {
        self.span.as_secs_f64()
    }

    /// By service. Clients on this host that reach a service here over loopback are told as the service's.
    pub(super) fn by_service(&self, weight: fn(&RemoteCounts) -> u64) -> Vec<Ends<'a>> {
        self.group(weight, |remote| {
            remote.is_client
                || (remote.address.is_loopback()
                    && tell::listener(self.now, remote.netns, remote.port).is_some())
        })
    }

    /// By destination, for what only those who connect can meet with: also if it is a service here.
    pub(super) fn by_destination(&self, weight: fn(&RemoteCounts) -> u64) -> Vec<Ends<'a>> {
        self.group(weight, |remote| remote.is_client)
    }

    fn group(
        &self,
        weight: fn(&RemoteCounts) -> u64,
        is_of_clients: impl Fn(&RemoteSample) -> bool,
    ) -> Vec<Ends<'a>> {
        let mut all: BTreeMap<Key, Ends<'a>> = BTreeMap::new();
        let mut most: BTreeMap<Key, u64> = BTreeMap::new();
        for change in remotes::changes(self.first, self.now).into_iter().filter(|one| weight(&one.counts) > 0)
        {
            let remote = change.now;
            let destination = (!is_of_clients(remote)).then(|| SocketAddr::new(remote.address, remote.port));
            let key = (remote.netns, destination, remote.port);
            let ends = all.entry(key).or_insert_with(|| Ends {
                netns: remote.netns,
                destination,
                port: remote.port,
                counts: RemoteCounts::default(),
                remotes: 0,
                worst: remote,
            });
            add(&mut ends.counts, &change.counts);
            ends.remotes += 1;
            let most = most.entry(key).or_default();
            if weight(&change.counts) > *most {
                *most = weight(&change.counts);
                ends.worst = remote;
            }
        }
        self.add_folded(&mut all, weight);
        all.into_values().collect()
    }

    /// Adds what happened with clients of a service that are not told apart.
    fn add_folded(&self, all: &mut BTreeMap<Key, Ends<'a>>, weight: fn(&RemoteCounts) -> u64) {
        for (folded, counts) in remotes::folded_changes(self.first, self.now) {
            let Some(port) = folded.service.filter(|_| weight(&counts) > 0) else { continue };
            let is_client =
                |one: &&RemoteSample| one.is_client && one.netns == folded.netns && one.port == port;
            // Some of its clients are told apart, or there would be room.
            let Some(worst) = self.now.remotes.iter().find(is_client) else { continue };
            let ends = all.entry((folded.netns, None, port)).or_insert_with(|| Ends {
                netns: folded.netns,
                destination: None,
                port,
                counts: RemoteCounts::default(),
                remotes: 1,
                worst,
            });
            add(&mut ends.counts, &counts);
        }
    }

    /// The kernel's counters of a namespace, then and now.
    pub(super) fn counters(&self, netns: u64) -> Option<(&'a NetCounters, &'a NetCounters)> {
        let namespace = listeners::namespace(self.now, netns)?;
        let first = listeners::find(self.first, namespace)?;
        Some((first.counters.as_ref()?, namespace.counters.as_ref()?))
    }

    /// By how much a counter of a namespace grew.
    pub(super) fn growth(&self, netns: u64, of: impl Fn(&NetCounters) -> Option<u64>) -> Option<u64> {
        let (first, now) = self.counters(netns)?;
        Some(of(now)?.saturating_sub(of(first)?))
    }
}

impl Ends<'_> {
    pub(super) fn key(&self) -> String {
        match self.destination {
            Some(destination) => format!("{}:{destination}", self.netns),
            None => format!("{}:clients-of-{}", self.netns, self.port),
        }
    }

    pub(super) fn subject(&self, sample: &Sample) -> Subject {
        let listener = || tell::listener(sample, self.netns, self.port);
        let listener = if self.destination.is_none() { listener() } else { None };
        let is_one = self.destination.is_none() && self.remotes == 1;
        Subject {
            netns: Some(self.netns),
            listener: listener.map(|listener| listener.local),
            destination: self.destination,
            remote: is_one.then_some(self.worst.address),
            owner: self.owner(sample, listener.and_then(|listener| listener.pid)),
        }
    }

    fn owner(&self, sample: &Sample, listener: Option<u32>) -> Option<Arc<Process>> {
        tell::process(sample, listener.or(self.worst.pid))
    }

    /// For a sentence: `10.0.0.1:443`, or `3 clients of port 80`.
    pub(super) fn name(&self) -> String {
        match (self.destination, self.remotes) {
            (Some(destination), _) => destination.to_string(),
            (None, 1) => format!("the client {} of port {}", self.worst.address, self.port),
            (None, many) => format!("{many} clients of port {}", self.port),
        }
    }

    /// A filter for `ss`.
    pub(super) fn filter(&self) -> String {
        match self.destination {
            Some(destination) => {
                format!("dst {} and dport = :{}", bare(destination.ip()), destination.port())
            }
            None => format!("sport = :{}", self.port),
        }
    }

    pub(super) fn inside(&self, sample: &Sample, command: &str) -> String {
        listeners::namespace(sample, self.netns).map_or_else(
            || command.to_owned(),
            |namespace| tell::inside(sample, namespace, self.worst.pid, command),
        )
    }

    /// Who it is, as evidence: a client's address is in no label, but it is in a finding.
    pub(super) fn evidence(&self) -> Vec<(&'static str, Evidence)> {
        vec![
            ("remotes", Evidence::Count(self.remotes)),
            ("worst_remote", Evidence::Text(self.worst.address.to_string())),
        ]
    }
}

fn bare(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn add(sum: &mut RemoteCounts, more: &RemoteCounts) {
    sum.timeout += more.timeout;
    sum.fast += more.fast;
    sum.probe += more.probe;
    sum.other += more.other;
    sum.syn += more.syn;
    sum.synack += more.synack;
    sum.resets_sent += more.resets_sent;
    sum.resets_received += more.resets_received;
    for (sum, more) in sum.failures.iter_mut().zip(more.failures) {
        *sum += more;
    }
}
