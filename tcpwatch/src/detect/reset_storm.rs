//! `reset_storm`: many connections end by RST, and who is at fault.
//!
//! Resets that only refuse a connect are told as `connect_failures` on the side that connects.

use std::time::Duration;

use tcpwatch_common::failure::ConnectFailure;

use super::remote_ends::{Ends, Lately};
use super::tell;
use crate::finding::{Candidate, Evidence, Kind, Severity};
use crate::model::Window;
use crate::sample::{NetCounters, RemoteCounts};

/// What it is measured by.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Fewest resets, sent and received, with one service.
    pub resets: u64,
    /// Within so much time.
    pub within: Duration,
    /// Least share of the connections of the namespace that were opened in that time.
    pub share: f64,
    /// Resets a second that are told whatever their share.
    pub rate: f64,
    /// Resets a second from which it is critical.
    pub critical_rate: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { resets: 50, within: Duration::from_secs(10), share: 0.05, rate: 200.0, critical_rate: 100.0 }
    }
}

/// Why the resets were most likely sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The remote sends them.
    PeerResets,
    /// The application here closes with linger 0, or data came after it had closed.
    ApplicationAborts,
    /// The application here closes and leaves data unread.
    UnreadData,
    /// Segments come for a port that nobody listens at, or for connections that are gone.
    NobodyListens,
    /// The remote did not answer any more.
    GaveUp,
    /// The accept queue was full and `tcp_abort_on_overflow` is on.
    AcceptQueue,
    Unknown,
}

impl Cause {
    const fn name(self) -> &'static str {
        match self {
            Self::PeerResets => "peer_resets",
            Self::ApplicationAborts => "application_aborts",
            Self::UnreadData => "unread_data",
            Self::NobodyListens => "nobody_listens",
            Self::GaveUp => "gave_up",
            Self::AcceptQueue => "accept_queue",
            Self::Unknown => "unknown",
        }
    }
}

pub(super) fn detect(window: &Window, limits: &Limits) -> Vec<Candidate> {
    let Some(lately) = Lately::new(window, limits.within) else { return Vec::new() };
    let services = lately.by_service(resets);
    services.iter().filter_map(|ends| flag(&lately, ends, limits)).collect()
}

/// Resets of connections, refused connects left out.
fn resets(counts: &RemoteCounts) -> u64 {
    counts.resets_sent + received(counts)
}

fn received(counts: &RemoteCounts) -> u64 {
    counts.resets_received.saturating_sub(counts.failures[ConnectFailure::Refused as usize])
}

/// What the namespace's counters say about the resets that were sent; the cause with the most.
struct Reasons {
    counts: Vec<(&'static str, Cause, u64)>,
}

impl Reasons {
    fn new(lately: &Lately<'_>, netns: u64) -> Self {
        let grown = |of: fn(&NetCounters) -> Option<u64>| lately.growth(netns, of).unwrap_or(0);
        let aborts_overflow = super::backlog::aborts_on_overflow(lately.now, netns);
        let overflow = if aborts_overflow { grown(|counters| counters.ext.embryonic_rsts) } else { 0 };
        let mut counts = vec![
            ("aborted_or_data_after_close", Cause::ApplicationAborts, grown(|c| c.ext.abort_on_data)),
            ("closed_with_unread_data", Cause::UnreadData, grown(|c| c.ext.abort_on_close)),
            ("aborted_by_timeout", Cause::GaveUp, grown(|c| c.ext.abort_on_timeout)),
            ("accept_queue_full", Cause::AcceptQueue, overflow),
        ];
        let of_connections: u64 = counts.iter().map(|(_, _, count)| count).sum();
        // What the kernel sent beyond these answered segments that no connection was there for.
        let sent = grown(|c| Some(c.snmp.out_rsts));
        counts.push(("no_such_connection", Cause::NobodyListens, sent.saturating_sub(of_connections)));
        Self { counts }
    }

