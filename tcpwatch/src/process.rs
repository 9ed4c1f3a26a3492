//! Who owns sockets.

use std::fmt;

/// A process that owns sockets, or did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// As the host sees it.
    pub pid: u32,
    /// As it sees itself, in its own pid namespace; `None` if that is the same or not known.
    pub inner_pid: Option<u32>,
    pub command: Option<String>,
    pub uid: Option<u32>,
    pub user: Option<String>,
    /// Path of its cgroup (v2 where there is one).
    pub cgroup: Option<String>,
    pub container: Option<Container>,
    /// systemd unit, if it runs in one.
    pub unit: Option<String>,
    /// It has ended; this is what was known of it.
    pub exited: bool,
    /// Open files and the limit on them.
    pub files: Option<(u64, u64)>,
}

/// `nginx (pid 4711)`, as much of it as is known.
impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.command, self.exited) {
            (Some(command), false) => write!(f, "{command} (pid {})", self.pid),
            (Some(command), true) => write!(f, "{command} (pid {}, which has ended)", self.pid),
            (None, false) => write!(f, "the process {}", self.pid),
            (None, true) => write!(f, "the process {} (which has ended)", self.pid),
        }
    }
}

/// A container, by what its cgroup path tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// `docker`, `containerd`, `cri-o` or `podman`; `unknown` where its cgroup does not tell.
    pub runtime: &'static str,
    /// All 64 hexadecimal digits.
    pub id: String,
    /// Uid of its Kubernetes pod.
    pub pod: Option<String>,
}
