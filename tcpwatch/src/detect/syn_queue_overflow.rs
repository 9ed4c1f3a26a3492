//! `syn_queue_overflow`: a listener drops SYNs as its SYN queue is full and SYN cookies are off.

use super::backlog;
pub use super::backlog::Limits;
use crate::finding::{Candidate, Evidence, Kind, Severity};
use crate::model::Window;
use crate::model::listeners::{Recent, RecentService, recent};
use crate::sample::Sample;

pub(super) fn detect(window: &Window, limits: &Limits) -> Vec<Candidate> {
    let recent = recent(window, limits.within);
    let services = recent.services.values();
    services.filter_map(|service| overflow(window.now(), &recent, service, limits)).collect()
}

fn overflow(
    sample: &Sample,
    recent: &Recent<'_>,
    service: &RecentService<'_>,
    limits: &Limits,
) -> Option<Candidate> {
    let drops = service.drops.syn_queue;
    if drops < limits.drops.max(1) {
        return None;
    }
    let subject = backlog::subject(sample, service);
    let mut evidence = backlog::queues(service);
    evidence.push(("drops", Evidence::Count(drops)));
    evidence.push(("seconds", Evidence::Number(recent.span.as_secs_f64())));
    let queue = match (service.requests(), service.syn_limit()) {
        (Some((length, _)), Some(limit)) => format!(" ({length} half-open requests, the limit is {limit})"),
        _ => String::new(),
    };
    Some(Candidate {
        kind: Kind::SynQueueOverflow,
        key: backlog::key(service),
        earlier: Vec::new(),
        severity: if drops >= limits.critical_drops { Severity::Critical } else { Severity::Warning },
        verdict: None,
        confidence: 0.95,
        evidence,
        summary: format!(
            "{} dropped {drops} SYN{} in {:.0} s because its SYN queue was full{queue} and SYN cookies are off",
            service.local,
            if drops == 1 { "" } else { "s" },
            recent.span.as_secs_f64().max(1.0)
        ),
        meaning: String::from(
            "Handshakes that are not finished wait in the SYN queue. Once it is full and cookies are off, the kernel drops \
             every further SYN, from honest clients too: they try again after 1 s, 3 s, 7 s and then give up.",
        ),
        advice: advice(sample, service),
        verify: vec![
            backlog::inside(sample, service, "nstat -asz TcpExtListenDrops TcpExtTCPReqQFullDrop"),
            backlog::inside(
                sample,
                service,
                &format!("ss -Htn state syn-recv 'sport = :{}' | wc -l", service.local.port()),
            ),
        ],
        subject,
    })
}

fn advice(sample: &Sample, service: &RecentService<'_>) -> Vec<String> {
    let mut advice = vec![
        backlog::inside(sample, service, "sysctl -w net.ipv4.tcp_syncookies=1")
            + " lets the kernel answer without the queue; it is the default for good reason",
    ];
    let (_, backlog_limit) = service.accept_queue();
    let most = service.sysctls.and_then(|sysctls| sysctls.max_syn_backlog);
    if let (Some(most), 1) = (most, service.members.len())
        && service.syn_limit().is_some_and(|limit| limit < backlog_limit)
    {
        advice.push(format!(
            "Without cookies the queue takes three quarters of net.ipv4.tcp_max_syn_backlog ({most}), although the backlog \
             would allow {backlog_limit}: raise it"
        ));
    } else {
        advice.push(format!(
            "The SYN queue is as long as the accept queue may be. {}",
            backlog::longer(sample, service)
        ));
    }
    advice
}

#[cfg(test)]
mod tests;
