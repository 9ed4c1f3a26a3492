//! `memory_pressure`: TCP's memory, or the number of orphans, nears the limit of the host.
//!
//! Beyond the pressure mark the kernel shrinks buffers; at the limit it drops segments and kills orphans.

use std::time::Duration;

use super::tell::{self, percent, share};
use crate::finding::{Candidate, Evidence, Kind, Severity, Subject};
use crate::model::Window;
use crate::sample::memory::{self, Owned};
use crate::sample::{HostLimits, Memory, Sample};

/// How long it must last.
const LASTS: Duration = Duration::from_secs(3);

/// What it is measured by.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Share of the pressure mark of `tcp_mem`.
    pub pressure_share: f64,
    /// Share of the limit of `tcp_mem` from which it is critical.
    pub memory_share: f64,
    /// Share of `tcp_max_orphans`. The kernel kills suspicious orphans at a half or a quarter of it already.
    pub orphan_share: f64,
    /// Share of `tcp_max_orphans` from which it is critical.
    pub critical_orphan_share: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pressure_share: 0.9, memory_share: 0.9, orphan_share: 0.5, critical_orphan_share: 0.9 }
    }
}

pub(super) fn detect(window: &Window, limits: &Limits) -> Vec<Candidate> {
    let now = window.now();
    // With no older sample there is no telling how long it has lasted.
    let Some(then) = window.ago(LASTS) else { return Vec::new() };
    let lasting = |of: fn(&HostLimits, &Limits) -> Option<Severity>| {
        Some(of(&now.limits, limits)?.min(of(&then.limits, limits)?))
    };
    let memory = lasting(used).and_then(|severity| of_memory(now, severity));
    let orphans = lasting(orphans).and_then(|severity| of_orphans(now, severity));
    memory.into_iter().chain(orphans).collect()
}

fn used(host: &HostLimits, limits: &Limits) -> Option<Severity> {
    let (used, [_, pressure, high]) = (host.memory?, host.memory_limits?);
    if share(used, high) >= limits.memory_share {
        Some(Severity::Critical)
    } else {
        (share(used, pressure) >= limits.pressure_share).then_some(Severity::Warning)
    }
}

fn orphans(host: &HostLimits, limits: &Limits) -> Option<Severity> {
    let share = share(host.orphans?, host.max_orphans?);
    if share >= limits.critical_orphan_share {
        Some(Severity::Critical)
    } else {
        (share >= limits.orphan_share).then_some(Severity::Warning)
    }
}

fn of_memory(sample: &Sample, severity: Severity) -> Option<Candidate> {
    let (used, [low, pressure, high]) = (sample.limits.memory?, sample.limits.memory_limits?);
    let mut evidence = vec![
        ("memory_pages", Evidence::Count(used)),
        ("low_pages", Evidence::Count(low)),
        ("pressure_pages", Evidence::Count(pressure)),
        ("high_pages", Evidence::Count(high)),
    ];
    let largest = largest(sample);
    for ((name, bytes), (who, owned)) in LARGEST.into_iter().zip(&largest) {
        evidence.push((name, Evidence::Text(who.clone())));
        evidence.push((bytes, Evidence::Count(owned.memory.total())));
    }
    let mut advice = Vec::from_iter(largest.first().map(|(who, Owned { memory, unaccepted, .. })| {
        let Memory { send, receive, reserved } = memory;
        format!(
            "Look at {who} first: its sockets have {} bytes of it ({send} to be sent, {receive} not read, {reserved} set \
             aside), {unaccepted} of them in connections that are not accepted yet",
            memory.total()
        )
    }));
    advice.push(String::from(
        "Find who holds full buffers: sockets with a large Recv-Q or Send-Q in `ss -tnm`",
    ));
    advice.push(format!(
        "If the load is as it should be, raise net.ipv4.tcp_mem (now {low} {pressure} {high}, in pages)"
    ));
    Some(Candidate {
        kind: Kind::MemoryPressure,
        key: String::from("memory"),
        earlier: Vec::new(),
        severity,
        verdict: Some("memory"),
        subject: Subject::default(),
        confidence: 0.95,
        evidence,
        summary: format!(
            "TCP uses {used} pages of memory: {} of the pressure mark, {} of the limit",
            percent(share(used, pressure)),
            percent(share(used, high))
        ),
        meaning: format!(
            "From {pressure} pages on the kernel shrinks the buffers of all sockets, which makes every connection of \
             this host slower; at {high} it drops what arrives and what is to be sent, and kills orphans."
        ),
        advice,
        verify: vec![
            String::from("grep TCP: /proc/net/sockstat; cat /proc/sys/net/ipv4/tcp_mem"),
            String::from("ss -tnm | grep -B1 'skmem:(r[1-9]'"),
        ],
    })
}

/// How those with the most memory are told.
const LARGEST: [(&str, &str); 3] = [
    ("largest_owner", "largest_owner_bytes"),
    ("second_owner", "second_owner_bytes"),
    ("third_owner", "third_owner_bytes"),
];

/// Who has most of the memory, the largest first, as far as surveys tell.
fn largest(sample: &Sample) -> Vec<(String, Owned)> {
    let surveys = sample.namespaces.iter().filter_map(|namespace| namespace.survey.as_ref());
    let owners = memory::by_owner(sample, surveys.flat_map(|survey| &survey.groups));
    owners.into_iter().map(|owned| (tell::who(owned.owner.as_deref()), owned)).collect()
}

