//! A finding: something wrong, whose it is, the proof, what it means and what to do. Every output renders this value.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use crate::process::Process;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    CloseWaitBuildup,
    TimeWaitStorm,
    PortExhaustion,
    SynFlood,
    SynQueueOverflow,
    AcceptQueueOverflow,
    RetransmitBurst,
    ConnectFailures,
    ResetStorm,
    ClosingStuck,
    SilentPeer,
    ZeroWindowStall,
    MemoryPressure,
    IllegalTransition,
}

impl Kind {
    pub const ALL: [Self; 14] = [
        Self::CloseWaitBuildup,
        Self::TimeWaitStorm,
        Self::PortExhaustion,
        Self::SynFlood,
        Self::SynQueueOverflow,
        Self::AcceptQueueOverflow,
        Self::RetransmitBurst,
        Self::ConnectFailures,
        Self::ResetStorm,
        Self::ClosingStuck,
        Self::SilentPeer,
        Self::ZeroWindowStall,
        Self::MemoryPressure,
        Self::IllegalTransition,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::CloseWaitBuildup => "close_wait_buildup",
            Self::TimeWaitStorm => "time_wait_storm",
            Self::PortExhaustion => "port_exhaustion",
            Self::SynFlood => "syn_flood",
            Self::SynQueueOverflow => "syn_queue_overflow",
            Self::AcceptQueueOverflow => "accept_queue_overflow",
            Self::RetransmitBurst => "retransmit_burst",
            Self::ConnectFailures => "connect_failures",
            Self::ResetStorm => "reset_storm",
            Self::ClosingStuck => "closing_stuck",
            Self::SilentPeer => "silent_peer",
            Self::ZeroWindowStall => "zero_window_stall",
            Self::MemoryPressure => "memory_pressure",
            Self::IllegalTransition => "illegal_transition",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It will hurt if it goes on.
    Warning,
    /// Connections are lost or refused now, or will be within minutes.
    Critical,
}

impl Severity {
    pub const ALL: [Self; 2] = [Self::Warning, Self::Critical];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Whom it concerns; what is `None` does not apply or is not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subject {
    /// Inode number of the network namespace.
    pub netns: Option<u64>,
    pub listener: Option<SocketAddr>,
    /// A service elsewhere.
    pub destination: Option<SocketAddr>,
    /// A remote end as such.
    pub remote: Option<IpAddr>,
    pub owner: Option<Arc<Process>>,
}

/// A named piece of proof.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    Count(u64),
    /// A ratio, a rate per second, or seconds: the name says which.
    Number(f64),
    Text(String),
}

/// What a detector sees at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub kind: Kind,
    /// Tells this subject from others of the same kind and stays the same while the trouble lasts.
    pub key: String,
    /// Keys under which the same was seen while its owner was not known: what was opened so goes on.
    pub earlier: Vec<String>,
    pub severity: Severity,
    /// A kind can have several readings, such as `flood` or `burst`.
    pub verdict: Option<&'static str>,
    pub subject: Subject,
    /// Between 0 and 1.
    pub confidence: f64,
    pub evidence: Vec<(&'static str, Evidence)>,
    /// One sentence with the numbers that matter.
    pub summary: String,
    pub meaning: String,
    pub advice: Vec<String>,
    /// Commands that show the same with other tools.
    pub verify: Vec<String>,
}

impl Candidate {
    pub fn id(&self) -> String {
        self.id_of(&self.key)
    }

    fn id_of(&self, key: &str) -> String {
        format!("{}:{key}", self.kind.name())
    }
}

/// A candidate that has been found, with its history.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// `kind:key`, as it was when the finding was opened.
    pub id: String,
    pub since: SystemTime,
    pub closed: Option<SystemTime>,
    /// As it was seen last.
    pub seen: Candidate,
}

impl Finding {
    /// Whether this is the same trouble: seen as it was opened or as it was last, or with its owner, who was not known.
    pub fn is(&self, candidate: &Candidate) -> bool {
        let (id, last) = (candidate.id(), self.seen.id());
        let was_named = last != self.id;
        id == last
            || id == self.id
            || (!was_named && candidate.earlier.iter().any(|key| candidate.id_of(key) == self.id))
    }
}