    fn main(&self) -> Cause {
        let most = self.counts.iter().max_by_key(|(_, _, count)| *count);
        most.filter(|(_, _, count)| *count > 0).map_or(Cause::Unknown, |(_, cause, _)| *cause)
    }
}

fn flag(lately: &Lately<'_>, ends: &Ends<'_>, limits: &Limits) -> Option<Candidate> {
    let count = resets(&ends.counts);
    let opened =
        lately.growth(ends.netns, |counters| Some(counters.snmp.active_opens + counters.snmp.passive_opens));
    let rate = tell::number(count) / lately.seconds();
    let is_small = opened.is_some_and(|opened| tell::share(count, opened.max(count)) < limits.share);
    let is_few = is_small && rate < limits.rate;
    if count < limits.resets.max(2) || is_few {
        return None;
    }
    let reasons = Reasons::new(lately, ends.netns);
    let (sent, received) = (ends.counts.resets_sent, received(&ends.counts));
    // Over loopback the remote end is here as well, so the counters tell of it.
    let is_elsewhere = received > sent && !ends.worst.address.is_loopback();
    let cause = if is_elsewhere { Cause::PeerResets } else { reasons.main() };
    let subject = ends.subject(lately.now);
    let who = tell::who(subject.owner.as_deref());
    let name = ends.name();
    let mut evidence = ends.evidence();
    evidence.extend([
        ("resets_sent", Evidence::Count(sent)),
        ("resets_received", Evidence::Count(received)),
        ("resets_per_second", Evidence::Number(rate)),
        ("seconds", Evidence::Number(lately.seconds())),
    ]);
    evidence.extend(opened.map(|opened| ("connections_of_the_namespace", Evidence::Count(opened))));
    evidence.extend(reasons.counts.iter().map(|(name, _, count)| (*name, Evidence::Count(*count))));
    let (meaning, advice) = explain(cause, &name, &who);
    Some(Candidate {
        kind: Kind::ResetStorm,
        key: ends.key(),
        earlier: Vec::new(),
        severity: if rate >= limits.critical_rate && !is_small {
            Severity::Critical
        } else {
            Severity::Warning
        },
        verdict: Some(cause.name()),
        confidence: if cause == Cause::Unknown { 0.5 } else { 0.75 },
        evidence,
        summary: format!(
            "{count} resets with {name} in {:.0} s: {sent} sent, {received} received; {}",
            lately.seconds().max(1.0),
            reads(cause, &who)
        ),
        meaning,
        advice,
        verify: vec![
            ends.inside(
                lately.now,
                "nstat -asz TcpOutRsts TcpEstabResets TcpExtTCPAbortOnData TcpExtTCPAbortOnClose \
                 TcpExtTCPAbortOnTimeout",
            ),
            ends.inside(
                lately.now,
                &format!("tcpdump -nn 'tcp[tcpflags] & tcp-rst != 0 and port {}'", ends.port),
            ),
        ],
        subject,
    })
}

fn reads(cause: Cause, who: &str) -> String {
    match cause {
        Cause::PeerResets => String::from("the remote end throws the connections away"),
        Cause::ApplicationAborts => format!("{who} throws connections away instead of closing them"),
        Cause::UnreadData => format!("{who} closes connections without reading all that came"),
        Cause::NobodyListens => String::from("nobody has the connections or ports that segments come for"),
        Cause::GaveUp => String::from("the kernel gave connections up as nothing came back"),
        Cause::AcceptQueue => format!("the accept queue of {who} is full"),
        Cause::Unknown => String::from("the kernel's counters do not tell why"),
    }
}

fn explain(cause: Cause, name: &str, who: &str) -> (String, Vec<String>) {
    let (meaning, advice): (String, Vec<String>) = match cause {
        Cause::PeerResets => (
            format!(
                "Resets come from {name}: its application aborts or crashes, it has forgotten the connections (a restart, a \
                 load balancer's idle timeout), or a firewall sends them in its name."
            ),
            vec![
                String::from(
                    "Look at the remote's log for that time; a reset after long idleness points to a middlebox",
                ),
                format!("If {who} keeps idle connections, let it close them sooner, or turn keepalive on"),
            ],
        ),
        Cause::ApplicationAborts => (
            format!(
                "{who} ends connections by RST on purpose (SO_LINGER with 0), or closes while the other side still sends. \
                 The other side loses what it has not read yet and sees \"connection reset by peer\"."
            ),
            vec![
                format!(
                    "Look for SO_LINGER in {who} and its libraries, and for a health check that connects and aborts"
                ),
                String::from(
                    "Close with shutdown() first and read until the end, so that nothing is thrown away",
                ),
            ],
        ),
        Cause::UnreadData => (
            format!(
                "{who} called close() while data that had come was not read. The kernel answers that with a RST, so that \
                 the sender knows that its data was lost."
            ),
            vec![format!(
                "Let {who} read until the end of file before it closes; typical are refused uploads and requests that are \
                 answered before they are read"
            )],
        ),
        Cause::NobodyListens => (
            format!(
                "{name}: segments come for a port where nobody listens, or for connections that this host no longer has. \
                 Each is answered by RST."
            ),
            vec![
                String::from(
                    "See whether the service that should listen there has ended, or listens on another address",
                ),
                String::from("Many ports from one address are a port scan"),
            ],
        ),
        Cause::GaveUp => (
            format!(
                "Connections with {name} got no answer until their time was up; the kernel ended them with a RST."
            ),
            vec![String::from(
                "Look for retransmit_burst and silent_peer with the same remote: the path or the peer is down",
            )],
        ),
        Cause::AcceptQueue => (
            String::from(
                "The accept queue was full when clients finished their handshake, and tcp_abort_on_overflow is on, so they \
                 are reset.",
            ),
            vec![
                format!("See accept_queue_overflow: {who} does not accept fast enough"),
                String::from(
                    "With net.ipv4.tcp_abort_on_overflow=0 the clients would try again by themselves",
                ),
            ],
        ),
        Cause::Unknown => (
            format!(
                "Connections with {name} end by RST; this kernel's counters name no cause that explains it."
            ),
            vec![format!("See what {who} logs at that time")],
        ),
    };
    (meaning, advice)
}

#[cfg(test)]
mod tests;
