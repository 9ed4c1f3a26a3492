//! Who owns sockets.

use std::borrow::Cow;
use std::fmt;

use tcpwatch_common::socket::KERNEL_PID;

/// What the kernel is called as an owner of sockets.
pub const KERNEL: &str = "kernel";

/// What stands before the path of a pod in texts.
pub const IN_POD: &str = " in pod ";

/// A process that owns sockets, or did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// As the host sees it; 0 where it is only known in which cgroup the process runs, or ran.
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

impl Process {
    /// What stands for the kernel itself where the owner of a socket is a process otherwise.
    pub fn kernel() -> Self {
        Self { pid: KERNEL_PID, command: Some(KERNEL.into()), ..Self::default() }
    }

    pub const fn is_kernel(&self) -> bool {
        self.pid == KERNEL_PID
    }

    /// Its Kubernetes pod.
    pub fn pod(&self) -> Option<&Pod> {
        self.container.as_ref()?.pod.as_ref()
    }
}

/// `nginx (pid 4711) in pod shop/web-7d9f-abcde`, as much of it as is known.
impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_kernel() {
            return f.write_str("the kernel itself");
        }
        if self.pid == 0 {
            f.write_str("an unknown process")?;
            return match (&self.container, self.pod().and_then(Pod::path), &self.unit) {
                (_, Some(pod), _) => write!(f, "{IN_POD}{pod}"),
                (Some(container), ..) => write!(f, " in container {}", container.short_id()),
                (None, None, Some(unit)) => write!(f, " of {unit}"),
                _ => Ok(()),
            };
        }
        match (&self.command, self.exited) {
            (Some(command), false) => write!(f, "{command} (pid {})", self.pid),
            (Some(command), true) => write!(f, "{command} (pid {}, which has ended)", self.pid),
            (None, false) => write!(f, "the process {}", self.pid),
            (None, true) => write!(f, "the process {} (which has ended)", self.pid),
        }?;
        self.pod().and_then(Pod::path).map_or(Ok(()), |pod| write!(f, "{IN_POD}{pod}"))
    }
}

/// A container, by what its cgroup path tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// `docker`, `containerd`, `cri-o` or `podman`; `unknown` where its cgroup does not tell.
    pub runtime: &'static str,
    /// All 64 hexadecimal digits.
    pub id: String,
    /// What its pod calls it; only Kubernetes tells.
    pub name: Option<String>,
    /// Its Kubernetes pod.
    pub pod: Option<Pod>,
}

/// Digits of a container's id that people see.
const SHORT_ID: usize = 12;

impl Container {
    /// The beginning of its id, as `docker ps` shows it.
    pub fn short_id(&self) -> &str {
        self.id.get(..SHORT_ID).unwrap_or(&self.id)
    }

    /// Where it runs, in a word: its pod, if that is known, else the beginning of its id.
    pub fn place(&self) -> Cow<'_, str> {
        self.pod.as_ref().and_then(Pod::path).map_or_else(|| self.short_id().into(), Cow::from)
    }

    /// What it is called where it runs: its name in its pod, else the beginning of its id.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.short_id())
    }
}

/// A Kubernetes pod. Its cgroup tells the uid, only the cluster the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    pub uid: String,
    pub namespace: Option<String>,
    pub name: Option<String>,
    /// What keeps it running.
    pub workload: Option<Workload>,
}

impl Pod {
    /// `shop/web-7d9f-abcde`; nothing if its name is not known.
    pub fn path(&self) -> Option<String> {
        let name = self.name.as_deref()?;
        Some(
            self.namespace
                .as_deref()
                .map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}")),
        )
    }
}

/// The controller on top of a pod: a Deployment, not its `ReplicaSet`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// In lower case: `deployment`.
    pub kind: String,
    pub name: String,
}
