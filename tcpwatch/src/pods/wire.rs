//! What the cluster's API says, as JSON, and what of it is kept: a pod in the API has hundreds of fields.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::trouble::Trouble;
use super::workload::{Facts, workload};
use crate::process::Pod;
use crate::roster::Entry;

/// A page of a list.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) pods: Vec<Entry>,
    /// Of the whole list: changes from here on are to be watched.
    pub(super) version: String,
    /// Where the next page begins.
    pub(super) next: Option<String>,
}

/// A line of a watch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A pod as it is now, or was when it went, and the version of that.
    Is(Entry, Option<String>),
    /// It is no more.
    Gone(Entry, Option<String>),
    /// All is told up to this version.
    Bookmark(Option<String>),
    /// Of a kind that later versions of the API may have.
    Unknown,
}

// Null stands for what is empty in many places, so everything may be missing.
#[derive(Debug, Deserialize)]
struct List {
    #[serde(default)]
    metadata: ListMeta,
    items: Option<Vec<Object>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Change<T> {
    object: T,
}

#[derive(Debug, Deserialize)]
struct Object {
    metadata: Meta,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    uid: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
    labels: Option<HashMap<String, String>>,
    annotations: Option<HashMap<String, String>>,
    owner_references: Option<Vec<Reference>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reference {
    kind: String,
    name: String,
    controller: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    phase: Option<String>,
    container_statuses: Option<Vec<One>>,
    init_container_statuses: Option<Vec<One>>,
    ephemeral_container_statuses: Option<Vec<One>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct One {
    name: String,
    #[serde(rename = "containerID")]
    id: Option<String>,
    state: Option<Phase>,
    last_state: Option<Phase>,
}

#[derive(Debug, Deserialize)]
struct Phase {
    terminated: Option<Terminated>,
}

#[derive(Debug, Deserialize)]
struct Terminated {
    #[serde(rename = "containerID")]
    id: Option<String>,
}

/// What the API says instead of an answer.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Refusal {
    pub(super) code: Option<u16>,
    pub(super) message: Option<String>,
}

/// Pods are called by a hash in cgroups if the node made them of its own files. Only nodes may set this.
const MIRROR: &str = "kubernetes.io/config.mirror";
const TEMPLATE_HASH: &str = "pod-template-hash";
const ROLLOUT_HASH: &str = "rollouts-pod-template-hash";

pub(super) fn page(text: &[u8], node: &str) -> Result<Page, Trouble> {
    let list: List = parse("list of pods", text)?;
    let next = list.metadata.next.filter(|next| !next.is_empty());
    let version = list.metadata.resource_version.filter(|version| !version.is_empty());
    let version =
        version.ok_or_else(|| Trouble::Nonsense("a list of pods without resourceVersion".into()))?;
    let pods = list.items.unwrap_or_default().into_iter().filter_map(|object| entry(object, node)).collect();
    Ok(Page { pods, version, next })
}

pub(super) fn event(line: &[u8], node: &str) -> Result<Event, Trouble> {
    let of_pod = || -> Result<(Option<Entry>, Option<String>), Trouble> {
        let mut object = parse::<Change<Object>>("change of a pod", line)?.object;
        let version = object.metadata.resource_version.take();
        Ok((entry(object, node), version))
    };
    let known = |(entry, version): (Option<Entry>, Option<String>),
                 make: fn(Entry, Option<String>) -> Event| {
        // A pod of another node moves the version, too.
        entry.map_or(Event::Bookmark(version.clone()), |entry| make(entry, version))
    };
    match parse::<Typed>("line of a watch", line)?.kind.as_deref() {
        Some("ADDED" | "MODIFIED") => Ok(known(of_pod()?, Event::Is)),
        Some("DELETED") => Ok(known(of_pod()?, Event::Gone)),
        Some("BOOKMARK") => Ok(Event::Bookmark(of_pod()?.1)),
        Some("ERROR") => Err(Trouble::refused(parse::<Change<Refusal>>("error", line)?.object, None)),
        Some(_) => Ok(Event::Unknown),
        // A proxy in between, or the API itself, broke off with a status.
        None => Err(Trouble::refused(parse::<Refusal>("status", line)?, None)),
    }
}

pub(super) fn parse<T: DeserializeOwned>(what: &str, text: &[u8]) -> Result<T, Trouble> {
    serde_json::from_slice(text).map_err(|error| Trouble::Nonsense(format!("no {what}: {error}")))
}

/// `None` if it is of another node, or has no name.
fn entry(object: Object, node: &str) -> Option<Entry> {
    let Object { metadata, spec, status } = object;
    let elsewhere = spec.and_then(|spec| spec.node_name).is_some_and(|name| name != node);
    let (uid, name) = (metadata.uid?, metadata.name?);
    if elsewhere {
        return None;
    }
    let label = |name: &str| metadata.labels.as_ref()?.get(name).map(String::as_str);
    let controller = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let workload = workload(Facts {
        controller: controller.map(|owner| (&*owner.kind, &*owner.name)),
        pod: &name,
        template_hash: label(TEMPLATE_HASH),
        rollout_hash: label(ROLLOUT_HASH),
    });
    let gone = status.as_ref().and_then(|status| status.phase.as_deref());
    let gone = matches!(gone, Some("Succeeded" | "Failed"));
    let alias = metadata.annotations.and_then(|mut all| all.remove(MIRROR));
    let pod = Pod { uid, namespace: metadata.namespace, name: Some(name), workload };
    Some(Entry { pod: Arc::new(pod), alias, containers: status.map(containers).unwrap_or_default(), gone })
}

/// Names by id; of each container those that ran before, too, as their sockets may still be there.
fn containers(status: Status) -> BTreeMap<String, String> {
    let Status { container_statuses, init_container_statuses, ephemeral_container_statuses, .. } = status;
    let all = [init_container_statuses, container_statuses, ephemeral_container_statuses];
    let mut containers = BTreeMap::new();
    for one in all.into_iter().flatten().flatten() {
        let ended = |phase: Option<Phase>| phase?.terminated?.id;
        let ids = [ended(one.last_state), ended(one.state), one.id];
        for id in ids.into_iter().flatten().filter_map(|id| bare(&id).map(str::to_owned)) {
            containers.insert(id, one.name.clone());
        }
    }
    containers
}

/// `containerd://ID`, `docker://ID`, `cri-o://ID`; empty before a container has started.
fn bare(id: &str) -> Option<&str> {
    let id = id.rsplit_once("://").map_or(id, |(_, id)| id);
    (!id.is_empty()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Workload;

    /// Shaped as the API answers: two containers, one of which was started again, and one that was added to look into it.
    const POD: &str = include_str!("tests/pod.json");

    fn line(kind: &str, object: &str) -> Vec<u8> {
        format!("{{\"type\":\"{kind}\",\"object\":{object}}}").into_bytes()
    }

    fn is(object: &str) -> Entry {
        match event(&line("ADDED", object), "node-1").expect("an event") {
            Event::Is(entry, _) => entry,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_whole_pod_is_read() {
        let entry = is(POD);
        let pod = &entry.pod;
        assert_eq!(pod.uid, "0d6f2a3e-6f0b-4c5e-9c6d-0b6f2c1d7a11");
        assert_eq!(
            (pod.namespace.as_deref(), pod.name.as_deref()),
            (Some("shop"), Some("web-7d9f8c6b5d-abcde"))
        );
        assert_eq!(pod.workload, Some(Workload { kind: "deployment".into(), name: "web".into() }));
        let id = |digits: &str| digits.repeat(16);
        let expected = [
            ("1111", "nginx"),
            ("2222", "nginx"),
            ("3333", "sidecar"),
            ("4444", "setup"),
            ("5555", "debugger-x"),
        ];
        let expected = expected.map(|(digits, name)| (id(digits), name.to_owned()));
        assert_eq!(entry.containers, expected.into());
        assert!(!entry.gone && entry.alias.is_none());
    }

    #[test]
    fn little_is_enough_and_nothing_is_no_trouble() {
        let minimal = is(r#"{"metadata":{"uid":"u","name":"n"}}"#);
        assert_eq!((minimal.pod.uid.as_str(), minimal.containers.len()), ("u", 0));
        let nulls = r#"{"metadata":{"uid":"u","name":"n","labels":null,"annotations":null,"ownerReferences":null},
            "spec":{"nodeName":"node-1"},"status":{"phase":"Pending","containerStatuses":null,
            "initContainerStatuses":[{"name":"a","containerID":"","state":{"waiting":{}},"lastState":{}}]}}"#;
        assert_eq!(is(nulls).containers.len(), 0);
        let docker = r#"{"metadata":{"uid":"u","name":"n"},"status":{"phase":"Succeeded",
            "containerStatuses":[{"name":"a","containerID":"docker://ab"},{"name":"b","containerID":"cri-o://cd"}]}}"#;
        let entry = is(docker);
        assert!(entry.gone && entry.containers.contains_key("ab") && entry.containers.contains_key("cd"));
        assert_eq!(
            page(br#"{"metadata":{"resourceVersion":"7"},"items":null}"#, "x").expect("a page").pods.len(),
            0
        );
        assert!(page(br#"{"items":[]}"#, "x").is_err(), "nothing to watch from");
    }

    #[test]
    fn pods_of_the_nodes_own_files_have_another_name_in_cgroups() {
        let entry = is(
            r#"{"metadata":{"uid":"u","name":"etcd-node-1","annotations":{"kubernetes.io/config.mirror":"hash",
            "kubernetes.io/config.hash":"hash"},"ownerReferences":[{"kind":"Node","name":"node-1","controller":true}]}}"#,
        );
        assert_eq!(entry.alias.as_deref(), Some("hash"));
        assert_eq!(entry.pod.workload, Some(Workload { kind: "staticpod".into(), name: "etcd".into() }));
        let forged =
            is(r#"{"metadata":{"uid":"u","name":"n","annotations":{"kubernetes.io/config.hash":"hash"}}}"#);
        assert_eq!(forged.alias, None, "anybody can write that");
    }

    #[test]
    fn lines_of_a_watch_are_told_apart() {
        let told = |kind: &str, object: &str| event(&line(kind, object), "node-1");
        let bookmark = told(
            "BOOKMARK",
            r#"{"kind":"Pod","metadata":{"resourceVersion":"42"},"spec":{"containers":null},"status":{}}"#,
        );
        assert_eq!(bookmark.expect("an event"), Event::Bookmark(Some("42".into())));
        assert!(matches!(told("DELETED", POD), Ok(Event::Gone(..))));
        assert!(matches!(told("SPLIT", POD), Ok(Event::Unknown)));
        let elsewhere = told(
            "ADDED",
            r#"{"metadata":{"uid":"u","name":"n","resourceVersion":"9"},"spec":{"nodeName":"other"}}"#,
        );
        assert_eq!(elsewhere.expect("an event"), Event::Bookmark(Some("9".into())));
        let gone = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version: 1 (5)","reason":"Expired","code":410}"#;
        assert!(matches!(told("ERROR", gone), Err(Trouble::Expired)));
        assert!(matches!(event(gone.as_bytes(), "node-1"), Err(Trouble::Expired)));
        assert!(matches!(event(b"{\"type\":\"ADDED\",\"obj", "node-1"), Err(Trouble::Nonsense(_))));
        assert!(matches!(event(b"<html>", "node-1"), Err(Trouble::Nonsense(_))));
    }
}
