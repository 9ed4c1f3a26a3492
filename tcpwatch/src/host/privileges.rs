//! What each capability is for, and what is lost without it.
//!
//! A test takes them away one by one on the live kernel (`tests/live/privileges`) and compares; `docs/security.md` shows
//! the same.

use rustix::thread::CapabilitySet;

/// Something that works only with some capabilities.
#[derive(Clone, Copy, Debug)]
pub struct Privilege {
    /// What works with it, in a few words.
    pub name: &'static str,
    /// Any of these sets is enough.
    pub any: &'static [CapabilitySet],
    /// What there is not without it.
    pub lost: &'static str,
    /// The kernels that need no capability for it, if there are any.
    pub free: Option<Free>,
}

/// Kernels on which something is free.
#[derive(Clone, Copy, Debug)]
pub struct Free {
    /// In words.
    pub since: &'static str,
    /// Whether this is one.
    pub is_here: fn() -> bool,
}

const PROGRAMS: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);
const DESCRIPTORS: [CapabilitySet; 2] = [
    CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH),
    CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_OVERRIDE),
];

/// All of them, the most important first.
pub const PRIVILEGES: [Privilege; 6] = [
    Privilege {
        name: "eBPF programs",
        any: &[CapabilitySet::SYS_ADMIN, PROGRAMS],
        lost: "transitions, ages, causes, owners and findings: numbers of sockets by state are left",
        free: None,
    },
    Privilege {
        name: "other network namespaces",
        any: &[CapabilitySet::SYS_ADMIN],
        lost: "in network namespaces other than the daemon's own: sockets older than the daemon, half-open requests, \
            TIME_WAIT, sockets by owner with most findings, and the kernel's own counters",
        free: None,
    },
    Privilege {
        name: "namespaces without a name",
        any: &[CapabilitySet::SYS_PTRACE],
        lost: "network namespaces that are mounted nowhere, as those of many containers, if other users' processes are in \
            them, and the names of users",
        free: None,
    },
    Privilege {
        name: "owners by open files",
        any: &DESCRIPTORS,
        lost: "owners of other users' sockets where only a look at all open files tells them: in answers about single \
            sockets, and in commands without a daemon",
        free: None,
    },
    Privilege {
        name: "numbers of open files",
        any: &[CapabilitySet::DAC_READ_SEARCH, CapabilitySet::DAC_OVERRIDE],
        lost: "how many files processes of other users have open, and so how soon a leak meets its limit",
        free: Some(Free { since: "Linux 6.2", is_here: tells_open_files }),
    },
    Privilege {
        name: "the daemon's program for netstat",
        any: &[CapabilitySet::SYS_ADMIN],
        lost: "ages and owners as the daemon knows them, in `tcpwatch netstat` run with these privileges",
        free: None,
    },
];

impl Privilege {
    /// Whether it works with these capabilities on this kernel.
    pub fn is_had(&self, capabilities: CapabilitySet) -> bool {
        self.free.is_some_and(|free| (free.is_here)())
            || self.any.iter().any(|set| capabilities.contains(*set))
    }
}

/// What does not work with these capabilities.
pub fn lost(capabilities: CapabilitySet) -> impl Iterator<Item = &'static Privilege> {
    static ALL: [Privilege; PRIVILEGES.len()] = PRIVILEGES;
    ALL.iter().filter(move |privilege| !privilege.is_had(capabilities))
}

/// Since Linux 6.2 the size of `/proc/PID/fd` is how many there are, which anybody may see.
fn tells_open_files() -> bool {
    std::fs::metadata("/proc/self/fd").is_ok_and(|directory| directory.len() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_set_is_enough() {
        let had = |set| PRIVILEGES.len() - lost(set).count();
        let free = usize::from(tells_open_files());
        assert_eq!(had(CapabilitySet::empty()), free);
        assert_eq!(had(CapabilitySet::BPF), free, "half of a set");
        assert_eq!(had(PROGRAMS), free + 1);
        assert_eq!(had(CapabilitySet::all()), PRIVILEGES.len());
    }
}
