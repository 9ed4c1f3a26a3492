//! Who owns sockets.

use serde::Serialize;

use crate::process::Process;

/// A process as everything shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Owner {
    pub pid: u32,
    /// In its own pid namespace, if that is another number.
    pub inner_pid: Option<u32>,
    pub process: Option<String>,
    pub uid: Option<u32>,
    pub user: Option<String>,
    /// The container's id, all of it.
    pub container: Option<String>,
    pub runtime: Option<&'static str>,
    /// Uid of the Kubernetes pod.
    pub pod: Option<String>,
    pub unit: Option<String>,
    pub cgroup: Option<String>,
    /// It has ended; this is what was known of it.
    pub exited: bool,
}

impl From<&Process> for Owner {
    fn from(process: &Process) -> Self {
        let container = process.container.as_ref();
        Self {
            pid: process.pid,
            inner_pid: process.inner_pid,
            process: process.command.clone(),
            uid: process.uid,
            user: process.user.clone(),
            container: container.map(|container| container.id.clone()),
            runtime: container.map(|container| container.runtime),
            pod: container.and_then(|container| container.pod.clone()),
            unit: process.unit.clone(),
            cgroup: process.cgroup.clone(),
            exited: process.exited,
        }
    }
}
