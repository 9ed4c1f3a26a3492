//! What went wrong with remote ends between two samples: the most by kind, and the rest of the host.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tcpwatch_common::failure::ConnectFailure;
use tcpwatch_common::host::{HostCounters, Retransmit};
use tcpwatch_common::{Cause, TcpState};

use super::Window;
use crate::sample::{FoldedSample, RemoteCounts, RemoteSample, Sample};

/// What happened with one remote between two samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteChange<'a> {
    pub now: &'a RemoteSample,
    pub counts: RemoteCounts,
}

/// By which remotes are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Data sent again.
    Data,
    /// SYNs sent again.
    Syn,
    /// SYN-ACKs sent again.
    SynAck,
    ResetsSent,
    ResetsReceived,
    ConnectFailures,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Data, Self::Syn, Self::SynAck, Self::ResetsSent, Self::ResetsReceived, Self::ConnectFailures];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Syn => "syn",
            Self::SynAck => "synack",
            Self::ResetsSent => "resets_sent",
            Self::ResetsReceived => "resets_received",
            Self::ConnectFailures => "connect_failures",
        }
    }

    pub fn of(self, counts: &RemoteCounts) -> u64 {
        match self {
            Self::Data => counts.data(),
            Self::Syn => counts.syn,
            Self::SynAck => counts.synack,
            Self::ResetsSent => counts.resets_sent,
            Self::ResetsReceived => counts.resets_received,
            Self::ConnectFailures => counts.failures.iter().sum(),
        }
    }

    /// The count of the whole host.
    fn of_host(self, host: &HostCounters) -> u64 {
        match self {
            Self::Data => host.retransmits[Retransmit::Data as usize],
            Self::Syn => host.retransmits[Retransmit::Syn as usize],
            Self::SynAck => host.retransmits[Retransmit::SynAck as usize],
            Self::ResetsSent => host.resets_sent,
            Self::ResetsReceived => host.resets_received,
            Self::ConnectFailures => connect_failures(host).iter().sum(),
        }
    }
}

/// The remotes with the most of one kind, and what the host has beyond them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    pub kind: Kind,
    /// With how much, the most first.
    pub remotes: Vec<(RemoteSample, u64)>,
    /// `None` where the host's count is not known.
    pub other: Option<u64>,
}

/// The worst remotes of the last seconds, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remotes {
    pub span: Duration,
    pub top: Vec<Top>,
}

/// The `most` remotes of each kind in the last `age`.
pub fn worst(window: &Window, age: Duration, most: usize) -> Remotes {
    let now = window.now();
    let Some(first) = window.recent(age).next() else { return Remotes::default() };
    let changes = changes(first, now);
    Remotes {
        span: now.elapsed.saturating_sub(first.elapsed),
        top: Kind::ALL.map(|kind| top(first, now, &changes, kind, most)).into(),
    }
}

/// What happened with each remote between two samples; only where something did.
pub fn changes<'a>(before: &Sample, now: &'a Sample) -> Vec<RemoteChange<'a>> {
    let earlier: HashMap<_, &RemoteCounts> =
        before.remotes.iter().map(|remote| (key(remote), &remote.counts)).collect();
    now.remotes
        .iter()
        .filter_map(|now| {
            let counts = match earlier.get(&key(now)) {
                Some(before) => grown(before, &now.counts),
                None => now.counts,
            };
            (counts != RemoteCounts::default()).then_some(RemoteChange { now, counts })
        })
        .collect()
}

/// The same of those that are not told apart.
pub fn folded_changes<'a>(before: &Sample, now: &'a Sample) -> Vec<(&'a FoldedSample, RemoteCounts)> {
    let key = |folded: &FoldedSample| (folded.netns, folded.service, folded.pid);
    let earlier: HashMap<_, &RemoteCounts> =
        before.folded.iter().map(|folded| (key(folded), &folded.counts)).collect();
    let changes = now.folded.iter().map(|now| {
        let counts = earlier.get(&key(now)).map_or(now.counts, |before| grown(before, &now.counts));
        (now, counts)
    });
    changes.filter(|(_, counts)| *counts != RemoteCounts::default()).collect()
}

