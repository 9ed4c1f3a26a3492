//! Processes by number: read when somebody asks, looked at again now and then, and remembered when they have ended.
//!
//! Sockets outlive the processes that opened them, so what was known of one that has ended is kept for a while. The
//! memory is bounded, and so is the work of one call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcpwatch_common::socket::KERNEL_PID;

use super::cgroups::Cgroups;
use super::owner::{self, Stat};
use super::users::Users;
use crate::process::{Container, Process};
use crate::roster::{Directory, Roster};

/// Processes that are remembered.
const MOST: usize = 4096;

/// Processes that have ended among them.
const MOST_ENDED: usize = 1024;

/// Processes that are read in one call: each costs some 100 microseconds.
const READ_AT_ONCE: usize = 256;

/// Processes that are looked at again in one call: each costs some 20 microseconds.
const LOOK_AT_ONCE: usize = 1024;

/// How long a look at a process counts.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long what was read of it counts: a service can move to another cgroup, and its limits can change.
const READ_EVERY: Duration = Duration::from_mins(1);

/// How long a process is remembered at least that has ended, or that nobody asks for, if there is room.
const REMEMBER: Duration = Duration::from_hours(1);

/// What is known of processes.
#[derive(Debug)]
pub struct Processes {
    /// Usually `/proc`.
    root: PathBuf,
    users: Users,
    users_looked: Option<Instant>,
    known: HashMap<u32, Entry>,
    cgroups: Cgroups,
    /// Who tells what containers and pods are called, if somebody does.
    roster: Option<Roster>,
    /// What was told last, and how often that has changed.
    told: (u64, Arc<Directory>),
}

#[derive(Debug)]
struct Entry {
    process: Arc<Process>,
    /// Tells it from another that has the number later; `None` if it was never read.
    start: Option<u64>,
    read: Option<Instant>,
    looked: Option<Instant>,
    /// When it was asked for last, or found to have ended.
    needed: Instant,
    /// Which telling of the roster it was named by; 0 if by none.
    named: u64,
}

impl Default for Processes {
    fn default() -> Self {
        Self {
            root: "/proc".into(),
            users: Users::default(),
            users_looked: None,
            known: HashMap::new(),
            cgroups: Cgroups::default(),
            roster: None,
            told: Default::default(),
        }
    }
}

impl Processes {
    /// The processes with these numbers, as far as they are known. Those for which this call has no time left are
    /// known at one of the next. 0 stands for none.
    pub fn describe(&mut self, pids: impl Iterator<Item = u32>) -> BTreeMap<u32, Arc<Process>> {
        self.describe_at(pids, Instant::now())
    }

    /// What is in the cgroups of version 2 with these ids, as far as it is known: no process, but a container or a unit.
    pub fn in_cgroups(&mut self, ids: impl Iterator<Item = u32>) -> BTreeMap<u32, Arc<Process>> {
        let told = self.roster.as_ref().map_or_else(|| self.told.clone(), Roster::latest);
        self.cgroups.describe(&self.root, &ids.collect(), &told.1, Instant::now())
    }

    /// Containers and pods are called as the roster has them from now on, once it has them: those of processes that are
    /// known already, too.
    pub fn follow(&mut self, roster: Roster) {
        self.roster = Some(roster);
    }

    /// The kernel side has met a process under this name: it may have ended before it is read.
    pub fn note(&mut self, pid: u32, command: &str) {
        let now = Instant::now();
        if pid == 0 || command.is_empty() || self.known.contains_key(&pid) {
            return;
        }
        self.make_room(now);
        let process = Process { pid, command: Some(command.to_owned()), ..Process::default() };
        self.known.insert(
            pid,
            Entry {
                process: Arc::new(process),
                start: None,
                read: None,
                looked: None,
                needed: now,
                named: 0,
            },
        );
    }

    /// A process as it was described last.
    pub fn get(&self, pid: u32) -> Option<&Arc<Process>> {
        self.known.get(&pid).map(|entry| &entry.process)
    }

    /// The name of a user of this host, as of the last [`Processes::describe`].
    pub fn user(&self, uid: u32) -> Option<&str> {
        self.users.name(uid)
    }

    fn describe_at(&mut self, pids: impl Iterator<Item = u32>, now: Instant) -> BTreeMap<u32, Arc<Process>> {
        self.refresh_users(now);
        if let Some(roster) = &self.roster {
            self.told = roster.latest();
        }
        let (mut reads, mut looks) = (READ_AT_ONCE, LOOK_AT_ONCE);
        let wanted: BTreeSet<u32> = pids.filter(|pid| *pid != 0).collect();
        for pid in &wanted {
            match self.known.get_mut(pid) {
                Some(entry) if entry.looked.is_some_and(|looked| now < looked + LOOK_EVERY) => {}
                Some(entry) if entry.start.is_some() && looks > 0 => {
                    looks -= 1;
                    if !entry.look(&self.root, now) && reads > 0 {
                        reads -= 1;
                        self.read(*pid, now);
                    }
                }
                Some(entry) if entry.start.is_some() => {}
                _ if reads > 0 => {
                    reads -= 1;
                    self.read(*pid, now);
                }
                _ => {}
            }
        }
        let mut described = BTreeMap::new();
        for pid in wanted {
            if let Some(entry) = self.known.get_mut(&pid) {
                if !entry.process.exited {
                    entry.needed = now;
                }
                entry.name(&self.told);
                described.insert(pid, Arc::clone(&entry.process));
            }
        }
        described
    }