fn of_orphans(sample: &Sample, severity: Severity) -> Option<Candidate> {
    let (orphans, most) = (sample.limits.orphans?, sample.limits.max_orphans?);
    Some(Candidate {
        kind: Kind::MemoryPressure,
        key: String::from("orphans"),
        earlier: Vec::new(),
        severity,
        verdict: Some("orphans"),
        subject: Subject::default(),
        confidence: 0.9,
        evidence: vec![("orphans", Evidence::Count(orphans)), ("max_orphans", Evidence::Count(most))],
        summary: format!(
            "{orphans} sockets are closed by their processes and not finished, {} of the {most} allowed",
            percent(share(orphans, most))
        ),
        meaning: String::from(
            "Orphans are closed by their process and wait for their peers: in FIN_WAIT1, LAST_ACK or CLOSING, with \
             unsent data often. Beyond the limit the kernel resets them at once, and data that was not yet \
             acknowledged is lost; those it thinks hopeless it resets at a half or a quarter of the limit.",
        ),
        advice: vec![
            String::from("See where they lead: many to one peer means that it is gone or reads too slowly"),
            String::from("Lower net.ipv4.tcp_orphan_retries so that hopeless ones go sooner"),
            format!("If the load is as it should be, raise net.ipv4.tcp_max_orphans (now {most})"),
        ],
        verify: vec![
            String::from("grep TCP: /proc/net/sockstat; cat /proc/sys/net/ipv4/tcp_max_orphans"),
            String::from("ss -tano state fin-wait-1; ss -tano state last-ack; ss -tano state closing"),
        ],
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tcpwatch_common::TcpState;

    use super::*;
    use crate::detect::testing::{assert_told, evidence, group, surveyed, window};
    use crate::process::{Container, Process};
    use crate::sample::Group;

    fn host(memory: u64, orphans: u64) -> HostLimits {
        HostLimits {
            memory_limits: Some([750, 1_000, 1_500]),
            memory: Some(memory),
            orphans: Some(orphans),
            max_orphans: Some(8_192),
        }
    }

    fn found(limits: impl IntoIterator<Item = HostLimits>) -> Vec<(Option<&'static str>, Severity)> {
        let samples = limits.into_iter().enumerate().map(|(second, limits)| {
            let mut sample = surveyed(f64::from(u32::try_from(second).expect("few")), Vec::new());
            sample.limits = limits;
            sample
        });
        let found = detect(&window(samples), &Limits::default());
        found.iter().for_each(assert_told);
        found.into_iter().map(|one| (one.verdict, one.severity)).collect()
    }

    #[test]
    fn nearness_is_told_when_it_lasts() {
        let all = |memory, orphans| found([host(memory, orphans); 5]);
        assert_eq!(all(899, 4_000), []);
        assert_eq!(all(900, 0), [(Some("memory"), Severity::Warning)]);
        assert_eq!(all(1_350, 0), [(Some("memory"), Severity::Critical)]);
        assert_eq!(all(0, 4_096), [(Some("orphans"), Severity::Warning)]);
        assert_eq!(all(1_000, 8_000).len(), 2);
        assert_eq!(all(1_000, 8_000)[1], (Some("orphans"), Severity::Critical));
    }

    #[test]
    fn a_moment_is_no_pressure() {
        let (calm, full) = (host(10, 10), host(1_500, 8_000));
        assert_eq!(found([calm, calm, calm, calm, full]), []);
        assert_eq!(found([full, full, full, full, calm]), []);
        assert_eq!(found([full, full]), [], "not yet");
        assert_eq!(
            found([calm, host(950, 0), full, full, full])[0].1,
            Severity::Warning,
            "worst for a moment"
        );
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        assert_eq!(
            found([HostLimits { memory_limits: None, max_orphans: None, ..host(9_999, 9_999) }; 5]),
            []
        );
    }

    #[test]
    fn who_holds_the_memory_is_named() {
        let of = |pid, send, receive| Group {
            pid,
            memory: Some(Memory { send, receive, reserved: 0 }),
            ..group(TcpState::Established, 2, 0, 9)
        };
        let own = group(TcpState::Established, 2, 0, 9).pid;
        let waiting = Group { never_accepted: true, ..of(own, 0, 1_000) };
        let left = Group { cgroup: Some(70), ..of(None, 2_000, 0) };
        let groups =
            vec![of(own, 4_000, 0), waiting, left, of(None, 0, 30), of(Some(9), 0, 10), of(Some(8), 0, 0)];
        let container = Container { id: "0123456789abcdef".into(), ..Container::default() };
        let inside = Process { container: Some(container), ..Process::default() };
        let samples = (0..5).map(|second| {
            let mut sample = surveyed(f64::from(second), groups.clone());
            sample.cgroups.insert(70, Arc::new(inside.clone()));
            sample.limits = host(1_200, 0);
            sample
        });
        let one = detect(&window(samples), &Limits::default()).remove(0);
        let told = |name| match evidence(&one, name) {
            Evidence::Text(text) => text.clone(),
            other => format!("{other:?}"),
        };
        let names = LARGEST.map(|(name, _)| told(name));
        assert_eq!(
            names,
            ["web (pid 4711)", "an unknown process in container 0123456789ab", "an unknown process"]
        );
        assert_eq!(evidence(&one, "largest_owner_bytes"), &Evidence::Count(5_000));
        assert_eq!(evidence(&one, "third_owner_bytes"), &Evidence::Count(30));
        let first = &one.advice[0];
        assert!(first.contains("5000 bytes") && first.contains("1000 of them"), "{first}");
    }
}
