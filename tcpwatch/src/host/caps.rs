//! Gives up the capabilities the daemon does not need.
//!
//! Capabilities and the no-new-privileges flag belong to a thread and pass on
//! to the threads it starts afterwards. So [`drop_to`] must be called on the
//! main thread before any other thread is started; a thread that already runs
//! keeps all it has. [`Dropped::other_threads`] tells whether there were any.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_ambient_set, capability_is_in_bounding_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};
use std::io;

/// Why capabilities could not be read or given up.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot {what} of this thread: {source}; the daemon would run with more privileges than it \
     needs. A seccomp filter or security module of the container may forbid it"
)]
pub struct CapsError {
    what: &'static str,
    source: io::Error,
}

/// What is left after [`drop_to`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Capabilities in force. What was asked for and is not here, the thread
    /// never had.
    pub effective: Vec<String>,
    /// Capabilities that could not be taken out of the bounding set (that needs
    /// `CAP_SETPCAP`). Harmless: with no-new-privileges no exec can gain them.
    pub still_bounding: Vec<String>,
    /// Threads that existed already and therefore keep their capabilities.
    pub other_threads: usize,
}

/// What a running daemon needs: to enter network namespaces (`SYS_ADMIN`), to open those of other users' processes
/// (`SYS_PTRACE`, `DAC_READ_SEARCH`), and eBPF maps and iterators, which some kernels refuse without (`BPF`,
/// `PERFMON`).
pub fn sampling() -> CapabilitySet {
    CapabilitySet::SYS_ADMIN
        | CapabilitySet::SYS_PTRACE
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::BPF
        | CapabilitySet::PERFMON
}

/// Clears every capability outside `keep` from all five sets of the calling
/// thread and forbids gaining any by exec. Cannot be undone.
pub fn drop_to(keep: CapabilitySet) -> Result<Dropped, CapsError> {
    // Bounding first: it needs CAP_SETPCAP, which goes in the next step.
    let mut still_bounding = CapabilitySet::empty();
    for cap in known().filter(|cap| !keep.contains(*cap)) {
        if capability_is_in_bounding_set(cap).unwrap_or(false)
            && remove_capability_from_bounding_set(cap).is_err()
        {
            still_bounding |= cap;
        }
        if capability_is_in_ambient_set(cap).unwrap_or(false) {
            configure_capability_in_ambient_set(cap, false)
                .map_err(fail("lower the ambient capabilities"))?;
        }
    }
    let had = sets()?;
    set_capabilities(
        None,
        CapabilitySets {
            effective: had.effective & keep,
            permitted: had.permitted & keep,
            inheritable: had.inheritable & keep,
        },
    )
    .map_err(fail("drop the capabilities"))?;
    set_no_new_privs(true).map_err(fail("set no-new-privileges"))?;
    Ok(Dropped {
        effective: names(effective()?),
        still_bounding: names(still_bounding),
        other_threads: other_threads(),
    })
}

/// Whether they let one look at processes of other users.
pub fn may_look_at_processes(set: CapabilitySet) -> bool {
    set.contains(CapabilitySet::SYS_PTRACE)
}

/// The capabilities in force on the calling thread.
pub fn effective() -> Result<CapabilitySet, CapsError> {
    Ok(sets()?.effective)
}

/// Names as in `CAP_SYS_ADMIN`; those without a name yet as `CAP_41`.
pub fn names(set: CapabilitySet) -> Vec<String> {
    let name_of = |cap: CapabilitySet| match cap.iter_names().next() {
        Some((name, _)) => format!("CAP_{name}"),
        None => format!("CAP_{}", cap.bits().trailing_zeros()),
    };
    bits().filter(|cap| set.contains(*cap)).map(name_of).collect()
}

fn sets() -> Result<CapabilitySets, CapsError> {
    capabilities(None).map_err(fail("read the capabilities"))
}

fn bits() -> impl Iterator<Item = CapabilitySet> {
    (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit))
}

/// The capabilities this kernel knows; asking for others is an error.
fn known() -> impl Iterator<Item = CapabilitySet> {
    bits().take_while(|cap| capability_is_in_bounding_set(*cap) != Err(Errno::INVAL))
}

fn other_threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count().saturating_sub(1))
}

fn fail(what: &'static str) -> impl Fn(Errno) -> CapsError {
    move |errno| CapsError { what, source: errno.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hexadecimal line `field` of the calling thread's status file.
    fn status(field: &str) -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = text.lines().find(|line| line.starts_with(field)).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    }

    #[test]
    fn names_known_and_unknown() {
        let set = CapabilitySet::SYS_ADMIN | CapabilitySet::from_bits_retain(1 << 60);
        assert_eq!(names(set), ["CAP_SYS_ADMIN", "CAP_60"]);
        assert!(names(CapabilitySet::empty()).is_empty());
        assert!(known().count() >= 40);
    }

    #[test]
    fn all_sets_shrink_on_this_thread_only() {
        let before = effective().unwrap();
        std::thread::spawn(|| {
            let keep = CapabilitySet::SYS_ADMIN | CapabilitySet::BPF;
            // Something to clear from the inheritable and ambient sets.
            let mut sets = capabilities(None).unwrap();
            sets.inheritable = CapabilitySet::CHOWN | CapabilitySet::BPF;
            set_capabilities(None, sets).unwrap();
            configure_capability_in_ambient_set(CapabilitySet::CHOWN, true).unwrap();
            configure_capability_in_ambient_set(CapabilitySet::BPF, true).unwrap();

            let dropped = drop_to(keep).unwrap();
            assert_eq!(dropped.effective, ["CAP_SYS_ADMIN", "CAP_BPF"]);
            assert!(dropped.still_bounding.is_empty());
            assert!(dropped.other_threads > 0);
            for set in ["CapEff", "CapPrm", "CapBnd"] {
                assert_eq!(status(set), keep.bits(), "{set}");
            }
            for set in ["CapInh", "CapAmb"] {
                assert_eq!(status(set), CapabilitySet::BPF.bits(), "{set}");
            }
            assert_eq!(status("NoNewPrivs"), 1);
            // A second call has no CAP_SETPCAP left and says so.
            let again = drop_to(CapabilitySet::BPF).unwrap();
            assert_eq!(again.effective, ["CAP_BPF"]);
            assert_eq!(again.still_bounding, ["CAP_SYS_ADMIN"]);
            let child = std::thread::spawn(effective).join().unwrap().unwrap();
            assert_eq!(child, CapabilitySet::BPF);
        })
        .join()
        .unwrap();
        assert_eq!(effective().unwrap(), before);
    }
}
