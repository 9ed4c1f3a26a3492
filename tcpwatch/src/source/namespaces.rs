//! The network namespaces of the host, looked for again every now and then.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::host::caps;
use crate::host::netns::{Discovery, NetnsError, NetnsHandle, discover};

/// How often namespaces are looked for: a look costs some microseconds per process.
const EVERY: Duration = Duration::from_secs(10);

/// The same where the kernel lists them all: then new ones are known without looking, and only names may have changed.
const EVERY_IF_LISTED: Duration = Duration::from_mins(1);

/// How soon a namespace that the kernel side tells of is looked for.
const SOON: Duration = Duration::from_secs(1);

/// What was found, and when.
#[derive(Debug)]
pub(super) struct Namespaces {
    found: Discovery,
    looked: Instant,
    /// Numbers that the kernel side knew and a look did not find: not a reason to look again.
    not_found: HashSet<u64>,
    is_stale: bool,
}

impl Namespaces {
    pub(super) fn look() -> Result<Self, NetnsError> {
        Ok(Self { found: discover()?, looked: Instant::now(), not_found: HashSet::new(), is_stale: false })
    }

    /// Looks again if it is time to, or if one of `met` is not known. `is_all`: these are all that there are.
    pub(super) fn refresh(&mut self, met: impl Iterator<Item = u64>, is_all: bool) -> Result<(), NetnsError> {
        let age = self.looked.elapsed();
        if age < SOON {
            return Ok(());
        }
        let known: HashSet<u64> = self.found.namespaces.iter().map(|found| found.inode).collect();
        let unknown: Vec<u64> = met.filter(|inode| !known.contains(inode)).collect();
        let is_new = |inode: &u64| !self.not_found.contains(inode);
        let every = if is_all { EVERY_IF_LISTED } else { EVERY };
        if age < every && !self.is_stale && !unknown.iter().any(is_new) {
            return Ok(());
        }
        self.found = discover()?;
        self.looked = Instant::now();
        self.is_stale = false;
        self.not_found = unknown.into_iter().filter(|inode| !self.is_known(*inode)).collect();
        Ok(())
    }

    /// Has the next refresh look again: a namespace could not be entered where it was found.
    pub(super) fn look_soon(&mut self) {
        self.is_stale = true;
    }

    pub(super) fn all(&self) -> &[NetnsHandle] {
        &self.found.namespaces
    }

    /// What may be missing, for a person, because processes hide their namespaces from us.
    ///
    /// Some sandboxes have one that nobody may look at: who has the right to is not told of it.
    pub(super) fn hidden(&self) -> Option<String> {
        let count = self.found.unreadable;
        log::debug!("{count} processes hide their network namespace");
        let may_look = caps::effective().is_ok_and(caps::may_look_at_processes);
        (count > 0 && !may_look).then(|| {
            format!(
                "{count} processes of other users hide their network namespaces, whose sockets may be missing: \
                 it takes CAP_SYS_PTRACE to see them"
            )
        })
    }

    fn is_known(&self, inode: u64) -> bool {
        self.found.namespaces.iter().any(|namespace| namespace.inode == inode)
    }
}
