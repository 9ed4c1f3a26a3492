//! `retransmit_burst`: data has to be sent again and again to one remote, or from one network namespace as a whole.

use std::time::Duration;

use super::remote_ends::{Ends, Lately};
use super::tell;
use crate::finding::{Candidate, Evidence, Kind, Severity};
use crate::model::Window;
use crate::sample::RemoteCounts;

/// What it is measured by.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Fewest segments sent again.
    pub segments: u64,
    /// Within so much time.
    pub within: Duration,
    /// Least share of all segments that the namespace sent.
    pub share: f64,
    /// Segments sent again in a second that are told whatever their share.
    pub rate: f64,
    /// Timeouts that are too many, whatever their share: nothing gets through.
    pub timeouts: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { segments: 50, within: Duration::from_secs(10), share: 0.01, rate: 1_000.0, timeouts: 30 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Timeouts: the remote is silent.
    PeerSilent,
    /// Holes that the remote reports.
    Loss,
    /// Tail loss probes.
    Probes,
    Unknown,
}

impl Cause {
    fn of(counts: &RemoteCounts) -> Self {
        let RemoteCounts { timeout, fast, probe, other, .. } = *counts;
        match timeout.max(fast).max(probe).max(other) {
            most if most == timeout => Self::PeerSilent,
            most if most == fast => Self::Loss,
            most if most == probe => Self::Probes,
            _ => Self::Unknown,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::PeerSilent => "peer_silent",
            Self::Loss => "loss",
            Self::Probes => "probes",
            Self::Unknown => "unknown",
        }
    }
}

pub(super) fn detect(window: &Window, limits: &Limits) -> Vec<Candidate> {
    let Some(lately) = Lately::new(window, limits.within) else { return Vec::new() };
    let services = lately.by_service(RemoteCounts::data);
    services.iter().filter_map(|ends| flag(&lately, ends, limits)).collect()
}

fn flag(lately: &Lately<'_>, ends: &Ends<'_>, limits: &Limits) -> Option<Candidate> {
    let again = ends.counts.data();
    let sent = lately.growth(ends.netns, |counters| Some(counters.snmp.out_segs));
    // `OutSegs` leaves retransmits out.
    let share = sent.map(|sent| tell::share(again, sent + again));
    let is_fast = tell::number(again) >= limits.rate * lately.seconds();
    let is_much = again >= limits.segments && (is_fast || share.is_none_or(|share| share >= limits.share));
    if !is_much && ends.counts.timeout < limits.timeouts.max(1) {
        return None;
    }
    let cause = Cause::of(&ends.counts);
    let subject = ends.subject(lately.now);
    let name = ends.name();
    let mut evidence = ends.evidence();
    evidence.extend([
        ("retransmits", Evidence::Count(again)),
        ("by_timeout", Evidence::Count(ends.counts.timeout)),
        ("fast", Evidence::Count(ends.counts.fast)),
        ("probes", Evidence::Count(ends.counts.probe)),
        ("of_unknown_kind", Evidence::Count(ends.counts.other)),
        ("seconds", Evidence::Number(lately.seconds())),
    ]);
    evidence.extend(share.map(|share| ("share_of_segments", Evidence::Number(share))));
    let of_all = share.map(|share| format!(" ({} of what its network namespace sent)", tell::percent(share)));
    Some(Candidate {
        kind: Kind::RetransmitBurst,
        key: ends.key(),
        earlier: Vec::new(),
        severity: if cause == Cause::PeerSilent { Severity::Critical } else { Severity::Warning },
        verdict: Some(cause.name()),
        confidence: if cause == Cause::Unknown { 0.6 } else { 0.8 },
        evidence,
        summary: format!(
            "{again} segments to {name} were sent again in {:.0} s{}; {} after a timeout, {} after duplicate ACKs",
            lately.seconds().max(1.0),
            of_all.unwrap_or_default(),
            ends.counts.timeout,
            ends.counts.fast
        ),
        meaning: meaning(cause, &name),
        advice: advice(cause, ends),
        verify: vec![
            ends.inside(lately.now, &format!("ss -tnio state established '{}'", ends.filter())),
            ends.inside(
                lately.now,
                "nstat -asz TcpRetransSegs TcpOutSegs TcpExtTCPTimeouts TcpExtTCPLossProbes",
            ),
        ],
        subject,
    })
}

fn meaning(cause: Cause, name: &str) -> String {
    match cause {
        Cause::PeerSilent => format!(
            "Data went to {name}, no ACK came, and the retransmission timer ran out, again and again. The remote is gone, \
             the path is cut, or it swallows large segments only (a wrong MTU). Each timeout doubles the wait."
        ),
        Cause::Loss => format!(
            "{name} gets later segments and misses earlier ones: segments are lost or overtake each other on the way. The \
             connections live, more slowly, as TCP takes loss for congestion."
        ),
        Cause::Probes => format!(
            "The ends of what is sent to {name} are not acknowledged in time, so the kernel probes. The last segments or \
             their ACKs get lost, or the remote is slow to acknowledge."
        ),
        Cause::Unknown => {
            format!("Data to {name} is sent again and again; this kernel does not tell why.")
        }
    }
}

fn advice(cause: Cause, ends: &Ends<'_>) -> Vec<String> {
    let address = ends.worst.address;
    let mut advice = match cause {
        Cause::PeerSilent => vec![
            format!(
                "See whether {address} answers at all, and whether large packets do: `ping -M do -s 1472 {address}`"
            ),
            String::from(
                "If only some connections hang, look for a firewall that forgot them, and for a changed MTU",
            ),
        ],
        Cause::Loss | Cause::Probes | Cause::Unknown => vec![
            format!("Follow the path for loss: `mtr {address}`, and interfaces with `ip -s link`"),
            String::from("See whether a link or a policer on the way is at its limit when it happens"),
        ],
    };
    if ends.remotes > 4 {
        advice.push(format!(
            "{} remotes have it at once, so what they share is suspect first: this host's link, its switch, its provider",
            ends.remotes
        ));
    }
    advice
}

#[cfg(test)]
mod tests;
