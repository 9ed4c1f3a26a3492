//! What a person reads about too many handshakes.

use super::Verdict;
use super::pressure::Pressure;
use crate::detect::{backlog, tell};
use crate::finding::{Candidate, Evidence, Kind, Severity, Subject};
use crate::model::listeners::RecentService;
use crate::sample::Sample;

pub(super) fn candidate(
    sample: &Sample,
    service: &RecentService<'_>,
    pressure: &Pressure,
    verdict: Verdict,
) -> Candidate {
    let subject = backlog::subject(sample, service);
    let who = backlog::who(&subject, service);
    let hurts = service.drops.total() > 0;
    Candidate {
        kind: Kind::SynFlood,
        key: backlog::key(service),
        earlier: Vec::new(),
        severity: if hurts { Severity::Critical } else { Severity::Warning },
        verdict: Some(verdict.name()),
        confidence: match verdict {
            Verdict::Flood if pressure.unanswered_share() >= 0.9 => 0.95,
            Verdict::Flood | Verdict::Burst => 0.7,
            Verdict::SlowApplication => 0.9,
        },
        evidence: evidence(service, pressure),
        summary: summary(service, pressure, verdict, &who),
        meaning: meaning(pressure, verdict, &who),
        advice: advice(sample, service, pressure, verdict, &who),
        verify: verify(sample, service),
        subject,
    }
}

/// A flood at one of several listeners that always answer by cookies.
pub(super) fn somewhere(
    sample: &Sample,
    first: &RecentService<'_>,
    count: usize,
    pressure: &Pressure,
) -> Candidate {
    let (unanswered, span) = (pressure.unanswered(), pressure.span.as_secs_f64());
    let mut evidence = vec![
        ("listeners", Evidence::Count(u64::try_from(count).unwrap_or(u64::MAX))),
        ("connections_made", Evidence::Count(pressure.made)),
        ("unanswered", Evidence::Count(unanswered)),
        ("completion_ratio", Evidence::Number(1.0 - pressure.unanswered_share())),
        ("seconds", Evidence::Number(span)),
    ];
    if let Some(cookies) = pressure.cookies {
        evidence.push(("cookies_sent", Evidence::Count(cookies.sent)));
        evidence.push(("cookies_received", Evidence::Count(cookies.received)));
    }
    Candidate {
        kind: Kind::SynFlood,
        key: format!("{}:cookies", first.netns),
        earlier: Vec::new(),
        severity: Severity::Warning,
        verdict: Some(Verdict::Flood.name()),
        confidence: if pressure.unanswered_share() >= 0.9 { 0.9 } else { 0.7 },
        evidence,
        summary: format!(
            "SYN flood at one or more of the {count} listeners of network namespace {}: {unanswered} of {} SYN-ACKs \
             unanswered in {:.0} s",
            first.netns,
            unanswered + pressure.made,
            span.max(1.0)
        ),
        meaning: meaning(pressure, Verdict::Flood, ""),
        advice: vec![
            backlog::inside(sample, first, "sysctl -w net.ipv4.tcp_syncookies=1")
                + ": with cookies only where a queue is full, the queues tell which listener it is",
            String::from(
                "Filter in front of this host (provider, load balancer) or rate-limit SYNs, for example by nftables SYNPROXY",
            ),
        ],
        verify: vec![backlog::inside(
            sample,
            first,
            "nstat -asz TcpExtSyncookiesSent TcpExtSyncookiesRecv TcpPassiveOpens",
        )],
        subject: Subject { netns: Some(first.netns), ..Subject::default() },
    }
}

fn evidence(service: &RecentService<'_>, pressure: &Pressure) -> Vec<(&'static str, Evidence)> {
    let mut evidence = backlog::queues(service);
    evidence.extend([
        ("connections_made", Evidence::Count(pressure.made)),
        ("unanswered", Evidence::Count(pressure.unanswered())),
        ("completion_ratio", Evidence::Number(1.0 - pressure.unanswered_share())),
        ("syn_queue_drops", Evidence::Count(service.drops.syn_queue)),
        ("last_ack_drops", Evidence::Count(service.drops.accept_queue_ack)),
        ("seconds", Evidence::Number(pressure.span.as_secs_f64())),
    ]);
    if let Some(cookies) = pressure.cookies {
        evidence.extend([
            ("cookies_sent", Evidence::Count(cookies.sent)),
            ("cookies_received", Evidence::Count(cookies.received)),
            ("cookies_failed", Evidence::Count(cookies.failed)),
        ]);
        if pressure.shared {
            evidence.push((
                "cookies_are",
                Evidence::Text(
                    "of several listeners of the network namespace that have full SYN queues".into(),
                ),
            ));
        }
    }
    if pressure.sources > 0 {
        evidence.push(("sources_at_least", Evidence::Count(pressure.sources)));
    }
    evidence
}