    fn refresh_users(&mut self, now: Instant) {
        if self.users_looked.is_none_or(|looked| now >= looked + LOOK_EVERY) {
            self.users_looked = Some(now);
            self.users.refresh();
        }
    }

    /// Reads all of a process that is not known, or is another now.
    fn read(&mut self, pid: u32, now: Instant) {
        let (process, start, read) = match owner::read(&self.root, pid, &self.users) {
            // No process has this number.
            _ if pid == KERNEL_PID => (Process::kernel(), None, Some(now)),
            Ok((process, stat)) => (process, Some(stat.start), Some(now)),
            Err(error) if has_ended(&error) => {
                let known = self.known.get(&pid);
                // Of one that was never read, only the name may be known, or nothing.
                let process = known.map(|entry| Process::clone(&entry.process));
                let process =
                    Process { exited: true, ..process.unwrap_or(Process { pid, ..Process::default() }) };
                (process, known.and_then(|entry| entry.start), None)
            }
            // It is there and may not be read, which is no news of it.
            Err(error) => {
                log::debug!("cannot read what process {pid} is: {error}");
                return;
            }
        };
        if !self.known.contains_key(&pid) {
            self.make_room(now);
        }
        let ended = self.known.get(&pid).filter(|entry| entry.process.exited && process.exited);
        let needed = ended.map_or(now, |entry| entry.needed);
        let known = self.known.get(&pid).and_then(|entry| entry.process.container.as_ref());
        let process = keep_names(process, known);
        let entry = Entry { process: Arc::new(process), start, read, looked: Some(now), needed, named: 0 };
        self.known.insert(pid, entry);
    }

    /// Forgets those that were not needed for long, and if there are still too many, those that were not needed for
    /// longest, a part of them at once.
    fn make_room(&mut self, now: Instant) {
        let ended = self.known.values().filter(|entry| entry.process.exited).count();
        if self.known.len() < MOST && ended < MOST_ENDED {
            return;
        }
        self.known.retain(|_, entry| now < entry.needed + REMEMBER);
        self.forget_most(MOST_ENDED, |entry| entry.process.exited);
        self.forget_most(MOST, |_| true);
    }

    fn forget_most(&mut self, limit: usize, is_one: impl Fn(&Entry) -> bool) {
        let mut ages: Vec<(Instant, u32)> = self
            .known
            .iter()
            .filter(|(_, entry)| is_one(entry))
            .map(|(pid, entry)| (entry.needed, *pid))
            .collect();
        if ages.len() >= limit {
            ages.sort_unstable();
            for (_, pid) in ages.iter().take(ages.len() - limit / 8 * 7) {
                self.known.remove(pid);
            }
        }
    }
}

impl Entry {
    /// A cheap look whether it is still the same process; false if it has to be read again.
    fn look(&mut self, root: &std::path::Path, now: Instant) -> bool {
        let pid = self.process.pid;
        match Stat::read(root, pid) {
            Ok(stat) if Some(stat.start) != self.start => return false,
            Ok(stat) if stat.is_zombie => self.end(now),
            // It runs another program now, or was read too long ago.
            Ok(stat) if self.process.command.as_ref() != Some(&stat.command) => return false,
            Ok(_) if self.read.is_none_or(|read| now >= read + READ_EVERY) => return false,
            Ok(_) => {
                let files = owner::files(root, pid, self.process.files.map(|(_, limit)| limit));
                if files != self.process.files {
                    Arc::make_mut(&mut self.process).files = files;
                }
            }
            Err(error) if has_ended(&error) => self.end(now),
            Err(error) => log::debug!("cannot look at process {pid}: {error}"),
        }
        self.looked = Some(now);
        true
    }

    /// Names its container and pod, if more is told of them than when that was done last.
    fn name(&mut self, told: &(u64, Arc<Directory>)) {
        if self.named == told.0 {
            return;
        }
        self.named = told.0;
        let Some(mut container) = self.process.container.clone() else { return };
        if told.1.complete(&mut container) {
            Arc::make_mut(&mut self.process).container = Some(container);
        }
    }

    fn end(&mut self, now: Instant) {
        if !self.process.exited {
            Arc::make_mut(&mut self.process).exited = true;
            self.needed = now;
        }
    }
}

/// A cgroup tells no names: what the same container was called stays, even if the cluster has forgotten it.
fn keep_names(mut process: Process, known: Option<&Container>) -> Process {
    if let (Some(container), Some(known)) = (&mut process.container, known)
        && container.id == known.id
    {
        container.clone_from(known);
    }
    process
}

fn has_ended(error: &std::io::Error) -> bool {
    // ESRCH: it ended between opening and reading.
    error.kind() == ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

#[cfg(test)]
#[path = "processes_tests.rs"]
mod tests;
