//! Which network namespaces there are, and which row of counters each has.
//!
//! The kernel's own list has all of them, where a program can read it: each with its cookie, by which a row is known for
//! certain, also where an inode number is used again. Elsewhere those count that were found by looking for them, and of
//! several rows with one number the newest is taken.

use std::collections::{BTreeMap, HashMap};

use tcpwatch_common::event::Namespace;

use super::Live;
use crate::host::netns::NetnsHandle;
use crate::source::SourceError;

/// A namespace that exists.
#[derive(Clone, Debug)]
pub(super) struct Living {
    pub(super) inode: u64,
    /// What tells it from others that had the same number; `None` if that is not known and it has no row.
    pub(super) key: Option<u64>,
    pub(super) row: Option<u32>,
    /// Where it can be entered; `None` if it cannot.
    pub(super) handle: Option<NetnsHandle>,
    /// TIME_WAIT sockets now, among them those that stand for FIN_WAIT2.
    pub(super) time_wait: Option<u64>,
}

impl Living {
    /// What it is remembered by.
    pub(super) fn identity(&self) -> u64 {
        self.key.unwrap_or(self.inode)
    }
}

/// Rows by what their namespaces are known by.
pub(super) type Rows = HashMap<u64, Namespace>;

impl Live {
    /// Every namespace that exists; those that are neither found nor counted in are left out. Rows of living namespaces are
    /// taken out of `rows`: what is left over is of those that are gone.
    pub(super) fn living(&mut self, rows: &mut Rows) -> Result<Vec<Living>, SourceError> {
        let nets = match self.sweep.as_mut().map(crate::kernel::Sweep::nets) {
            Some(Ok(nets)) => nets,
            Some(Err(error)) => {
                log::debug!("cannot list network namespaces: {error}");
                None
            }
            None => None,
        };
        self.hashes = nets.iter().flatten().map(|net| net.hash).collect();
        let mut living = match nets {
            Some(nets) => {
                self.namespaces.refresh(nets.iter().map(|net| net.inode.into()), true)?;
                let mut handles: BTreeMap<u64, NetnsHandle> =
                    self.namespaces.all().iter().map(|handle| (handle.inode, handle.clone())).collect();
                let living = nets.iter().map(|net| Living {
                    inode: net.inode.into(),
                    key: Some(net.key),
                    row: rows.remove(&net.key).map(|met| met.row),
                    handle: handles.remove(&net.inode.into()),
                    time_wait: net.time_wait_refs.checked_sub(1).map(u64::from),
                });
                living.filter(|one| one.handle.is_some() || one.row.is_some()).collect()
            }
            None => self.living_by_number(rows)?,
        };
        living.sort_unstable_by_key(|one| one.inode);
        Ok(living)
    }

    fn living_by_number(&mut self, rows: &mut Rows) -> Result<Vec<Living>, SourceError> {
        let inodes: Vec<u64> = rows.values().map(|met| met.inode.into()).collect();
        self.namespaces.refresh(inodes.into_iter(), false)?;
        let living = self.namespaces.all().iter().map(|handle| {
            // Cookies mostly grow, so the greatest is most likely the namespace that has the number now.
            let of_it = rows.iter().filter(|(_, met)| u64::from(met.inode) == handle.inode);
            let key = of_it.map(|(key, _)| *key).max();
            Living {
                inode: handle.inode,
                key,
                row: key.and_then(|key| rows.remove(&key)).map(|met| met.row),
                handle: Some(handle.clone()),
                time_wait: None,
            }
        });
        Ok(living.collect())
    }
}