fn summary(service: &RecentService<'_>, pressure: &Pressure, verdict: Verdict, who: &str) -> String {
    let queue = format!("{} half-open requests of at most {}", pressure.requests, pressure.limit);
    let seconds = pressure.span.as_secs_f64().max(1.0);
    match verdict {
        Verdict::Flood => format!(
            "SYN flood at {} of {who}: {} of {} SYN-ACKs unanswered in {seconds:.0} s ({queue})",
            service.local,
            pressure.unanswered(),
            pressure.unanswered() + pressure.made
        ),
        Verdict::Burst => format!(
            "{} of {who} gets more new connections at once than its SYN queue holds: {queue}, {} SYNs dropped, {} \
             connections made in {seconds:.0} s",
            service.local, service.drops.syn_queue, pressure.made
        ),
        Verdict::SlowApplication => format!(
            "{who} accepts too slowly at {}: {queue}, clients have answered and find the accept queue full",
            service.local
        ),
    }
}

fn meaning(pressure: &Pressure, verdict: Verdict, who: &str) -> String {
    match verdict {
        Verdict::Flood => {
            let defence = match (pressure.cookies, pressure.always_cookies) {
                (Some(_), true) => {
                    "SYN cookies are always sent, so no queue fills; each SYN costs the CPU time of an answer."
                }
                (Some(_), false) => {
                    "SYN cookies answer what the queue cannot hold, so honest clients still get through, without some \
                     TCP options."
                }
                (None, _) if pressure.dropped > 0 => {
                    "There is no defence: SYN cookies are off, and honest clients' SYNs are dropped with the rest."
                }
                (None, _) => "The SYN queue is kept full by requests that will never be finished.",
            };
            format!(
                "Somebody sends SYNs and never answers the SYN-ACKs: {} of handshakes are finished. The senders' \
                 addresses are most likely forged. {defence}",
                tell::percent(1.0 - pressure.unanswered_share())
            )
        }
        Verdict::Burst => format!(
            "These are real clients: {} of handshakes are finished. There are more of them under way at once than the SYN \
             queue holds, so SYNs are dropped and come again a second later.",
            tell::percent(1.0 - pressure.unanswered_share())
        ),
        Verdict::SlowApplication => format!(
            "This is no flood. The clients did answer, but the accept queue is full as {who} does not call accept() often \
             enough, so their requests stay in the SYN queue and fill it as well."
        ),
    }
}

fn advice(
    sample: &Sample,
    service: &RecentService<'_>,
    pressure: &Pressure,
    verdict: Verdict,
    who: &str,
) -> Vec<String> {
    let cookies = backlog::inside(sample, service, "sysctl -w net.ipv4.tcp_syncookies=1");
    let has_cookies = service.sysctls.and_then(|sysctls| sysctls.syncookies) != Some(0);
    match verdict {
        Verdict::Flood => {
            let mut advice = Vec::new();
            if !has_cookies {
                advice.push(format!("{cookies}: turn SYN cookies on, now"));
            }
            advice.push(String::from(
                "Filter in front of this host (provider, load balancer) or rate-limit SYNs, for example by nftables SYNPROXY",
            ));
            let limit = pressure.limit;
            advice.push(format!("A longer backlog than {limit} does not help: a flood fills any queue"));
            advice
        }
        Verdict::Burst => {
            let mut advice = vec![backlog::longer(sample, service)];
            if !has_cookies {
                advice.push(format!("{cookies}: with cookies no SYN is dropped for want of room"));
            }
            advice
        }
        Verdict::SlowApplication => vec![
            format!("See what keeps {who} from accept(): a blocked loop, a full worker pool, no CPU"),
            String::from(
                "Neither SYN cookies nor tcp_max_syn_backlog help: the accept queue is what is full",
            ),
            backlog::longer(sample, service),
        ],
    }
}

fn verify(sample: &Sample, service: &RecentService<'_>) -> Vec<String> {
    let port = service.local.port();
    vec![
        backlog::inside(sample, service, &format!("ss -Htn state syn-recv 'sport = :{port}' | wc -l")),
        backlog::inside(
            sample,
            service,
            "nstat -asz TcpExtSyncookiesSent TcpExtSyncookiesRecv TcpExtTCPReqQFullDrop TcpPassiveOpens",
        ),
        backlog::list(sample, service),
    ]
}
