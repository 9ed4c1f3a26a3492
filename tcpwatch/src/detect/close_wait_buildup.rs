//! `close_wait_buildup`: an application does not close connections that their peers have closed.
//!
//! The kernel waits for the application without limit, so these sockets stay until it closes them or ends, and each
//! holds a file. *Never accepted* ones have not even been taken from the accept queue.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tcpwatch_common::TcpState;
use tcpwatch_common::host::Role;

use super::tell::{self, number, span, who, whom};
use crate::finding::{Candidate, Evidence, Kind, Severity, Subject};
use crate::model::Window;
use crate::process::Process;
use crate::sample::{Group, NamespaceSample, Sample, What};

/// Growth is told over at least this much time.
const APART: Duration = Duration::from_secs(15);

/// What it is measured by.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Fewest sockets of one owner.
    pub min_count: u64,
    /// How long each has been in CLOSE_WAIT.
    pub age: Duration,
    /// Share of the file limit from which it is critical.
    pub files_share: f64,
    /// It is critical as well if the file limit is reached within this time at the present growth.
    pub files_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            min_count: 10,
            age: Duration::from_mins(1),
            files_share: 0.8,
            files_within: Duration::from_mins(10),
        }
    }
}

/// Whose sockets these are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Process(u32),
    /// The process is not known: the service.
    Port(u16),
}

pub(super) fn detect(window: &Window, limits: &Limits) -> Vec<Candidate> {
    let sample = window.now();
    let mut found = Vec::new();
    for namespace in &sample.namespaces {
        let Some(survey) = &namespace.survey else { continue };
        if tell::count_now(namespace, TcpState::CloseWait) < limits.min_count {
            continue;
        }
        for (key, groups) in by_owner(&survey.groups) {
            let aged = tell::sum(groups.iter().copied(), |group| group.aged)
                + old_strangers(sample, survey.elapsed, &groups, limits);
            if aged >= limits.min_count {
                found.push(Buildup::new(window, namespace, key, &groups, aged).candidate(limits));
            }
        }
    }
    found
}

/// Sockets in CLOSE_WAIT by owner, and whether they were never accepted.
fn by_owner(groups: &[Group]) -> BTreeMap<(Owner, bool), Vec<&Group>> {
    let mut all: BTreeMap<_, Vec<&Group>> = BTreeMap::new();
    for group in groups.iter().filter(|group| group.state == TcpState::CloseWait) {
        let owner = match group.pid {
            // Nobody has them yet: the listener's port says more than whoever opened it.
            Some(pid) if !group.never_accepted => Owner::Process(pid),
            _ => Owner::Port(group.port),
        };
        all.entry((owner, group.never_accepted)).or_default().push(group);
    }
    all
}

/// Sockets that were there before the daemon have been in their state for at least as long as it runs. With sockets
/// that the table had no room for, an unknown age says nothing.
fn old_strangers(sample: &Sample, surveyed: Duration, groups: &[&Group], limits: &Limits) -> u64 {
    let has_untracked = sample.shortages.iter().any(|one| one.what == What::Sockets);
    if has_untracked || surveyed < limits.age {
        return 0;
    }
    tell::sum(groups.iter().copied(), |group| group.unknown_age)
}

struct Buildup<'a> {
    sample: &'a Sample,
    namespace: &'a NamespaceSample,
    owner: Owner,
    never_accepted: bool,
    process: Option<Arc<Process>>,
    /// The service, if all are of one.
    listener: Option<std::net::SocketAddr>,
    largest: &'a Group,
    /// The services whose sockets these are.
    ports: BTreeSet<u16>,
    count: u64,
    aged: u64,
    oldest: Duration,
    unread_bytes: u64,
    /// Sockets a minute.
    growth: Option<f64>,
}

