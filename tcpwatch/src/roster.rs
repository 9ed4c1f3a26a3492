//! Which pods run on this node, as whoever describes processes looks it up: by the id of a container, or the uid of a
//! pod, which is what a cgroup tells.
//!
//! One writes it, who asks the cluster; readers never wait for the cluster, they take a copy of a pointer.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::process::{Container, Pod};

/// A pod with its containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    pub pod: Arc<Pod>,
    /// What its cgroup is called after, if not after its uid: the kubelet calls pods of its own files by a hash.
    pub alias: Option<String>,
    /// Names by id, those of containers that were started again too.
    pub containers: BTreeMap<String, String>,
    /// It has ended, or is in the cluster no more; its sockets may still be there.
    pub gone: bool,
}

/// Pods by what a cgroup tells of them.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    entries: Vec<Entry>,
    by_container: HashMap<String, usize>,
    by_uid: HashMap<String, usize>,
}

impl Directory {
    pub fn new(mut entries: Vec<Entry>) -> Self {
        // What is put in later counts: pods that run, and a pod's own uid before a hash.
        entries.sort_by_key(|entry| !entry.gone);
        let (mut by_container, mut by_uid) = (HashMap::new(), HashMap::new());
        for (place, entry) in entries.iter().enumerate() {
            by_container.extend(entry.containers.keys().map(|id| (id.clone(), place)));
            by_uid.extend(entry.alias.iter().map(|alias| (alias.clone(), place)));
        }
        by_uid.extend(entries.iter().enumerate().map(|(place, entry)| (entry.pod.uid.clone(), place)));
        Self { entries, by_container, by_uid }
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Pods that run.
    pub fn running(&self) -> usize {
        self.entries.iter().filter(|entry| !entry.gone).count()
    }

    /// Tells the container what its pod and itself are called, if that is known. Whether that is news.
    pub fn complete(&self, container: &mut Container) -> bool {
        let uid = container.pod.as_ref().map(|pod| &pod.uid);
        let by_id = self.by_container.get(&container.id);
        let Some(place) = by_id.or_else(|| self.by_uid.get(uid?)).copied() else { return false };
        let Some(Entry { pod, containers, .. }) = self.entries.get(place) else { return false };
        let name = containers.get(&container.id).or(container.name.as_ref()).cloned();
        // The uid stays the one that the cgroup has.
        let pod = Pod { uid: uid.unwrap_or(&pod.uid).clone(), ..Pod::clone(pod) };
        let is_news = container.name != name || container.pod.as_ref() != Some(&pod);
        (container.name, container.pod) = (name, Some(pod));
        is_news
    }
}

/// How it stands with the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The node whose pods are asked for.
    pub node: String,
    /// The address of the API; empty until it is known.
    pub server: String,
    /// Changes of pods are told as they happen.
    pub up: bool,
    /// Since when it is so.
    pub since: Option<SystemTime>,
    /// What went wrong last, and when.
    pub error: Option<(SystemTime, String)>,
}

/// What one writes and many read.
#[derive(Clone, Debug, Default)]
pub struct Roster(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    directory: Arc<Directory>,
    /// How often it was written.
    generation: u64,
    status: Status,
}

impl Roster {
    /// What is known now, and how often that has changed: 0 if nothing was ever known.
    pub fn latest(&self) -> (u64, Arc<Directory>) {
        let state = self.lock();
        (state.generation, Arc::clone(&state.directory))
    }

    pub fn publish(&self, directory: Directory) {
        let directory = Arc::new(directory);
        let mut state = self.lock();
        state.generation += 1;
        // The old one, which may be large, is thrown away when nobody holds the lock.
        let _old = std::mem::replace(&mut state.directory, directory);
        drop(state);
    }

    pub fn status(&self) -> Status {
        self.lock().status.clone()
    }

    pub fn set_status(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.lock().status);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done with the lock can leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(uid: &str, name: &str, containers: &[(&str, &str)]) -> Entry {
        let pod =
            Pod { uid: uid.into(), namespace: Some("shop".into()), name: Some(name.into()), workload: None };
        let containers = containers.iter().map(|(id, name)| ((*id).into(), (*name).into())).collect();
        Entry { pod: Arc::new(pod), containers, ..Entry::default() }
    }

    /// What a cgroup tells.
    fn container(id: &str, pod: Option<&str>) -> Container {
        let pod = pod.map(|uid| Pod { uid: uid.into(), ..Pod::default() });
        Container { runtime: "containerd", id: id.into(), name: None, pod }
    }

    /// The names of container and pod, and the uid.
    fn shown(directory: &Directory, mut container: Container) -> Option<[String; 3]> {
        directory.complete(&mut container).then(|| {
            assert!(!directory.complete(&mut container), "it is no news any more");
            let pod = container.pod.expect("a pod");
            [container.name.unwrap_or_default(), pod.name.unwrap_or_default(), pod.uid]
        })
    }

    #[test]
    fn a_container_is_found_by_its_id_and_else_by_its_pod() {
        let directory =
            Directory::new(vec![entry("u1", "web-1", &[("c1", "nginx")]), entry("u2", "web-2", &[])]);
        let names = |parts: [&str; 3]| Some(parts.map(str::to_owned));
        assert_eq!(shown(&directory, container("c1", Some("u1"))), names(["nginx", "web-1", "u1"]));
        assert_eq!(shown(&directory, container("c1", None)), names(["nginx", "web-1", "u1"]));
        // The status of the pod does not name the container yet.
        assert_eq!(shown(&directory, container("c9", Some("u2"))), names(["", "web-2", "u2"]));
        assert_eq!(shown(&directory, container("c9", Some("u9"))), None);
        assert_eq!(shown(&directory, container("c9", None)), None);
        assert_eq!(directory.running(), 2);
    }

    #[test]
    fn pods_of_the_nodes_own_files_keep_the_hash_as_uid() {
        let mut mirror = entry("u1", "etcd-node1", &[]);
        mirror.alias = Some("hash".into());
        let mut before = entry("u0", "etcd-old", &[]);
        (before.alias, before.gone) = (Some("hash".into()), true);
        let directory = Directory::new(vec![mirror, before]);
        let names = Some(["", "etcd-node1", "hash"].map(str::to_owned));
        assert_eq!(shown(&directory, container("c1", Some("hash"))), names);
        assert_eq!(directory.running(), 1);
    }

    #[test]
    fn a_name_that_is_known_stays() {
        let directory = Directory::new(vec![entry("u1", "web-1", &[])]);
        let mut known = Container { name: Some("nginx".into()), ..container("c1", Some("u1")) };
        assert!(directory.complete(&mut known));
        assert_eq!(known.name.as_deref(), Some("nginx"));
    }

    #[test]
    fn readers_see_what_was_published_last() {
        let roster = Roster::default();
        let reader = roster.clone();
        assert_eq!((reader.latest().0, reader.latest().1.entries().len()), (0, 0));
        roster.publish(Directory::new(vec![entry("u1", "web-1", &[])]));
        roster.set_status(|status| status.up = true);
        assert_eq!((reader.latest().0, reader.latest().1.entries().len()), (1, 1));
        assert!(reader.status().up);
    }
}
