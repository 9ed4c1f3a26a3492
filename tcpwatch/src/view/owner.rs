//! Who owns a socket, as everything shows it.

use std::sync::Arc;

use serde::Serialize;

use crate::process::Process;

/// An owner; all `null` if it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// As the host sees it.
    pub pid: Option<u32>,
    pub process: Option<String>,
    /// Id of its container.
    pub container: Option<String>,
    /// What runs the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<&'static str>,
    /// Uid of the container's pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// systemd unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    pub user: Option<String>,
    /// Path of its cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The process as its container numbers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inner_pid: Option<u32>,
    /// It has ended; this is what was known of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exited: bool,
}

impl Owner {
    /// What is known of an owner.
    pub fn of(process: Option<&Arc<Process>>) -> Self {
        process.map_or_else(Self::default, |process| Self::from(&**process))
    }
}

impl From<&Process> for Owner {
    fn from(process: &Process) -> Self {
        let container = process.container.as_ref();
        Self {
            pid: Some(process.pid),
            process: process.command.clone(),
            container: container.map(|container| container.id.clone()),
            runtime: container.map(|container| container.runtime),
            pod: container.and_then(|container| container.pod.clone()),
            unit: process.unit.clone(),
            user: process.user.clone(),
            inner_pid: process.inner_pid,
            uid: process.uid,
            cgroup: process.cgroup.clone(),
            exited: process.exited,
        }
    }
}
