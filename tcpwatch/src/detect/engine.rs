//! The history of findings: when each began, when it ended.
//!
//! A finding opens at once, as detectors demand by themselves that a trouble lasts. It closes only after it has not
//! been seen for a while, and one that comes back soon after is the same one again, as is one whose owner becomes
//! known. Time is that of the samples.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, SystemTime};

use crate::finding::{Candidate, Finding, Kind};

/// Closed findings that are remembered, and for how long.
const MOST_CLOSED: usize = 256;
const REMEMBERED: Duration = Duration::from_hours(1);

/// How findings close.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    pub close_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { close_after: Duration::from_secs(10) }
    }
}

/// All findings at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// The worst first, then the oldest.
    pub open: Vec<Finding>,
    /// Of the last hour, the latest first.
    pub closed: Vec<Finding>,
    /// What this sample opened and closed, for the log.
    pub opened_now: Vec<Finding>,
    pub closed_now: Vec<Finding>,
    /// Findings ever opened; a kind that never was is absent.
    pub totals: BTreeMap<Kind, u64>,
}

/// When a sample was taken: by the wall clock, and since the source was opened.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub at: SystemTime,
    pub elapsed: Duration,
}

#[derive(Debug)]
struct Open {
    finding: Finding,
    /// The first sample without it since it was last seen.
    missing_since: Option<Duration>,
}

#[derive(Debug)]
struct Closed {
    finding: Finding,
    when: Duration,
}

/// Remembers findings from sample to sample.
#[derive(Debug, Default)]
pub struct Engine {
    /// By id.
    open: BTreeMap<String, Open>,
    /// The latest last.
    closed: VecDeque<Closed>,
    totals: BTreeMap<Kind, u64>,
}

impl Engine {
    /// Takes what was seen at the next sample.
    pub fn apply(&mut self, seen: Vec<Candidate>, now: Moment, limits: &Limits) -> Findings {
        let mut seen = by_id(seen);
        let closed_now = self.go_on(&mut seen, now, limits);
        let opened_now: Vec<Finding> =
            seen.into_iter().filter_map(|(id, candidate)| self.open(id, candidate, now, limits)).collect();
        self.forget(now);
        let mut open: Vec<Finding> = self.open.values().map(|open| open.finding.clone()).collect();
        open.sort_by(|a, b| b.seen.severity.cmp(&a.seen.severity).then(a.since.cmp(&b.since)));
        let closed = self.closed.iter().rev().map(|closed| closed.finding.clone()).collect();
        Findings { open, closed, opened_now, closed_now, totals: self.totals.clone() }
    }

    /// Takes out of `seen` what is open already, and closes what has been missing for too long.
    fn go_on(
        &mut self,
        seen: &mut BTreeMap<String, Candidate>,
        now: Moment,
        limits: &Limits,
    ) -> Vec<Finding> {
        let known: BTreeSet<String> =
            self.open.values().flat_map(|open| [open.finding.id.clone(), open.finding.seen.id()]).collect();
        for open in self.open.values_mut() {
            match take(seen, &open.finding, &known) {
                Some(mut candidate) => {
                    // Who it was is still so when the process or its listener has gone.
                    let known = &open.finding.seen.subject;
                    let subject = &mut candidate.subject;
                    subject.owner = subject.owner.take().or_else(|| known.owner.clone());
                    subject.listener = subject.listener.or(known.listener);
                    open.finding.seen = candidate;
                    open.missing_since = None;
                }
                // A pause between samples says nothing: only samples without it count.
                None => _ = open.missing_since.get_or_insert(now.elapsed),
            }
        }
        let is_over = |open: &Open| {
            open.missing_since.is_some_and(|since| now.elapsed.saturating_sub(since) >= limits.close_after)
        };
        let over: Vec<String> =
            self.open.iter().filter(|(_, open)| is_over(open)).map(|(id, _)| id.clone()).collect();
        let mut closed_now = Vec::new();
        for id in over {
            if let Some(Open { mut finding, .. }) = self.open.remove(&id) {
                finding.closed = Some(now.at);
                self.closed.push_back(Closed { finding: finding.clone(), when: now.elapsed });
                closed_now.push(finding);
            }
        }
        closed_now
    }

    /// `None` for what is part of one that is open: the rest without an owner of what has one now.
    fn open(&mut self, id: String, seen: Candidate, now: Moment, limits: &Limits) -> Option<Finding> {
        if self.open.contains_key(&id) {
            return None;
        }
        let is_same = |closed: &Closed| {
            let is_young = now.elapsed.saturating_sub(closed.when) < limits.close_after;
            is_young && closed.finding.is(&seen) && !self.open.contains_key(&closed.finding.id)
        };
        let again = self.closed.iter().rposition(is_same).and_then(|place| self.closed.remove(place));
        if again.is_none() {
            *self.totals.entry(seen.kind).or_default() += 1;
        }
        let (id, since) = again.map_or((id, now.at), |Closed { finding, .. }| (finding.id, finding.since));
        let finding = Finding { id: id.clone(), since, closed: None, seen };
        self.open.insert(id, Open { finding: finding.clone(), missing_since: None });
        Some(finding)
    }

    fn forget(&mut self, now: Moment) {
        let too_many = self.closed.len().saturating_sub(MOST_CLOSED);
        self.closed.drain(..too_many);
        self.closed.retain(|closed| now.elapsed.saturating_sub(closed.when) < REMEMBERED);
    }
}

/// Takes out what is seen now of an open finding. `known` are the ids of all that are open.
fn take(
    seen: &mut BTreeMap<String, Candidate>,
    finding: &Finding,
    known: &BTreeSet<String>,
) -> Option<Candidate> {
    let as_known = seen.remove(&finding.seen.id()).or_else(|| seen.remove(&finding.id));
    as_known.or_else(|| {
        let is_named =
            |(id, candidate): &(&String, &Candidate)| !known.contains(*id) && finding.is(candidate);
        let named = seen.iter().find(is_named).map(|(id, _)| id.clone())?;
        seen.remove(&named)
    })
}

/// Of two with one id the worse counts.
fn by_id(seen: Vec<Candidate>) -> BTreeMap<String, Candidate> {
    let mut all: BTreeMap<String, Candidate> = BTreeMap::new();
    for candidate in seen {
        let id = candidate.id();
        let is_worse = |known: &Candidate| candidate.severity > known.severity;
        if all.get(&id).is_none_or(is_worse) {
            all.insert(id, candidate);
        }
    }
    all
}

#[cfg(test)]
mod tests;
