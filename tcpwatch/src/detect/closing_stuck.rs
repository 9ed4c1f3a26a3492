//! `closing_stuck`: connections that are being closed for longer than this host's settings allow.
//!
//! The kernel gives up a closing connection whose peer does not answer after so many retransmits. What is older than
//! that gets answers that keep it alive without finishing it: mostly a peer that reads very slowly, or not at all.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use tcpwatch_common::TcpState;
use tcpwatch_common::host::Role;

use super::tell::{self, span, who};
use crate::finding::{Candidate, Evidence, Kind, Severity, Subject};
use crate::model::Window;
use crate::sample::{Group, NamespaceSample, Sample, Sysctls};

/// `TCP_RTO_MIN` and `TCP_RTO_MAX`: the kernel models its patience with them, whatever the path's own timeout is.
const RTO_MIN: Duration = Duration::from_millis(200);
const RTO_MAX: Duration = Duration::from_mins(2);
/// The doublings from the one to the other, `ilog2(RTO_MAX / RTO_MIN)`.
const DOUBLINGS: u64 = 9;
/// What `tcp_orphan_retries = 0` means while the timeout has not reached its maximum: `tcp_orphan_retries()`.
const ORPHAN_RETRIES: u64 = 8;
/// Kernel defaults, for settings that are not known.
const RETRIES2: u64 = 15;
const FIN_TIMEOUT: u64 = 60;

pub(super) const STATES: [TcpState; 4] =
    [TcpState::FinWait1, TcpState::FinWait2, TcpState::Closing, TcpState::LastAck];

/// What it is measured by.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Fewest sockets of one service in one state.
    pub min_count: u64,
    /// How far beyond the allowed time.
    pub slack: Duration,
    /// How long a socket must be in FIN_WAIT1, CLOSING or LAST_ACK to be counted, whatever the settings allow.
    pub age: Duration,
    /// The same for an orphan in FIN_WAIT2.
    pub fin_wait2_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            min_count: 5,
            slack: Duration::from_secs(15),
            // What the default settings allow, and the slack: those that are counted are late ones then.
            age: Duration::from_secs(220),
            fin_wait2_age: Duration::from_secs(75),
        }
    }
}

pub(super) fn detect(window: &Window, limits: &Limits) -> Vec<Candidate> {
    let sample = window.now();
    let mut found = Vec::new();
    for namespace in &sample.namespaces {
        let Some(survey) = &namespace.survey else { continue };
        let sysctls = namespace.sysctls.as_deref().copied().unwrap_or_default();
        for ((state, orphan, port), groups) in by_service(&survey.groups) {
            let allowed = allowed(&sysctls, state, orphan) + limits.slack;
            let late = groups.into_iter().filter(|group| group.oldest > allowed).collect::<Vec<_>>();
            let aged = tell::sum(late.iter().copied(), |group| group.aged);
            if aged >= limits.min_count
                && tell::count_now(namespace, state) >= limits.min_count
                && let Some(largest) = tell::largest(&late, |group| group.aged)
            {
                let oldest = tell::oldest(late.iter().copied());
                let stuck = Stuck { sample, namespace, state, orphan, port, aged, oldest, allowed, largest };
                found.push(stuck.candidate(&sysctls, &late));
            }
        }
    }
    found
}

fn by_service(groups: &[Group]) -> BTreeMap<(TcpState, bool, u16), Vec<&Group>> {
    let mut all: BTreeMap<_, Vec<&Group>> = BTreeMap::new();
    // A FIN_WAIT2 that somebody owns is a half-closed connection, which may last.
    let is_closing =
        |group: &&Group| STATES.contains(&group.state) && (group.orphan || group.state != TcpState::FinWait2);
    for group in groups.iter().filter(is_closing) {
        all.entry((group.state, group.orphan, group.port)).or_default().push(group);
    }
    all
}

/// How long the kernel lets a socket be in this state without an answer, at most.
pub(crate) fn allowed(sysctls: &Sysctls, state: TcpState, orphan: bool) -> Duration {
    if state == TcpState::FinWait2 {
        // `tcp_fin_time()` is longer only for a timeout of more than 17 s.
        return Duration::from_secs(sysctls.fin_timeout.unwrap_or(FIN_TIMEOUT));
    }
    let retries = if orphan {
        match sysctls.orphan_retries.unwrap_or(0) {
            0 => ORPHAN_RETRIES,
            retries => retries,
        }
    } else {
        sysctls.retries2.unwrap_or(RETRIES2)
    };
    let patience = patience(retries);
    // It is looked at when the retransmit timer ends: each wait is as long as all before, and no longer than RTO_MAX.
    patience + patience.min(RTO_MAX)
}

