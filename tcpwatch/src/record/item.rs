//! What a recording holds: samples, and beside them what makes them understood.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tcpwatch_common::event::{self, Event};

use super::delta::{Delta as _, fields};
use crate::finding::Finding;
use crate::sample::Sample;

/// One thing of a recording.
#[derive(Clone, Debug)]
pub enum Item {
    /// A source was opened: if it is another than before, what comes before has nothing to do with what follows.
    Start(Start),
    /// The configuration that was in effect from here on, as its file has it.
    Config(String),
    Sample(Arc<Sample>),
    /// Something that the kernel side tells at once.
    Rare(Rare),
    /// What the detectors said.
    Change(Change),
    /// So many samples could not be recorded here.
    Lost(u64),
}

/// Who recorded. It is told again at the beginning of each file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Tells one opening of a source from another.
    pub began: SystemTime,
    /// Of tcpwatch.
    pub version: String,
    pub host: Option<String>,
    pub kernel: Option<String>,
    /// Time between samples.
    pub tick: Duration,
    /// Addresses and names are not the real ones.
    pub redacted: bool,
}

/// A gap or an illegal transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rare {
    pub is_gap: bool,
    pub netns: u64,
    /// States by the kernel's numbers.
    pub old: u8,
    pub new: u8,
    /// Of a gap: the last state that was known.
    pub expected: u8,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub pid: Option<u32>,
}

/// A finding that was opened or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub is_open: bool,
    pub id: String,
    pub since: SystemTime,
    pub severity: String,
    pub summary: String,
}

fields!(Start { began, version, host, kernel, tick, redacted });
fields!(Rare { is_gap, netns, old, new, expected, local, remote, pid });
fields!(Change { is_open, id, since, severity, summary });

impl Rare {
    /// Of an event that tells of one, with v4-mapped addresses as IPv4.
    pub fn of(event: &Event) -> Option<Self> {
        let is_gap = match event::Kind::from_raw(event.kind)? {
            event::Kind::Gap => true,
            event::Kind::Transition => false,
            _ => return None,
        };
        let end = |address: [u8; 16], port| SocketAddr::new(Ipv6Addr::from(address).to_canonical(), port);
        Some(Self {
            is_gap,
            netns: event.netns.into(),
            old: event.old,
            new: event.new,
            expected: if is_gap { event.what } else { 0 },
            local: end(event.local, event.local_port),
            remote: end(event.remote, event.remote_port),
            pid: (event.pid != 0).then_some(event.pid),
        })
    }
}

impl Change {
    pub fn of(finding: &Finding) -> Self {
        Self {
            is_open: finding.closed.is_none(),
            id: finding.id.clone(),
            since: finding.since,
            severity: finding.seen.severity.name().into(),
            summary: finding.seen.summary.clone(),
        }
    }
}

/// A sample of which nothing is known: what a whole one is written against.
pub(super) fn blank() -> Sample {
    Sample::blank()
}
