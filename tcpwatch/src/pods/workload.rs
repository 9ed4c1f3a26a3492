//! What keeps a pod running, from the pod alone: no further question to the cluster is needed.
//!
//! A pod names its controller, which may have one of its own. Deployments give their `ReplicaSet`s a name that ends in
//! the hash that is in a label of the pod; `CronJob`s give their `Job`s one that ends in the time.

use crate::process::Workload;

/// What a pod says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// Kind and name of its controller.
    pub(super) controller: Option<(&'a str, &'a str)>,
    pub(super) pod: &'a str,
    /// The label `pod-template-hash`.
    pub(super) template_hash: Option<&'a str>,
    /// The label `rollouts-pod-template-hash`.
    pub(super) rollout_hash: Option<&'a str>,
}

pub(super) fn workload(facts: Facts<'_>) -> Option<Workload> {
    let (kind, name) = facts.controller?;
    let before = |hash: Option<&str>| name.strip_suffix(hash?)?.strip_suffix('-');
    let (kind, name) = match kind {
        "ReplicaSet" => match (before(facts.rollout_hash), before(facts.template_hash)) {
            (Some(rollout), _) => ("rollout", rollout),
            (None, Some(deployment)) => ("deployment", deployment),
            (None, None) => ("replicaset", name),
        },
        "Job" => before_time(name).map_or(("job", name), |name| ("cronjob", name)),
        // A file of the node: the pod is called after the file and the node.
        "Node" => {
            let file = facts.pod.strip_suffix(name).and_then(|file| file.strip_suffix('-'));
            ("staticpod", file.unwrap_or(facts.pod))
        }
        other => return Some(Workload { kind: other.to_lowercase(), name: name.to_owned() }),
    };
    Some(Workload { kind: kind.to_owned(), name: name.to_owned() })
}

/// The name of the `CronJob`, if a `Job` is called `NAME-TIME`: minutes since 1970 (Kubernetes 1.21 and later), or
/// seconds.
fn before_time(job: &str) -> Option<&str> {
    let (name, time) = job.rsplit_once('-')?;
    let is_time = matches!(time.len(), 8 | 10) && time.bytes().all(|byte| byte.is_ascii_digit());
    // From 2015 on; a number that somebody chose is hardly in there.
    let since = if time.len() == 8 { "23667840" } else { "1420070400" };
    (is_time && time >= since && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(controller: Option<(&str, &str)>, template_hash: Option<&str>) -> Option<String> {
        let facts = Facts { controller, pod: "etcd-node-1", template_hash, rollout_hash: None };
        workload(facts).map(|workload| format!("{} {}", workload.kind, workload.name))
    }

    #[test]
    fn the_controller_on_top_is_told() {
        for (kind, name, hash, expected) in [
            ("ReplicaSet", "web-7d9f8c", Some("7d9f8c"), "deployment web"),
            ("ReplicaSet", "web-7d9f8c", None, "replicaset web-7d9f8c"),
            ("ReplicaSet", "web-7d9f8c", Some("other"), "replicaset web-7d9f8c"),
            ("ReplicaSet", "my-web-app-7d9f8c", Some("7d9f8c"), "deployment my-web-app"),
            ("StatefulSet", "db", None, "statefulset db"),
            ("DaemonSet", "node-exporter", None, "daemonset node-exporter"),
            ("Job", "migrate", None, "job migrate"),
            ("Job", "backup-28927815", None, "cronjob backup"),
            ("Job", "backup-1611561000", None, "cronjob backup"),
            ("Job", "nightly-backup-28927815", None, "cronjob nightly-backup"),
            // No times.
            ("Job", "import-20240131", None, "job import-20240131"),
            ("Job", "import-12345678", None, "job import-12345678"),
            ("Job", "import-289278157", None, "job import-289278157"),
            ("Job", "28927815", None, "job 28927815"),
            ("Node", "node-1", None, "staticpod etcd"),
            ("Node", "other", None, "staticpod etcd-node-1"),
            ("CloneSet", "cache", None, "cloneset cache"),
        ] {
            assert_eq!(of(Some((kind, name)), hash).as_deref(), Some(expected), "{kind} {name}");
        }
        assert_eq!(of(None, Some("7d9f8c")), None, "a pod of its own");
    }

    #[test]
    fn rollouts_have_a_label_of_their_own() {
        let facts = Facts {
            controller: Some(("ReplicaSet", "web-5c6d")),
            pod: "web-5c6d-x",
            template_hash: None,
            rollout_hash: Some("5c6d"),
        };
        assert_eq!(workload(facts), Some(Workload { kind: "rollout".into(), name: "web".into() }));
    }
}
