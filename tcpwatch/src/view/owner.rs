//! Who owns a socket, as everything shows it.

use std::sync::Arc;

use serde::Serialize;

use crate::process::Process;

/// An owner; all `null` if it is not known. Without a `pid` it is only known where it runs.
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
    /// Its name in its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    /// Uid of the container's pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// That of Kubernetes that the pod is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The controller on top of the pod, such as a Deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// What that is: `deployment`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_type: Option<String>,
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
    /// The kernel itself has the socket, and no process.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub kernel: bool,
}

impl Owner {
    /// What is known of an owner.
    pub fn of(process: Option<&Arc<Process>>) -> Self {
        process.map_or_else(Self::default, |process| Self::from(&**process))
    }
}

impl From<&Process> for Owner {
    fn from(process: &Process) -> Self {
        if process.is_kernel() {
            return Self { kernel: true, ..Self::default() };
        }
        let container = process.container.as_ref();
        let pod = process.pod();
        let workload = pod.and_then(|pod| pod.workload.as_ref());
        Self {
            pid: (process.pid != 0).then_some(process.pid),
            process: process.command.clone(),
            container: container.map(|container| container.id.clone()),
            runtime: container.map(|container| container.runtime),
            container_name: container.and_then(|container| container.name.clone()),
            pod: pod.map(|pod| pod.uid.clone()),
            pod_name: pod.and_then(|pod| pod.name.clone()),
            namespace: pod.and_then(|pod| pod.namespace.clone()),
            workload: workload.map(|workload| workload.name.clone()),
            workload_type: workload.map(|workload| workload.kind.clone()),
            unit: process.unit.clone(),
            user: process.user.clone(),
            inner_pid: process.inner_pid,
            uid: process.uid,
            cgroup: process.cgroup.clone(),
            exited: process.exited,
            kernel: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Container, Pod, Workload};

    #[test]
    fn the_kernel_is_no_process() {
        let shown = serde_json::to_value(Owner::from(&Process::kernel())).expect("JSON");
        let expected = serde_json::json!({"pid": null, "process": null, "container": null, "user": null, "kernel": true});
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_pod_is_shown_as_far_as_it_is_known() {
        let shown = |pod: Pod, name: Option<&str>| {
            let container = Container {
                runtime: "containerd",
                id: "ab12".into(),
                name: name.map(str::to_owned),
                pod: Some(pod),
            };
            let process = Process { pid: 7, container: Some(container), ..Process::default() };
            serde_json::to_value(Owner::from(&process)).expect("JSON")
        };
        let pod = Pod { uid: "u-1".into(), ..Pod::default() };
        let id_only = serde_json::json!({
            "pid": 7, "process": null, "container": "ab12", "runtime": "containerd", "pod": "u-1", "user": null,
        });
        assert_eq!(shown(pod.clone(), None), id_only);
        let workload = Workload { kind: "deployment".into(), name: "web".into() };
        let pod = Pod {
            namespace: Some("shop".into()),
            name: Some("web-1".into()),
            workload: Some(workload),
            ..pod
        };
        let all = serde_json::json!({
            "pid": 7, "process": null, "container": "ab12", "container_name": "nginx", "runtime": "containerd",
            "pod": "u-1", "pod_name": "web-1", "namespace": "shop", "workload": "web", "workload_type": "deployment",
            "user": null,
        });
        assert_eq!(shown(pod, Some("nginx")), all);
    }
}
