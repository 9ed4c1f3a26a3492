//! `accept_queue_overflow`: a listener drops connections as the application does not accept them in time.
//!
//! Only drops that the kernel counted are told: a long queue that is accepted in time is no trouble.

use super::backlog;
pub use super::backlog::Limits;
use crate::finding::{Candidate, Evidence, Kind, Severity};
use crate::model::Window;
use crate::model::listeners::{Recent, RecentService, recent};
use crate::sample::Sample;

pub(super) fn detect(window: &Window, limits: &Limits) -> Vec<Candidate> {
    let recent = recent(window, limits.within);
    let services = recent.services.values();
    let found = services.filter_map(|service| overflow(window.now(), &recent, service, limits));
    found.collect()
}

fn overflow(
    sample: &Sample,
    recent: &Recent<'_>,
    service: &RecentService<'_>,
    limits: &Limits,
) -> Option<Candidate> {
    let drops = service.drops;
    let was_full = service.accept_full.0 > 0;
    // The kernel counted these as overflows, be it not known at which stage.
    let certain = service.overflows;
    let unknown = certain.saturating_sub(drops.accept_queue());
    // Another listener of the namespace may have dropped them, but one of the two did, and this one's queue is full.
    let unattributed = recent.unattributed.get(&service.netns).copied().unwrap_or(0);
    let shared = if was_full && certain == 0 { unattributed.min(service.sk_drops) } else { 0 };
    if certain + shared < limits.drops.max(1) {
        return None;
    }
    let subject = backlog::subject(sample, service);
    let who = backlog::who(&subject, service);
    let (length, limit) = service.accept_queue();
    let is_slow = service.is_stalled();
    let mut evidence = backlog::queues(service);
    evidence.extend([
        ("drops", Evidence::Count(certain)),
        ("drops_at_syn", Evidence::Count(drops.accept_queue_syn)),
        ("drops_at_last_ack", Evidence::Count(drops.accept_queue_ack)),
        ("drops_at_unknown_stage", Evidence::Count(unknown)),
        ("seconds", Evidence::Number(recent.span.as_secs_f64())),
    ]);
    if shared > 0 {
        evidence.push(("drops_of_several_listeners", Evidence::Count(unattributed)));
    }
    let how_many = match (certain, shared) {
        (0, _) => String::from("some connections"),
        (1, _) => String::from("1 connection attempt"),
        (many, _) => format!("{many} connection attempts"),
    };
    Some(Candidate {
        kind: Kind::AcceptQueueOverflow,
        key: backlog::key(service),
        earlier: Vec::new(),
        severity: if certain + shared >= limits.critical_drops {
            Severity::Critical
        } else {
            Severity::Warning
        },
        verdict: Some(if is_slow { "slow_accept" } else { "burst" }),
        confidence: if certain > 0 { 0.95 } else { 0.6 },
        evidence,
        summary: format!(
            "{} dropped {how_many} in {:.0} s because its accept queue was full ({length} wait now, the limit is {limit}); \
             {who} does not accept fast enough",
            service.local,
            recent.span.as_secs_f64().max(1.0)
        ),
        meaning: meaning(service, is_slow),
        advice: advice(sample, service, is_slow, &who),
        verify: vec![
            backlog::list(sample, service),
            backlog::inside(sample, service, "nstat -asz TcpExtListenOverflows TcpExtListenDrops"),
        ],
        subject,
    })
}

fn meaning(service: &RecentService<'_>, is_slow: bool) -> String {
    let (_, limit) = service.accept_queue();
    let mut text = format!(
        "Connections that are made wait in the accept queue until the application calls accept(). It holds {} here. ",
        limit + 1
    );
    text += if is_slow {
        "It stays full, so the application has stopped accepting or is too slow for its clients."
    } else {
        "It was full only at times, so connections come in bursts that are larger than the queue."
    };
    if service.drops.accept_queue_syn > 0 {
        text +=
            " Clients whose SYN was dropped try again after 1 s, 3 s, 7 s: connects that take whole seconds.";
    }
    if service.drops.accept_queue_ack > 0 {
        let aborts =
            service.sysctls.and_then(|sysctls| sysctls.abort_on_overflow).is_some_and(|abort| abort != 0);
        text += if aborts {
            " Clients whose last ACK was dropped believed that they were connected and get a reset \
             (tcp_abort_on_overflow is on)."
        } else {
            " Clients whose last ACK was dropped believe that they are connected and wait for an answer."
        };
    }
    text
}

fn advice(sample: &Sample, service: &RecentService<'_>, is_slow: bool, who: &str) -> Vec<String> {
    let longer = backlog::longer(sample, service);
    let mut advice = if is_slow {
        vec![
            format!(
                "See what keeps {who} from accept(): a blocked accept loop, a full worker pool, no CPU, no free file \
                 descriptors"
            ),
            format!("A longer queue only hides a slow accept loop. If it was a burst after all: {longer}"),
        ]
    } else {
        vec![longer, format!("If it happens all the time, {who} has to accept faster")]
    };
    if service.drops.accept_queue_ack > 0 {
        advice.push(String::from(
            "Leave tcp_abort_on_overflow at 0 unless clients are better served by a reset than by a retry",
        ));
    }
    advice
}

#[cfg(test)]
mod tests;