/// `tcp_model_timeout()`: the time that so many retransmits take from the shortest timeout on.
fn patience(retries: u64) -> Duration {
    let doubling = u32::try_from(retries.min(DOUBLINGS)).unwrap_or(0);
    let linear = u32::try_from(retries.saturating_sub(DOUBLINGS)).unwrap_or(u32::MAX);
    RTO_MIN * ((2 << doubling) - 1) + RTO_MAX.saturating_mul(linear)
}

struct Stuck<'a> {
    sample: &'a Sample,
    namespace: &'a NamespaceSample,
    state: TcpState,
    orphan: bool,
    port: u16,
    aged: u64,
    oldest: Duration,
    allowed: Duration,
    largest: &'a Group,
}

impl Stuck<'_> {
    fn meaning(&self, unsent: u64) -> String {
        let waits = match self.state {
            TcpState::FinWait1 => "This host has closed, and the peers have not acknowledged the FIN",
            TcpState::FinWait2 => "This host has closed, and the peers have not",
            TcpState::Closing => {
                "Both sides have closed at once, and the peers have not acknowledged our FIN"
            }
            _ => "Both sides have closed, and the peers have not acknowledged our FIN",
        };
        let mut text = format!(
            "{waits}. Without any answer this kernel gives up after {} at most, so something answers and keeps them \
             alive: usually a peer with a closed window that acknowledges probes and does not read.",
            span(self.allowed)
        );
        if unsent > 0 {
            let _ =
                write!(text, " {unsent} bytes still wait to be sent or acknowledged before the FIN can go.");
        }
        if self.orphan {
            text +=
                " No process owns them any more; they hold kernel memory, and count against tcp_max_orphans.";
        }
        text
    }

    fn advice(&self, sysctls: &Sysctls) -> Vec<String> {
        let mut advice = vec![format!(
            "Look at the peers, such as {}: do they still read? `ss -tnoi` shows their window probes",
            self.largest.example.remote
        )];
        if self.orphan {
            advice.push(format!(
                "Lower tcp_orphan_retries (now {}, where 0 means 8) if they must go sooner",
                sysctls.orphan_retries.map_or_else(|| String::from("unknown"), |retries| retries.to_string())
            ));
        } else {
            advice.push(String::from(
                "Set TCP_USER_TIMEOUT in the application, or let it close() instead of shutdown() only",
            ));
        }
        advice.push(String::from("`ss -K` with the same filter ends them now"));
        advice
    }

    fn candidate(self, sysctls: &Sysctls, groups: &[&Group]) -> Candidate {
        let Self { sample, namespace, state, .. } = self;
        let unsent = tell::sum(groups.iter().copied(), |group| group.unsent_bytes);
        let is_active = self.largest.role == Some(Role::Active);
        let listener = (!is_active).then(|| tell::listener(sample, namespace.inode, self.port)).flatten();
        let pid = self.largest.pid.or_else(|| listener.and_then(|listener| listener.pid));
        let owner = tell::process(sample, pid);
        let side = if is_active { "dport" } else { "sport" };
        let list = format!("ss -tanoi state {} '{side} = :{}'", tell::ss_state(state), self.port);
        let name = tell::state_name(state);
        let orphan = if self.orphan { "orphan-" } else { "" };
        Candidate {
            kind: Kind::ClosingStuck,
            key: format!("{}:{orphan}{}:{}", namespace.inode, state.name(), self.port),
            earlier: Vec::new(),
            severity: Severity::Warning,
            verdict: None,
            subject: Subject {
                netns: Some(namespace.inode),
                listener: listener.map(|listener| listener.local),
                destination: is_active.then_some(self.largest.example.remote),
                owner: owner.clone(),
                ..Subject::default()
            },
            confidence: 0.8,
            evidence: vec![
                ("state", Evidence::Text(state.name().into())),
                ("aged", Evidence::Count(self.aged)),
                ("oldest_seconds", Evidence::Number(self.oldest.as_secs_f64())),
                ("allowed_seconds", Evidence::Number(self.allowed.as_secs_f64())),
                ("unsent_bytes", Evidence::Count(unsent)),
                ("example_remote", Evidence::Text(self.largest.example.remote.to_string())),
            ],
            summary: format!(
                "{} of {} on port {} are stuck in {name}, the oldest for {} where {} are allowed",
                tell::sockets(self.aged),
                who(owner.as_deref()),
                self.port,
                span(self.oldest),
                span(self.allowed)
            ),
            meaning: self.meaning(unsent),
            advice: self.advice(sysctls),
            verify: vec![
                tell::inside(sample, namespace, pid, &list),
                tell::inside(
                    sample,
                    namespace,
                    pid,
                    "sysctl net.ipv4.tcp_orphan_retries net.ipv4.tcp_retries2 net.ipv4.tcp_fin_timeout",
                ),
            ],
        }
    }
}

#[cfg(test)]
mod tests;
