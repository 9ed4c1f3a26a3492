//! The pods of this node, and how it stands with the cluster that tells of them.

use serde::Serialize;

use super::timestamp;
use crate::roster::{self, Directory, Roster};

/// `/api/v1/pods`
#[derive(Debug, Serialize)]
pub struct Pods {
    /// `null` if nobody asks a cluster.
    pub kubernetes: Option<Kubernetes>,
    /// By namespace and name.
    pub pods: Vec<Pod>,
}

/// What is known of the cluster.
#[derive(Debug, Serialize)]
pub struct Kubernetes {
    pub node: String,
    /// Address of its API; `null` until it is found.
    pub server: Option<String>,
    /// Changes are told as they happen. Else pods are known as they were last.
    pub up: bool,
    /// Since when it is or is not so; `null` if pods were never known.
    pub since: Option<String>,
    /// Pods that run.
    pub pods: usize,
    /// What went wrong last, be it over or not.
    pub error: Option<String>,
    pub error_at: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Pod {
    pub namespace: Option<String>,
    pub pod_name: Option<String>,
    /// Its uid.
    pub pod: String,
    /// What its cgroup has in place of the uid, if it is made of a file of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    pub workload: Option<String>,
    pub workload_type: Option<String>,
    /// It has ended or was removed lately.
    pub gone: bool,
    pub containers: Vec<Container>,
}

#[derive(Debug, Serialize)]
pub struct Container {
    pub container: String,
    pub container_name: String,
}

/// Of the cluster that a roster is written from.
pub fn kubernetes(roster: &Roster) -> Kubernetes {
    let roster::Status { node, server, up, since, error } = roster.status();
    let (error_at, error) = error.map(|(at, error)| (timestamp(at), error)).unzip();
    Kubernetes {
        node,
        server: (!server.is_empty()).then_some(server),
        up,
        since: since.map(timestamp),
        pods: roster.latest().1.running(),
        error,
        error_at,
    }
}

pub fn pods(roster: Option<&Roster>) -> Pods {
    Pods {
        kubernetes: roster.map(kubernetes),
        pods: roster.map(|roster| all(&roster.latest().1)).unwrap_or_default(),
    }
}

fn all(directory: &Directory) -> Vec<Pod> {
    let mut pods: Vec<Pod> = directory.entries().iter().map(pod).collect();
    pods.sort_by(|a, b| (&a.namespace, &a.pod_name, &a.pod).cmp(&(&b.namespace, &b.pod_name, &b.pod)));
    pods
}

fn pod(entry: &roster::Entry) -> Pod {
    let workload = entry.pod.workload.as_ref();
    Pod {
        namespace: entry.pod.namespace.clone(),
        pod_name: entry.pod.name.clone(),
        pod: entry.pod.uid.clone(),
        alias: entry.alias.clone(),
        workload: workload.map(|workload| workload.name.clone()),
        workload_type: workload.map(|workload| workload.kind.clone()),
        gone: entry.gone,
        containers: entry
            .containers
            .iter()
            .map(|(id, name)| Container { container: id.clone(), container_name: name.clone() })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::process;

    #[test]
    fn what_is_known_is_shown() {
        let off = serde_json::json!({"kubernetes": null, "pods": []});
        assert_eq!(serde_json::to_value(pods(None)).expect("JSON"), off);
        let roster = Roster::default();
        let pod = process::Pod {
            uid: "u-1".into(),
            namespace: Some("shop".into()),
            name: Some("web-1".into()),
            workload: Some(process::Workload { kind: "deployment".into(), name: "web".into() }),
        };
        let containers = [(String::from("ab12"), String::from("nginx"))].into();
        let entry = roster::Entry { pod: Arc::new(pod), containers, ..roster::Entry::default() };
        roster.publish(Directory::new(vec![entry]));
        roster.set_status(|status| {
            (status.node, status.server) = ("node-1".into(), "https://10.0.0.1".into());
            status.error = Some((SystemTime::UNIX_EPOCH + Duration::from_secs(5), "it broke".into()));
        });
        let expected = serde_json::json!({
            "kubernetes": {"node": "node-1", "server": "https://10.0.0.1", "up": false, "since": null, "pods": 1,
                "error": "it broke", "error_at": "1970-01-01T00:00:05.000Z"},
            "pods": [{"namespace": "shop", "pod_name": "web-1", "pod": "u-1", "workload": "web",
                "workload_type": "deployment", "gone": false,
                "containers": [{"container": "ab12", "container_name": "nginx"}]}],
        });
        assert_eq!(serde_json::to_value(pods(Some(&roster))).expect("JSON"), expected);
    }
}
