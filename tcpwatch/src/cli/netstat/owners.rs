//! Whose sockets are: what a daemon's table tells, and a look at the descriptors of all processes where somebody asks.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::host::descriptors;
use crate::host::processes::Processes;
use crate::process::Process;
use crate::roster::Roster;
use crate::sample::SocketSample;

/// How long owners are looked for among the descriptors of all processes. A million take about two seconds.
const LOOK: Duration = Duration::from_secs(5);

/// Sockets whose owners are looked for at most: some 32 bytes each.
const MOST: usize = 2_000_000;

/// How often processes are read until all are known: [`Processes::describe`] reads a part at a time.
const ROUNDS: usize = 16;

/// What is known of processes and of what they have.
#[derive(Default)]
pub(super) struct Owners {
    processes: Processes,
    by_inode: HashMap<u64, u32>,
    /// Processes that were read since the last look, so that each is read once.
    read: BTreeSet<u32>,
    /// Processes of another host, as its daemon tells them.
    told: Option<HashMap<u32, Process>>,
}

impl Owners {
    /// Forgets what may have changed since the last listing, and reads the names of users.
    pub(super) fn begin(&mut self) {
        self.by_inode.clear();
        self.read.clear();
        self.processes.describe(std::iter::empty());
    }

    /// Takes what a daemon elsewhere knows of processes: those of this host are others.
    pub(super) fn tell(&mut self, told: Option<HashMap<u32, Process>>) {
        self.told = told;
    }

    /// Takes what is known of pods.
    pub(super) fn follow(&mut self, roster: Roster) {
        self.processes.follow(roster);
    }

    /// Looks at the descriptors of all processes; what could not be found is said.
    pub(super) fn look(&mut self) -> Option<String> {
        let found = match descriptors::owners(None, MOST, Instant::now() + LOOK) {
            Ok(found) => found,
            Err(error) => return Some(format!("cannot look for the owners of sockets: {error}")),
        };
        self.by_inode = found.owners;
        let pids: BTreeSet<u32> = self.by_inode.values().copied().collect();
        for _ in 0..ROUNDS {
            if self.processes.describe(pids.iter().copied()).len() == pids.len() {
                break;
            }
        }
        self.read.extend(&pids);
        found.is_partial.then(|| {
            format!(
                "not every owner was found: looking through the descriptors of all processes was ended after {} s",
                LOOK.as_secs()
            )
        })
    }

    /// Gives the socket the owner that its inode number leads to, unless it has one.
    pub(super) fn complete(&mut self, socket: &mut SocketSample) {
        if self.told.is_some() {
            return;
        }
        if socket.pid.is_none()
            && let Some(inode) = socket.inode
        {
            socket.pid = self.by_inode.get(&inode).copied();
        }
        if let Some(pid) = socket.pid
            && self.read.insert(pid)
        {
            self.processes.describe(std::iter::once(pid));
        }
    }

    pub(super) fn of(&self, socket: &SocketSample) -> Option<&Process> {
        match &self.told {
            Some(told) => told.get(&socket.pid?),
            None => self.processes.get(socket.pid?).map(AsRef::as_ref),
        }
    }

    pub(super) fn user(&self, socket: &SocketSample) -> Option<&str> {
        match &self.told {
            Some(_) => self.of(socket)?.user.as_deref(),
            None => self.processes.user(socket.uid?),
        }
    }
}
