//! `illegal_transition`: a socket changed its state in a way that no TCP may, or as if from a state it was not in.
//!
//! The first is a bug, in the kernel, in a module, or in tcpwatch. The second, a gap, means that a transition before
//! it was not seen; it is told only where known losses do not explain it.

use std::time::Duration;

use tcpwatch_common::TcpState;

use super::tell;
use crate::finding::{Candidate, Evidence, Kind, Severity, Subject};
use crate::model::Window;
use crate::sample::{NamespaceSample, Sample};

/// How far back one looks: so long a finding stays after the last one.
const RECENT: Duration = Duration::from_mins(1);

/// What it is measured by.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Fewest illegal transitions of one kind within a minute.
    pub min_count: u64,
    /// Fewest gaps within a minute beyond those that losses explain.
    pub min_gaps: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { min_count: 1, min_gaps: 10 }
    }
}

pub(super) fn detect(window: &Window, limits: &Limits) -> Vec<Candidate> {
    let now = window.now();
    let then = window.within(RECENT);
    let mut found = Vec::new();
    for namespace in &now.namespaces {
        let before = then.and_then(|sample| tell::same(sample, namespace));
        for &(old, new, count) in &namespace.illegal {
            let grown = tell::growth(count, before.and_then(|before| count_of(before, old, new)));
            if grown >= limits.min_count.max(1) {
                found.push(illegal(now, namespace, old, new, (grown, count)));
            }
        }
    }
    found.extend(then.and_then(|then| gaps(now, then, limits)));
    found
}

fn count_of(namespace: &NamespaceSample, old: TcpState, new: TcpState) -> Option<u64> {
    let found = namespace.illegal.iter().find(|(from, to, _)| (*from, *to) == (old, new));
    found.map(|(_, _, count)| *count)
}

fn illegal(
    sample: &Sample,
    namespace: &NamespaceSample,
    old: TcpState,
    new: TcpState,
    (grown, count): (u64, u64),
) -> Candidate {
    let (from, to) = (tell::state_name(old), tell::state_name(new));
    Candidate {
        kind: Kind::IllegalTransition,
        key: format!("{}:{}-{}", namespace.inode, old.name(), new.name()),
        earlier: Vec::new(),
        severity: Severity::Warning,
        verdict: Some("illegal"),
        subject: Subject { netns: Some(namespace.inode), ..Subject::default() },
        confidence: 0.9,
        evidence: vec![
            ("from", Evidence::Text(old.name().into())),
            ("to", Evidence::Text(new.name().into())),
            ("count", Evidence::Count(count)),
            ("last_minute", Evidence::Count(grown)),
        ],
        summary: format!("{} went from {from} to {to}, which no TCP may do", tell::sockets(grown)),
        meaning: String::from(
            "Neither RFC 9293 nor the code of Linux has this transition. Something writes socket states that should \
             not: a kernel module, an eBPF program, an out-of-tree TCP, or a bug of the kernel or of tcpwatch.",
        ),
        advice: vec![
            String::from("See which modules and eBPF programs are loaded, and whether it ends without them"),
            String::from("Report it with the kernel's version: the log of tcpwatch names each occurrence"),
        ],
        verify: vec![
            tell::inside(sample, namespace, None, "tcpwatch trace"),
            String::from("uname -r; lsmod; bpftool prog list"),
        ],
    }
}

/// Continuity breaks of the last minute that known losses do not explain.
fn gaps(now: &Sample, then: &Sample, limits: &Limits) -> Option<Candidate> {
    let (host, before) = (now.host.as_ref()?, then.host.as_ref()?);
    let gaps = host.gaps.saturating_sub(before.gaps);
    let missed = now.missed_transitions().saturating_sub(then.missed_transitions());
    let untracked = host.untracked.saturating_sub(before.untracked);
    // Each transition that was lost leaves one gap; a socket that was forgotten for want of room may leave one.
    let unexplained = gaps.saturating_sub(missed + untracked);
    (unexplained >= limits.min_gaps.max(1)).then(|| Candidate {
        kind: Kind::IllegalTransition,
        key: String::from("gaps"),
        earlier: Vec::new(),
        severity: Severity::Warning,
        verdict: Some("gap"),
        subject: Subject::default(),
        confidence: 0.5,
        evidence: vec![
            ("gaps", Evidence::Count(gaps)),
            ("missed_transitions", Evidence::Count(missed)),
            ("untracked", Evidence::Count(untracked)),
            ("unexplained", Evidence::Count(unexplained)),
        ],
        summary: format!(
            "{unexplained} transitions of the last minute did not start from the socket's last known state, and no \
             known loss explains it"
        ),
        meaning: String::from(
            "A transition before each of them was not counted, and the kernel did not say that it skipped one. The \
             figures of tcpwatch may be off by as many; the connections themselves are not affected.",
        ),
        advice: vec![
            String::from("Compare with tcpwatch_reconciliation_drift: 0 means that the counts are right all the same"),
            String::from("Receive packet steering on loopback (rps_cpus) is one known cause"),
        ],
        verify: vec![String::from("cat /sys/class/net/lo/queues/rx-*/rps_cpus"), String::from("tcpwatch doctor")],
    })
}

