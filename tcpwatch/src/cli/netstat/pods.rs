//! The names of pods, for processes that are looked at here: only the daemon asks the cluster.

use std::sync::Arc;

use serde_json::Value;

use crate::process::{Pod, Workload};
use crate::roster::{Directory, Entry, Roster};

/// What a daemon tells at `/api/v1/pods`.
pub(super) fn roster(told: &Value) -> Roster {
    let pods = told["pods"].as_array().into_iter().flatten().filter_map(entry).collect();
    let roster = Roster::default();
    roster.publish(Directory::new(pods));
    roster
}

fn entry(told: &Value) -> Option<Entry> {
    let text = |name: &str| told[name].as_str().map(str::to_owned);
    let kind = text("workload_type").unwrap_or_default();
    let pod = Pod {
        uid: text("pod")?,
        namespace: text("namespace"),
        name: text("pod_name"),
        workload: text("workload").map(|name| Workload { kind, name }),
    };
    let container = |one: &Value| {
        let text = |name: &str| one[name].as_str().map(str::to_owned);
        Some((text("container")?, text("container_name")?))
    };
    Some(Entry {
        pod: Arc::new(pod),
        alias: text("alias"),
        containers: told["containers"].as_array().into_iter().flatten().filter_map(container).collect(),
        gone: told["gone"] == true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::pods::pods;

    #[test]
    fn what_a_daemon_tells_is_taken_over() {
        let pod = Pod {
            uid: "u".into(),
            namespace: Some("shop".into()),
            name: Some("web-1".into()),
            workload: Some(Workload { kind: "deployment".into(), name: "web".into() }),
        };
        let containers = [(String::from("c1"), String::from("nginx"))].into();
        let one = Entry { pod: Arc::new(pod), alias: Some("hash".into()), containers, gone: true };
        let daemons = Roster::default();
        daemons.publish(Directory::new(vec![one.clone()]));
        let told = serde_json::to_value(pods(Some(&daemons))).expect("JSON");
        assert_eq!(roster(&told).latest().1.entries(), [one]);
        assert_eq!(roster(&Value::Null).latest().1.entries(), []);
    }
}
