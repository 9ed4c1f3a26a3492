//! The network namespaces of the host, looked for again every now and then.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::host::netns::{Discovery, NetnsError, NetnsHandle, discover};

/// How often namespaces are looked for: a look costs some microseconds per process.
const EVERY: Duration = Duration::from_secs(10);

/// How soon a namespace that the kernel side tells of is looked for.
const SOON: Duration = Duration::from_secs(1);

/// What was found, and when.
#[derive(Debug)]
pub(super) struct Namespaces {
    found: Discovery,
    looked: Instant,
    /// Numbers that the kernel side knew and a look did not find: not a reason to look again.
    not_found: HashSet<u64>,
}

impl Namespaces {
    pub(super) fn look() -> Result<Self, NetnsError> {
        Ok(Self { found: discover()?, looked: Instant::now(), not_found: HashSet::new() })
    }

    /// Looks again if it is time to, or if one of `met` is not known.
    pub(super) fn refresh(&mut self, met: impl Iterator<Item = u64>) -> Result<(), NetnsError> {
        let age = self.looked.elapsed();
        if age < SOON {
            return Ok(());
        }
        let unknown: Vec<u64> = met.filter(|inode| !self.is_known(*inode)).collect();
        let is_new = |inode: &u64| !self.not_found.contains(inode);
        if age < EVERY && !unknown.iter().any(is_new) {
            return Ok(());
        }
        self.found = discover()?;
        self.looked = Instant::now();
        self.not_found = unknown.into_iter().filter(|inode| !self.is_known(*inode)).collect();
        Ok(())
    }

    pub(super) fn all(&self) -> &[NetnsHandle] {
        &self.found.namespaces
    }

    /// Processes whose namespace may not be seen.
    pub(super) fn unreadable(&self) -> usize {
        self.found.unreadable
    }

    fn is_known(&self, inode: u64) -> bool {
        self.found.namespaces.iter().any(|namespace| namespace.inode == inode)
    }
}