fn top(before: &Sample, now: &Sample, changes: &[RemoteChange<'_>], kind: Kind, most: usize) -> Top {
    let mut ranked: Vec<(&RemoteSample, u64)> = changes
        .iter()
        .map(|change| (change.now, kind.of(&change.counts)))
        .filter(|(_, count)| *count > 0)
        .collect();
    ranked.sort_by_key(|(remote, count)| (Reverse(*count), key(remote)));
    ranked.truncate(most);
    let shown: u64 = ranked.iter().map(|(_, count)| count).sum();
    let other = before.host.as_ref().zip(now.host.as_ref()).map(|(before, now)| {
        let grown = kind.of_host(now).saturating_sub(kind.of_host(before));
        grown.saturating_sub(shown)
    });
    Top { kind, remotes: ranked.into_iter().map(|(remote, count)| (remote.clone(), count)).collect(), other }
}

/// Failed connects of the whole host, by [`ConnectFailure`] as its number.
pub fn connect_failures(host: &HostCounters) -> [u64; ConnectFailure::COUNT] {
    let mut counts = [0; ConnectFailure::COUNT];
    for (cause, count) in Cause::ALL.into_iter().zip(host.endings[TcpState::SynSent.index()]) {
        counts[failure(cause) as usize] += count;
    }
    counts
}

const fn failure(cause: Cause) -> ConnectFailure {
    match cause {
        Cause::Refused | Cause::ResetReceived => ConnectFailure::Refused,
        Cause::Timeout => ConnectFailure::Timeout,
        Cause::Unreachable => ConnectFailure::Unreachable,
        Cause::Aborted | Cause::Killed => ConnectFailure::Local,
        Cause::Closed | Cause::ResetSent => ConnectFailure::Other,
    }
}

fn key(remote: &RemoteSample) -> (u64, IpAddr, u16, bool) {
    (remote.netns, remote.address, remote.port, remote.is_client)
}

/// The growth of counters; one that has become less was forgotten in between and starts anew.
fn grown(before: &RemoteCounts, now: &RemoteCounts) -> RemoteCounts {
    let is_same = Kind::ALL.iter().all(|kind| kind.of(now) >= kind.of(before));
    if !is_same {
        return *now;
    }
    RemoteCounts {
        timeout: now.timeout.saturating_sub(before.timeout),
        fast: now.fast.saturating_sub(before.fast),
        probe: now.probe.saturating_sub(before.probe),
        other: now.other.saturating_sub(before.other),
        syn: now.syn - before.syn,
        synack: now.synack - before.synack,
        resets_sent: now.resets_sent - before.resets_sent,
        resets_received: now.resets_received - before.resets_received,
        failures: std::array::from_fn(|at| now.failures[at].saturating_sub(before.failures[at])),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::model::testing::sample_at;

    fn remote(last: u8, data: u64) -> RemoteSample {
        RemoteSample {
            netns: 1,
            address: Ipv4Addr::new(10, 0, 0, last).into(),
            port: 443,
            is_client: false,
            pid: None,
            counts: RemoteCounts { timeout: data, ..RemoteCounts::default() },
        }
    }

    fn sample(seconds: f64, host: u64, remotes: Vec<RemoteSample>) -> Sample {
        let mut counters = HostCounters::from_words(&[]);
        counters.retransmits[0] = host;
        Sample { host: Some(Box::new(counters)), remotes, ..sample_at(seconds, 1) }
    }

    fn window(before: Sample, now: Sample) -> Window {
        let mut window = Window::new(before.into());
        window.push(now.into());
        window
    }

    #[test]
    fn the_most_come_first_and_the_rest_is_other() {
        let before = sample(1.0, 100, vec![remote(1, 50), remote(2, 10), remote(3, 9)]);
        let now =
            sample(2.0, 160, vec![remote(1, 50), remote(2, 12), remote(3, 29), remote(4, 8), remote(5, 1)]);
        assert_eq!(changes(&before, &now).len(), 4, "nothing happened with the first");
        let worst = worst(&window(before, now), Duration::from_secs(10), 2);
        let top = &worst.top[0];
        let found: Vec<_> =
            top.remotes.iter().map(|(remote, count)| (remote.address.to_string(), *count)).collect();
        assert_eq!(found, [("10.0.0.3".to_owned(), 20), ("10.0.0.4".to_owned(), 8)]);
        assert_eq!((worst.span, top.kind, top.other), (Duration::from_secs(1), Kind::Data, Some(32)));
        assert_eq!((worst.top.len(), worst.top[1].remotes.len()), (6, 0));
    }

    #[test]
    fn a_remote_that_was_forgotten_starts_anew() {
        let (before, now) = (sample(1.0, 0, vec![remote(1, 50)]), sample(2.0, 3, vec![remote(1, 3)]));
        assert_eq!(changes(&before, &now)[0].counts.data(), 3);
        let unknown = Sample { host: None, ..before };
        assert_eq!(worst(&window(unknown, now), Duration::from_secs(10), 9).top[0].other, None);
    }

    #[test]
    fn connects_fail_for_a_reason() {
        let mut host = HostCounters::from_words(&[]);
        for (at, count) in host.endings[TcpState::SynSent.index()].iter_mut().zip(1..) {
            *at = count;
        }
        let of = |cause: Cause| cause as u64 + 1;
        let counts = connect_failures(&host);
        assert_eq!(counts[ConnectFailure::Timeout as usize], of(Cause::Timeout));
        assert_eq!(counts[ConnectFailure::Refused as usize], of(Cause::Refused) + of(Cause::ResetReceived));
        assert_eq!(counts[ConnectFailure::Local as usize], of(Cause::Aborted) + of(Cause::Killed));
        assert_eq!(counts.iter().sum::<u64>(), (1..=8).sum::<u64>());
    }
}
