//! `silent_peer`: established connections whose peers may be gone without a word.
//!
//! A peer that loses power or is cut off sends no FIN. If data is under way the kernel finds out after many
//! retransmits; if nothing is, only keepalive would, and by default sockets have none. The source finds such sockets by
//! the times given here.

use std::collections::BTreeMap;
use std::time::Duration;

use tcpwatch_common::TcpState;
use tcpwatch_common::host::Role;

use super::tell::{self, span, who, whom};
use crate::finding::{Candidate, Evidence, Kind, Severity, Subject};
use crate::model::Window;
use crate::sample::{Group, NamespaceSample, Sample, Trouble};

/// It must be found twice, so far apart.
const APART: Duration = Duration::from_secs(8);

/// What it is measured by.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// How long nothing came though data is unacknowledged.
    pub unacknowledged_age: Duration,
    /// Fewest such sockets of one owner and service.
    pub unacknowledged_count: u64,
    /// How long nothing came or went on a socket without keepalive.
    pub idle_age: Duration,
    /// Fewest such sockets of one owner and service.
    pub idle_count: u64,
    /// Least share of the service's established connections: among ten thousand clients some always vanish.
    pub min_share: f64,
    /// So many are told whatever their share.
    pub many: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unacknowledged_age: Duration::from_secs(10),
            unacknowledged_count: 1,
            idle_age: Duration::from_hours(2),
            idle_count: 10,
            min_share: 0.05,
            many: 1_000,
        }
    }
}

pub(super) fn detect(window: &Window, limits: &Limits) -> Vec<Candidate> {
    let sample = window.now();
    let mut found = Vec::new();
    for namespace in &sample.namespaces {
        let Some(survey) = &namespace.survey else { continue };
        if tell::count_now(namespace, TcpState::Established) == 0 {
            continue;
        }
        for (service, groups) in established(&survey.groups) {
            let whole = tell::sum(groups.iter().copied(), |group| group.count);
            for (trouble, least, age) in [
                (Trouble::Unacknowledged, limits.unacknowledged_count, limits.unacknowledged_age),
                (Trouble::NoKeepalive, limits.idle_count, limits.idle_age),
            ] {
                let silent = troubled(&groups, trouble);
                let count = tell::sum(silent.iter().copied(), |group| group.count);
                let enough = |count| {
                    count >= least.max(1)
                        && (count >= limits.many || tell::share(count, whole) >= limits.min_share)
                };
                // After a long silence anything that is sent is unacknowledged for a moment.
                let lasts = || before(window, namespace, service, trouble).is_some_and(enough);
                if enough(count) && lasts() {
                    let silence = Silence { sample, namespace, service, trouble, count, whole, age };
                    found.extend(silence.candidate(&silent));
                }
            }
        }
    }
    found
}

/// Owner and port of a service.
pub(super) type Service = (Option<u32>, u16);

/// Established sockets by owner and service.
pub(super) fn established(groups: &[Group]) -> BTreeMap<Service, Vec<&Group>> {
    let mut all: BTreeMap<Service, Vec<&Group>> = BTreeMap::new();
    for group in groups.iter().filter(|group| group.state == TcpState::Established) {
        all.entry((group.pid, group.port)).or_default().push(group);
    }
    all
}

/// Those with a trouble.
pub(super) fn troubled<'a>(groups: &[&'a Group], trouble: Trouble) -> Vec<&'a Group> {
    groups.iter().copied().filter(|group| group.trouble == trouble).collect()
}

/// How many of a service had the same trouble in the survey before the latest; `None` if there was none lately.
fn before(window: &Window, namespace: &NamespaceSample, service: Service, trouble: Trouble) -> Option<u64> {
    let survey = tell::earlier_survey(window, namespace, APART)?;
    let groups = established(&survey.groups).remove(&service).unwrap_or_default();
    Some(tell::sum(troubled(&groups, trouble), |group| group.count))
}

/// The key of a service's trouble, and those that it had before its owner was known.
pub(super) fn keys(netns: u64, (pid, port): Service, verdict: &str) -> (String, Vec<String>) {
    let unnamed = format!("{netns}:port-{port}:{verdict}");
    match pid {
        Some(pid) => (format!("{netns}:pid-{pid}:{port}:{verdict}"), vec![unnamed]),
        None => (unnamed, Vec::new()),
    }
}

