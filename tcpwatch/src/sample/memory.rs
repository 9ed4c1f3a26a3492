//! Who has TCP's memory: what surveys measured, added up by owner.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Group, Memory, Sample};
use crate::process::Process;

/// The kernel's memory in the sockets of one owner.
#[derive(Clone, Debug)]
pub struct Owned {
    /// `None` for all that are not known.
    pub owner: Option<Arc<Process>>,
    pub memory: Memory,
    /// As much of it as connections have that are not accepted yet.
    pub unaccepted: u64,
}

/// Owners with memory in these groups, those with most of it first.
pub fn by_owner<'a>(sample: &Sample, groups: impl Iterator<Item = &'a Group>) -> Vec<Owned> {
    let mut all = BTreeMap::<(Option<u32>, Option<u32>), Owned>::new();
    for group in groups {
        let Some(memory) = group.memory else { continue };
        let owner = owner(sample, group);
        // Where no process is known, its cgroup tells one from the other, if that is known.
        let cgroup = group.cgroup.filter(|_| group.pid.is_none() && owner.is_some());
        let owned = all.entry((group.pid, cgroup)).or_insert_with(|| Owned {
            owner,
            memory: Memory::default(),
            unaccepted: 0,
        });
        owned.memory.add(memory);
        if group.never_accepted {
            owned.unaccepted = owned.unaccepted.saturating_add(memory.total());
        }
    }
    let mut all: Vec<Owned> = all.into_values().filter(|owned| owned.memory.total() > 0).collect();
    all.sort_by_key(|owned| Reverse(owned.memory.total()));
    all
}

/// What is known of the owner: its number at least.
fn owner(sample: &Sample, group: &Group) -> Option<Arc<Process>> {
    let known = sample.owner(group).map(Arc::clone);
    known.or_else(|| Some(Arc::new(Process { pid: group.pid?, ..Process::default() })))
}