impl<'a> Buildup<'a> {
    fn new(
        window: &'a Window,
        namespace: &'a NamespaceSample,
        (owner, never_accepted): (Owner, bool),
        groups: &[&'a Group],
        aged: u64,
    ) -> Self {
        let sample = window.now();
        let largest = tell::largest(groups, |group| group.count).unwrap_or(groups[0]);
        let is_service = largest.role != Some(Role::Active);
        let listener = is_service.then(|| tell::listener(sample, namespace.inode, largest.port)).flatten();
        let pid = match owner {
            Owner::Process(pid) => Some(pid),
            Owner::Port(_) => largest.pid.or_else(|| listener.and_then(|listener| listener.pid)),
        };
        let count = tell::sum(groups.iter().copied(), |group| group.count);
        let growth = tell::oldest_survey(window, namespace, APART).and_then(|then| {
            let now = namespace.survey.as_ref()?.elapsed;
            let mut before = by_owner(&then.groups);
            let was_unnamed = |group: &Group| before.contains_key(&(Owner::Port(group.port), never_accepted));
            if matches!(owner, Owner::Process(_)) && groups.iter().copied().any(was_unnamed) {
                // Some of them may have been there and not have been known as this process's.
                return None;
            }
            let before = before.remove(&(owner, never_accepted)).unwrap_or_default();
            let before = tell::sum(before, |group| group.count);
            let minutes = now.saturating_sub(then.elapsed).as_secs_f64() / 60.0;
            Some((number(count) - number(before)) / minutes)
        });
        Self {
            sample,
            namespace,
            owner,
            never_accepted,
            process: tell::process(sample, pid),
            listener: listener.map(|listener| listener.local),
            largest,
            ports: groups.iter().map(|group| group.port).collect(),
            count,
            aged,
            oldest: tell::oldest(groups.iter().copied()),
            unread_bytes: tell::sum(groups.iter().copied(), |group| group.unread_bytes),
            growth,
        }
    }

    fn files(&self) -> Option<(u64, u64)> {
        // Those never accepted hold no file.
        self.process.as_ref().filter(|_| !self.never_accepted)?.files
    }

    /// At the present growth.
    fn minutes_to_file_limit(&self) -> Option<f64> {
        let (open, limit) = self.files()?;
        let growth = self.growth.filter(|growth| *growth > 0.0)?;
        Some(number(limit.saturating_sub(open)) / growth)
    }

    fn severity(&self, limits: &Limits) -> Severity {
        let is_near = self.files().is_some_and(|(open, most)| tell::share(open, most) >= limits.files_share);
        let is_soon = self
            .minutes_to_file_limit()
            .is_some_and(|minutes| minutes * 60.0 <= limits.files_within.as_secs_f64());
        if is_near || is_soon { Severity::Critical } else { Severity::Warning }
    }

    fn key(&self, owner: Owner) -> String {
        let owner = match owner {
            Owner::Process(pid) => format!("pid-{pid}"),
            Owner::Port(port) => format!("port-{port}"),
        };
        let suffix = if self.never_accepted { ":never_accepted" } else { "" };
        format!("{}:{owner}{suffix}", self.namespace.inode)
    }

    /// The keys of the same sockets while nobody knew whose they are.
    fn earlier_keys(&self) -> Vec<String> {
        match self.owner {
            Owner::Process(_) => self.ports.iter().map(|port| self.key(Owner::Port(*port))).collect(),
            Owner::Port(_) => Vec::new(),
        }
    }

    fn evidence(&self) -> Vec<(&'static str, Evidence)> {
        let mut evidence = vec![
            ("count", Evidence::Count(self.count)),
            ("aged", Evidence::Count(self.aged)),
            ("unread_bytes", Evidence::Count(self.unread_bytes)),
        ];
        if !self.oldest.is_zero() {
            evidence.push(("oldest_seconds", Evidence::Number(self.oldest.as_secs_f64())));
        }
        evidence.extend(self.growth.map(|growth| ("growth_per_minute", Evidence::Number(growth))));
        if let Some((open, limit)) = self.files() {
            evidence.extend([("files", Evidence::Count(open)), ("file_limit", Evidence::Count(limit))]);
        }
        evidence.push(("example_local", Evidence::Text(self.largest.example.local.to_string())));
        evidence.push(("example_remote", Evidence::Text(self.largest.example.remote.to_string())));
        evidence
    }

    fn summary(&self, limits: &Limits) -> String {
        let who = who(self.process.as_deref());
        let did = if self.never_accepted { "has never accepted" } else { "has not closed" };
        let mut text = format!(
            "{who} {did} {} whose peers have closed, for {} or more",
            tell::sockets(self.aged),
            span(limits.age)
        );
        if !self.oldest.is_zero() {
            let _ = write!(text, ", the oldest for {}", span(self.oldest));
        }
        if let Some((open, limit)) = self.files() {
            let _ = write!(text, "; it has {open} of {limit} files open");
        }
        text
    }

    fn meaning(&self) -> String {
        let who = whom(self.process.as_deref());
        if self.never_accepted {
            return format!(
                "The clients connected, gave up and closed while their connections waited for accept(). {who} does \
                 not call accept(), or not often enough; new clients wait just as long."
            );
        }
        let mut text = format!(
            "{who} was told that the peers are finished and never called close(). The kernel waits for that without \
             limit: no timeout and no sysctl ends CLOSE_WAIT. Each of these sockets holds a file and its buffers."
        );
        if let Some(minutes) = self.minutes_to_file_limit() {
            let _ = write!(
                text,
                " At the present growth the file limit is reached in about {minutes:.0} min; then accept() and \
                 open() fail."
            );
        }
        if self.unread_bytes > 0 {
            let _ = write!(
                text,
                " {} bytes were received and never read, so it does not even read these connections.",
                self.unread_bytes
            );
        }
        text
    }

    fn advice(&self) -> Vec<String> {
        let who = whom(self.process.as_deref());
        if self.never_accepted {
            return vec![
                format!("See what keeps {who} from accept(): a stuck thread, a full worker pool, a debugger"),
                String::from("A longer backlog does not help: it only lets more clients wait"),
            ];
        }
        vec![
            format!(
                "Find the path in {who} that gets an end of file (read() gives 0) or an error and does not close: \
                 a response body that is not closed, a connection pool without an idle limit, a stuck worker"
            ),
            format!("Restarting {who} frees all of them, for now"),
            String::from("Do not look for a sysctl: tcp_fin_timeout and keepalive do not end CLOSE_WAIT"),
        ]
    }

    fn verify(&self) -> Vec<String> {
        let side = if self.largest.role == Some(Role::Active) { "dport" } else { "sport" };
        let list = format!("ss -tanpo state close-wait '{side} = :{}'", self.largest.port);
        let pid = self.process.as_ref().map(|process| process.pid);
        let mut commands = vec![tell::inside(self.sample, self.namespace, pid, &list)];
        if let Some(pid) = pid {
            commands.push(format!("ls /proc/{pid}/fd | wc -l; grep 'open files' /proc/{pid}/limits"));
        }
        commands
    }

    fn candidate(self, limits: &Limits) -> Candidate {
        Candidate {
            kind: Kind::CloseWaitBuildup,
            key: self.key(self.owner),
            earlier: self.earlier_keys(),
            severity: self.severity(limits),
            verdict: Some(if self.never_accepted { "never_accepted" } else { "never_closed" }),
            subject: Subject {
                netns: Some(self.namespace.inode),
                listener: self.listener,
                owner: self.process.clone(),
                ..Subject::default()
            },
            confidence: if self.process.is_some() { 0.95 } else { 0.8 },
            evidence: self.evidence(),
            summary: self.summary(limits),
            meaning: self.meaning(),
            advice: self.advice(),
            verify: self.verify(),
        }
    }
}

#[cfg(test)]
mod tests;
