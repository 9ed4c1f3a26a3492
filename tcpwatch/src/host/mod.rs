//! What the daemon reads from the host beside its eBPF programs.
//!
//! Counters of `/proc/net`, the list of network namespaces and the way into
//! them, socket tables over netlink (with a `/proc` fallback), sysctls, what
//! processes are and which sockets they have, and the giving up of capabilities. Everything here is synchronous and acts on
//! the calling thread: a network namespace and a capability set belong to one
//! thread, not to the process.

pub mod caps;
mod cgroup;
mod cgroups;
pub mod clock;
pub mod descriptors;
pub mod diag;
mod diag_wire;
pub mod local;
pub mod netns;
pub mod owner;
pub mod privileges;
pub mod proc_net;
pub mod process;
pub mod processes;
pub mod procfs;
pub mod resolver;
pub mod sysctl;
pub mod terminal;
pub mod users;

#[cfg(test)]
mod testns;

/// The name of this host; `None` if it has none.
pub fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    (!name.is_empty()).then_some(name)
}

/// The running kernel's release, as `uname -r` has it.
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// What tells this boot of this machine from all others; `None` if the kernel does not tell.
pub fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}