struct Silence<'a> {
    sample: &'a Sample,
    namespace: &'a NamespaceSample,
    service: Service,
    trouble: Trouble,
    count: u64,
    /// Established connections of the service.
    whole: u64,
    /// For at least so long.
    age: Duration,
}

impl Silence<'_> {
    fn candidate(self, silent: &[&Group]) -> Option<Candidate> {
        let Self { sample, namespace, service, count, age, .. } = self;
        let largest = tell::largest(silent, |group| group.count)?;
        let (pid, port) = service;
        let is_active = largest.role == Some(Role::Active);
        let listener = (!is_active).then(|| tell::listener(sample, namespace.inode, port)).flatten();
        let pid = pid.or_else(|| listener.and_then(|listener| listener.pid));
        let owner = tell::process(sample, pid);
        let unsent = tell::sum(silent.iter().copied(), |group| group.unsent_bytes);
        let waits = self.trouble == Trouble::Unacknowledged;
        let verdict = if waits { "unacknowledged" } else { "no_keepalive" };
        let side = if is_active { "dport" } else { "sport" };
        let list = format!("ss -tnoi state established '{side} = :{port}'");
        let what = if waits { "with unacknowledged data" } else { "idle and without keepalive" };
        let (key, earlier) = keys(namespace.inode, service, verdict);
        Some(Candidate {
            kind: Kind::SilentPeer,
            key,
            earlier,
            severity: Severity::Warning,
            verdict: Some(verdict),
            subject: Subject {
                netns: Some(namespace.inode),
                listener: listener.map(|listener| listener.local),
                destination: is_active.then_some(largest.example.remote),
                remote: Some(largest.example.remote.ip()),
                owner: owner.clone(),
            },
            confidence: if waits { 0.85 } else { 0.5 },
            evidence: vec![
                ("count", Evidence::Count(count)),
                ("established", Evidence::Count(self.whole)),
                ("silent_for_seconds", Evidence::Number(age.as_secs_f64())),
                ("unsent_bytes", Evidence::Count(unsent)),
                ("example_local", Evidence::Text(largest.example.local.to_string())),
                ("example_remote", Evidence::Text(largest.example.remote.to_string())),
            ],
            summary: format!(
                "{} of {} on port {port} heard nothing from their peers for {} or more, {what}",
                tell::sockets(count),
                who(owner.as_deref()),
                span(age)
            ),
            meaning: self.meaning(unsent),
            advice: self.advice(&whom(owner.as_deref())),
            verify: vec![tell::inside(sample, namespace, pid, &list)],
        })
    }

    fn meaning(&self, unsent: u64) -> String {
        let sysctls = self.namespace.sysctls.as_deref();
        if self.trouble == Trouble::Unacknowledged {
            let retries = sysctls.and_then(|sysctls| sysctls.retries2);
            let patience = retries.map_or_else(String::new, |retries| {
                format!(" (tcp_retries2 is {retries}; 15 means about a quarter of an hour)")
            });
            return format!(
                "{unsent} bytes were sent and are not acknowledged, and not one segment comes back: the peer is \
                 gone, or the path drops everything one way. The application waits until the kernel gives up{patience}."
            );
        }
        let keepalive = sysctls.and_then(|sysctls| sysctls.keepalive_time).map_or_else(String::new, |time| {
            format!(
                " tcp_keepalive_time is {time} s here, and does nothing for sockets without SO_KEEPALIVE."
            )
        });
        format!(
            "Nothing came or went for long, and nothing ever tests whether the peers are still there. Those that \
             lost power or whose NAT entry expired stay here for ever, and hold a file each.{keepalive}"
        )
    }

    fn advice(&self, who: &str) -> Vec<String> {
        if self.trouble == Trouble::Unacknowledged {
            return vec![
                String::from(
                    "See whether the peer answers at all: ping it, or connect to the same port anew",
                ),
                String::from(
                    "A firewall or NAT that forgot the connection drops it in silence: look for its timeout",
                ),
                format!("Let {who} set TCP_USER_TIMEOUT, so that it learns of a dead peer in seconds"),
            ];
        }
        vec![
            format!(
                "Let {who} set SO_KEEPALIVE, with TCP_KEEPIDLE below the idle timeout of NAT and load balancers"
            ),
            String::from("Or give its idle connections a time limit of the application's own"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing::{assert_told, evidence, group, lasting, surveyed, window};

    fn quiet(trouble: Trouble, count: u64) -> Group {
        Group { trouble, ..group(TcpState::Established, count, 0, 0) }
    }

    fn healthy(count: u64) -> Group {
        group(TcpState::Established, count, count, 86_400)
    }

    fn found(groups: &[Group]) -> Vec<Candidate> {
        detect(&lasting(groups), &Limits::default())
    }

    #[test]
    fn peers_that_do_not_acknowledge_are_flagged() {
        let lost = Group { unsent_bytes: 1_234, ..quiet(Trouble::Unacknowledged, 1) };
        let all = found(&[lost, healthy(10)]);
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_told(one);
        assert_eq!(
            (one.verdict, one.key.as_str()),
            (Some("unacknowledged"), "7:pid-4711:8080:unacknowledged")
        );
        assert_eq!(evidence(one, "established"), &Evidence::Count(11));
        assert_eq!(evidence(one, "unsent_bytes"), &Evidence::Count(1_234));
        assert!(one.meaning.contains("tcp_retries2 is 15"));
        assert_eq!(one.subject.remote.map(|ip| ip.to_string()).as_deref(), Some("10.0.0.2"));
    }

    #[test]
    fn idle_ones_without_keepalive_are_flagged_after_hours() {
        let all = found(&[quiet(Trouble::NoKeepalive, 12)]);
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_told(one);
        assert_eq!(one.verdict, Some("no_keepalive"));
        assert!(one.summary.contains("for 2.0 h or more, idle and without keepalive"), "{}", one.summary);
        assert!(one.meaning.contains("7200 s"));
    }

    #[test]
    fn the_living_are_left_alone() {
        for groups in [
            vec![healthy(5_000)],
            // A few of many clients have vanished.
            vec![quiet(Trouble::Unacknowledged, 20), healthy(10_000)],
            vec![quiet(Trouble::NoKeepalive, 9)],
            vec![quiet(Trouble::PeerWindowZero, 50)],
            vec![Group { state: TcpState::CloseWait, ..quiet(Trouble::Unacknowledged, 5) }],
        ] {
            assert!(found(&groups).is_empty(), "{groups:?}");
        }
    }

    #[test]
    fn the_healthy_beside_them_hide_nothing() {
        let lost = |count| found(&[quiet(Trouble::Unacknowledged, count), healthy(1_000_000)]).len();
        assert_eq!([lost(999), lost(1_000)], [0, 1]);
    }

    #[test]
    fn what_is_on_its_way_for_a_moment_is_not_lost() {
        let survey = |second: u32, lost| {
            surveyed(f64::from(second), vec![healthy(3), quiet(Trouble::Unacknowledged, lost)])
        };
        let found = |lost: &[u64]| {
            let samples = (1..).step_by(10).zip(lost).map(|(second, lost)| survey(second, *lost));
            detect(&window(samples), &Limits::default()).len()
        };
        assert_eq!([found(&[1]), found(&[0, 1]), found(&[1, 0])], [0, 0, 0]);
        assert_eq!([found(&[1, 1]), found(&[0, 1, 1])], [1, 1]);
    }

    #[test]
    fn services_are_told_apart() {
        let other = Group { port: 5432, role: Some(Role::Active), ..quiet(Trouble::Unacknowledged, 2) };
        let all = found(&[quiet(Trouble::Unacknowledged, 1), other]);
        let keys: Vec<_> = all.iter().map(|one| one.key.as_str()).collect();
        assert_eq!(keys, ["7:pid-4711:5432:unacknowledged", "7:pid-4711:8080:unacknowledged"]);
        assert!(all[0].subject.destination.is_some() && all[0].subject.listener.is_none());
    }
}
