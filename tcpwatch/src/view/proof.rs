//! What was proven on this kernel, and what was not.

use serde::Serialize;

/// `tcpwatch doctor --prove --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    pub kernel: String,
    pub architecture: &'static str,
    /// The whole minimum was provoked and counted, every held state and every counter is the kernel's.
    pub proven: bool,
    pub seconds: f64,
    /// Every legal transition.
    pub transitions: Vec<EdgeProof>,
    /// Every state that sockets were held in.
    pub states: Vec<StateProof>,
    /// The kernel's own counters of the namespace.
    pub counters: Vec<CounterProof>,
    /// Transitions that no TCP may make; none is expected.
    pub illegal: Vec<String>,
    /// What could not be tried, or did not come to its end.
    pub not_proven: Vec<NotProven>,
    /// Kernel fields that this kernel lacks.
    pub lost_fields: Vec<String>,
}

/// What became of one comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    /// Fewer were counted than happened.
    Missed,
    /// More were counted than happened.
    Extra,
    /// Held, listed by the kernel and counted are not the same.
    Differs,
    /// The kernel's counter is not ours.
    Drift,
    NotProvoked,
}

/// One transition.
#[derive(Clone, Debug, Serialize)]
pub struct EdgeProof {
    pub from: &'static str,
    pub to: &'static str,
    /// Whether the proof needs it.
    pub minimum: bool,
    pub how: &'static str,
    pub expected: u64,
    pub counted: u64,
    pub verdict: Verdict,
    /// Why it was not provoked.
    pub reason: Option<&'static str>,
}

/// The sockets in one state, once all are held.
#[derive(Clone, Debug, Serialize)]
pub struct StateProof {
    pub state: &'static str,
    /// By what was done.
    pub held: u64,
    /// By the kernel's list.
    pub netlink: u64,
    /// By tcpwatch; `null` if it does not know.
    pub tcpwatch: Option<u64>,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, Serialize)]
pub struct CounterProof {
    pub counter: &'static str,
    pub kernel: u64,
    pub tcpwatch: Option<u64>,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, Serialize)]
pub struct NotProven {
    pub what: String,
    pub why: String,
    /// Whether the proof needs it.
    pub minimum: bool,
}

impl EdgeProof {
    /// Whether nothing speaks against a proof.
    pub fn is_fine(&self) -> bool {
        self.verdict == Verdict::Ok || (self.verdict == Verdict::NotProvoked && !self.minimum)
    }
}
