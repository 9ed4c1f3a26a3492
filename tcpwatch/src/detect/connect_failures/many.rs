//! One program fails to connect to very many services, each of them a few times: a scan, a crawler, a list of peers that
//! are gone, or a fleet of backends behind one name.

use std::collections::BTreeMap;

use tcpwatch_common::failure::ConnectFailure;

use super::{Limits, failures, reads};
use crate::detect::remote_ends::{Ends, Lately};
use crate::detect::tell;
use crate::finding::{Candidate, Evidence, Kind, Severity, Subject};
use crate::model::{listeners, remotes};
use crate::sample::RemoteCounts;

/// What one program met with in one namespace.
#[derive(Default)]
struct Program {
    failures: [u64; ConnectFailure::COUNT],
    /// Services that are told apart.
    services: u64,
    /// Failures of others.
    beyond: u64,
    /// Its process with the most, and how much.
    worst: (Option<u32>, u64),
}

impl Program {
    fn add(&mut self, counts: &RemoteCounts, pid: Option<u32>) {
        for (sum, more) in self.failures.iter_mut().zip(counts.failures) {
            *sum += more;
        }
        if failures(counts) > self.worst.1 {
            self.worst = (pid, failures(counts));
        }
    }
}

/// Of `rest`, the services that are told by themselves are left out.
pub(super) fn detect(lately: &Lately<'_>, rest: &[&Ends<'_>], limits: &Limits) -> Vec<Candidate> {
    let name = |pid: Option<u32>| lately.now.processes.get(&pid?)?.command.clone();
    let mut programs: BTreeMap<(u64, Option<String>), Program> = BTreeMap::new();
    for ends in rest.iter().filter(|ends| ends.destination.is_some()) {
        let program = programs.entry((ends.netns, name(ends.worst.pid))).or_default();
        program.add(&ends.counts, ends.worst.pid);
        program.services += 1;
    }
    for (folded, counts) in remotes::folded_changes(lately.first, lately.now) {
        if folded.service.is_none() && failures(&counts) > 0 {
            let program = programs.entry((folded.netns, name(folded.pid))).or_default();
            program.add(&counts, folded.pid);
            program.beyond += failures(&counts);
        }
    }
    programs
        .iter()
        .filter_map(|((netns, name), program)| flag(lately, *netns, name.as_deref(), program, limits))
        .collect()
}

fn flag(
    lately: &Lately<'_>,
    netns: u64,
    name: Option<&str>,
    program: &Program,
    limits: &Limits,
) -> Option<Candidate> {
    let failed: u64 = program.failures.iter().sum();
    let rate = tell::number(failed) / lately.seconds();
    let opened = lately.growth(netns, |counters| Some(counters.snmp.active_opens));
    let is_few = rate < limits.many_rate
        && opened.is_some_and(|opened| tell::share(failed, opened.max(failed)) < limits.many_share);
    if failed < limits.many.max(2) || is_few {
        return None;
    }
    let most = ConnectFailure::ALL.into_iter().max_by_key(|reason| program.failures[*reason as usize])?;
    let owner = tell::process(lately.now, program.worst.0);
    let who = tell::who(owner.as_deref());
    let services = if program.beyond > 0 {
        format!("more than {} services", program.services)
    } else {
        format!("{} services", program.services)
    };
    let inside = |command: &str| {
        listeners::namespace(lately.now, netns).map_or_else(
            || command.to_owned(),
            |namespace| tell::inside(lately.now, namespace, program.worst.0, command),
        )
    };
    let mut evidence = vec![
        ("services_told_apart", Evidence::Count(program.services)),
        ("failures_of_others", Evidence::Count(program.beyond)),
        ("failures", Evidence::Count(failed)),
        ("failures_per_second", Evidence::Number(rate)),
        ("seconds", Evidence::Number(lately.seconds())),
    ];
    let reasons =
        ConnectFailure::ALL.map(|reason| (reason.name(), Evidence::Count(program.failures[reason as usize])));
    evidence.extend(reasons);
    evidence.extend(opened.map(|opened| ("connects_of_the_namespace", Evidence::Count(opened))));
    // A key is one word.
    let word = name.unwrap_or("unknown").replace(char::is_whitespace, "_");
    Some(Candidate {
        kind: Kind::ConnectFailures,
        key: format!("{netns}:many:{word}"),
        earlier: Vec::new(),
        severity: Severity::Warning,
        verdict: Some(most.name()),
        confidence: 0.8,
        evidence,
        summary: format!(
            "{failed} connects to {services} failed in {:.0} s, most of them {}; {who} tried",
            lately.seconds().max(1.0),
            reads(most)
        ),
        meaning: format!(
            "{who} tries very many addresses or ports and gets through to few of them: a scan, a crawler, a list of peers \
             of which many are gone, or a network or firewall that stands between it and all of them."
        ),
        advice: vec![
            format!("See whether {who} is meant to try so many, and whether it may run here at all"),
            String::from(
                "If these are backends that should answer, look at what they share: a network, a firewall, a release",
            ),
        ],
        verify: vec![
            inside("ss -tanpo state syn-sent"),
            inside("nstat -asz TcpActiveOpens TcpAttemptFails TcpExtTCPSynRetrans"),
        ],
        subject: Subject { netns: Some(netns), owner, ..Subject::default() },
    })
}