#[cfg(test)]
mod tests {
    use tcpwatch_common::host::HostCounters;
    use tcpwatch_common::names::program;

    use super::*;
    use crate::detect::testing::{assert_told, evidence, host, window};
    use crate::sample::ProgramSample;

    fn at(second: u32, illegal: &[(TcpState, TcpState, u64)]) -> Sample {
        let mut sample = host(f64::from(second));
        sample.namespaces[0].illegal = illegal.to_vec();
        sample
    }

    fn found(samples: impl IntoIterator<Item = Sample>) -> Vec<Candidate> {
        let found = detect(&window(samples), &Limits::default());
        found.iter().for_each(assert_told);
        found
    }

    const JUMP: (TcpState, TcpState) = (TcpState::Listen, TcpState::Established);

    fn jumps(count: u64) -> [(TcpState, TcpState, u64); 1] {
        [(JUMP.0, JUMP.1, count)]
    }

    #[test]
    fn each_kind_is_flagged_while_it_is_recent() {
        let all = found([at(1, &[]), at(2, &jumps(3))]);
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((one.key.as_str(), one.verdict), ("7:listen-established", Some("illegal")));
        assert_eq!(one.summary, "3 sockets went from LISTEN to ESTABLISHED, which no TCP may do");
        assert_eq!(evidence(one, "last_minute"), &Evidence::Count(3));
        assert_eq!(found((0..50).map(|second| at(second, &jumps(u64::from(second >= 10))))).len(), 1);
        assert!(found((0..90).map(|second| at(second, &jumps(u64::from(second >= 10))))).is_empty());
    }

    #[test]
    fn those_before_the_first_sample_count() {
        assert_eq!(found([at(1, &jumps(2))]).len(), 1);
        assert!(found([at(1, &[])]).is_empty());
        assert!(found([at(1, &jumps(0)), at(2, &jumps(0))]).is_empty());
    }

    #[test]
    fn a_new_namespace_with_an_old_number_starts_anew() {
        let (mut before, mut later) = (at(1, &jumps(2)), at(5, &jumps(2)));
        before.namespaces[0].generation = 8;
        later.namespaces[0].generation = 9;
        assert_eq!(found([before, later]).len(), 1);
    }

    /// At second 10 after nothing at second 0: gaps, transitions that neither program counted, untracked sockets.
    fn broken(gaps: u64, missed: u64, untracked: u64) -> Vec<Candidate> {
        let sample = |second, gaps, missed, untracked| {
            let mut sample = at(second, &[]);
            let mut host = HostCounters::from_words(&[]);
            (host.gaps, host.untracked) = (gaps, untracked);
            sample.host = Some(Box::new(host));
            sample.programs = vec![ProgramSample {
                name: program::TRANSITION.into(),
                id: None,
                hook: String::new(),
                lost: None,
                error: None,
                runs: 0,
                nanoseconds: 0,
                missed,
            }];
            sample
        };
        found([sample(0, 5, 5, 5), sample(10, 5 + gaps, 5 + missed, 5 + untracked)])
    }

    #[test]
    fn gaps_that_loss_explains_are_not_told() {
        assert!(broken(0, 0, 0).is_empty());
        assert!(broken(9, 0, 0).is_empty());
        assert!(broken(1_000, 995, 0).is_empty());
        assert!(broken(1_000, 0, 1_000).is_empty());
        let one = broken(40, 20, 5).remove(0);
        assert_eq!((one.verdict, one.key.as_str()), (Some("gap"), "gaps"));
        assert_eq!(evidence(&one, "unexplained"), &Evidence::Count(15));
    }
}
