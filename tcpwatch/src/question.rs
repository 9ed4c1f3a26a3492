//! Questions about single sockets, answered by one walk over all of them.
//!
//! There can be a million sockets, so nothing is kept of a walk but the oldest that were asked for. All who ask at
//! the same time share a walk.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::filter::{Filter, SocketFacts};
use crate::host::descriptors;
use crate::host::processes::Processes;
use crate::process::Process;
use crate::sample::SocketSample;
use crate::source::{Source, SourceError};

/// Sockets that one answer can hold.
pub const MOST: usize = 10_000;

/// How long owners are looked for among the descriptors of all processes.
const LOOK: Duration = Duration::from_secs(2);

/// Sockets whose owners are looked for before a walk, if the filter asks for owners: some 32 bytes each.
const MOST_OWNERS: usize = 500_000;

/// Processes that a walk may stop for to read them, as no descriptor told of them before.
const MOST_READ: usize = 1024;

/// How often processes are read again and again until all are known: [`Processes::describe`] reads a part at a time.
const ROUNDS: usize = 16;

/// Which sockets are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub filter: Filter,
    /// How many are shown; never more than [`MOST`].
    pub limit: usize,
}

/// The sockets there are.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub at: SystemTime,
    /// Those longest in their state first, those for which that is not known last.
    pub sockets: Vec<(SocketSample, Option<Arc<Process>>)>,
    /// All that match, shown or not.
    pub total: u64,
    /// What could not be looked at, for a person.
    pub problems: Vec<String>,
}

/// Answers all questions by one walk.
pub fn answer(source: &mut dyn Source, questions: &[Question]) -> Result<Vec<Answer>, SourceError> {
    // The source cannot lend it while it walks.
    let mut processes = mem::take(source.processes());
    let answers = Walk::new(questions, &mut processes).run(source);
    *source.processes() = processes;
    answers
}

/// A walk on behalf of several who ask.
struct Walk<'a> {
    questions: &'a [Question],
    processes: &'a mut Processes,
    needs_owner: bool,
    /// Processes that may still be read on the way.
    reads: usize,
    /// Owners of sockets by the sockets' inode numbers, if they were looked for.
    owners: HashMap<u64, u32>,
    found: Vec<Found>,
    problems: Vec<String>,
}

/// What one question has found so far.
#[derive(Default)]
struct Found {
    /// The youngest on top, to be replaced by an older one.
    oldest: BinaryHeap<Ranked>,
    total: u64,
}

impl<'a> Walk<'a> {
    fn new(questions: &'a [Question], processes: &'a mut Processes) -> Self {
        Self {
            questions,
            processes,
            needs_owner: questions.iter().any(|question| question.filter.needs_owner()),
            reads: MOST_READ,
            owners: HashMap::new(),
            found: questions.iter().map(|_| Found::default()).collect(),
            problems: Vec::new(),
        }
    }

    fn run(mut self, source: &mut dyn Source) -> Result<Vec<Answer>, SourceError> {
        // Also when nobody asks for owners: this reads the names of users.
        self.processes.describe(std::iter::empty());
        if self.needs_owner {
            self.look_for_owners(None, MOST_OWNERS);
            let pids: BTreeSet<u32> = self.owners.values().copied().collect();
            self.describe(&pids);
        }
        let questions = self.questions;
        let is_wanted = |netns| questions.iter().any(|question| question.filter.admits_netns(netns));
        let problems = source.sockets(&is_wanted, &mut |socket| self.meet(socket))?;
        self.problems.extend(problems);
        Ok(self.finish())
    }

    /// Offers a socket to every question.
    fn meet(&mut self, socket: &SocketSample) {
        let mut socket = *socket;
        let mut owner = None;
        if self.needs_owner {
            socket.pid = self.owner_of(&socket);
            if let Some(pid) = socket.pid {
                if self.reads > 0 && self.processes.get(pid).is_none() {
                    self.reads -= 1;
                    self.processes.describe(std::iter::once(pid));
                }
                owner = self.processes.get(pid).map(Arc::as_ref);
            }
        }
        let user = socket.uid.and_then(|uid| self.processes.user(uid));
        let facts = SocketFacts::new(&socket, owner, user);
        for (question, found) in self.questions.iter().zip(&mut self.found) {
            if question.filter.matches(&facts) {
                found.add(&socket, question.limit.min(MOST));
            }
        }
    }

    fn owner_of(&self, socket: &SocketSample) -> Option<u32> {
        socket.pid.or_else(|| self.owners.get(&socket.inode?).copied())
    }

    /// Gives the sockets that are shown their owners.
    fn finish(mut self) -> Vec<Answer> {
        let at = SystemTime::now();
        if !self.needs_owner {
            let shown = self.found.iter().flat_map(|found| &found.oldest).map(|ranked| &ranked.0);
            let lonely: BTreeSet<u64> =
                shown.filter(|socket| socket.pid.is_none()).filter_map(|socket| socket.inode).collect();
            if !lonely.is_empty() {
                self.look_for_owners(Some(&lonely), lonely.len());
            }
        }
        let mut shown: Vec<(Vec<SocketSample>, u64)> = Vec::new();
        for found in mem::take(&mut self.found) {
            let sockets = found
                .oldest
                .into_sorted_vec()
                .into_iter()
                .map(|Ranked(socket)| SocketSample { pid: self.owner_of(&socket), ..socket });
            shown.push((sockets.collect(), found.total));
        }
        let pids = shown.iter().flat_map(|(sockets, _)| sockets).filter_map(|socket| socket.pid).collect();
        self.describe(&pids);
        let Self { processes, problems, .. } = self;
        let with_owner = |socket: SocketSample| {
            let owner = socket.pid.and_then(|pid| processes.get(pid)).map(Arc::clone);
            (socket, owner)
        };
        let answer = |(sockets, total): (Vec<SocketSample>, u64)| Answer {
            at,
            sockets: sockets.into_iter().map(with_owner).collect(),
            total,
            problems: problems.clone(),
        };
        shown.into_iter().map(answer).collect()
    }

    fn look_for_owners(&mut self, wanted: Option<&BTreeSet<u64>>, most: usize) {
        match descriptors::owners(wanted, most, Instant::now() + LOOK) {
            Ok(found) => {
                if found.is_partial {
                    self.problems.push(format!(
                        "not every owner was found: looking through the descriptors of all processes was ended \
                         after {} sockets or {} s",
                        found.owners.len(),
                        LOOK.as_secs()
                    ));
                }
                self.owners = found.owners;
            }
            Err(error) => self.problems.push(format!("cannot look for the owners of sockets: {error}")),
        }
    }

    /// Has all of them read, or as many as may be.
    fn describe(&mut self, pids: &BTreeSet<u32>) {
        for _ in 0..ROUNDS {
            if self.processes.describe(pids.iter().copied()).len() == pids.len() {
                return;
            }
        }
    }
}

impl Found {
    fn add(&mut self, socket: &SocketSample, limit: usize) {
        self.total += 1;
        let ranked = Ranked(*socket);
        if self.oldest.len() < limit {
            self.oldest.push(ranked);
        } else if let Some(mut youngest) = self.oldest.peek_mut()
            && ranked < *youngest
        {
            *youngest = ranked;
        }
    }
}

/// A socket by its place in an answer: the oldest first.
struct Ranked(SocketSample);

impl Ranked {
    fn rank(&self) -> impl Ord + use<> {
        let Self(socket) = self;
        let age = |age: Option<Duration>| (age.is_none(), Reverse(age));
        (age(socket.age), age(socket.lifetime), socket.netns, socket.local, socket.remote, socket.id)
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

#[cfg(test)]
mod tests;
