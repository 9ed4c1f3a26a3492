//! Cgroups by their ids: which container sockets are in that no process has.
//!
//! The id of a cgroup of version 2 is the inode number of its directory, so a walk over the directories finds it. A walk
//! is made when an unknown id is asked for, and takes a small part of the time. What a cgroup was is remembered when it is
//! gone, as sockets outlive it; the memory is bounded.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cgroup;
use crate::process::Process;
use crate::roster::Directory;

/// Cgroups that are remembered.
const MOST: usize = 8192;

/// Directories that one walk looks into: each takes some 20 microseconds.
const MOST_DIRECTORIES: usize = 16_384;

/// How often a walk is made at most, and which part of the time walks take.
const EVERY: Duration = Duration::from_secs(1);
const SHARE: u32 = 100;

/// What is known of cgroups.
#[derive(Debug, Default)]
pub(super) struct Cgroups {
    /// `None`: there is no such directory, as it is gone or cannot be seen from here, or its path says nothing.
    known: HashMap<u32, Option<Arc<Process>>>,
    due: Option<Instant>,
}

impl Cgroups {
    /// What is in the cgroups with these ids, as far as it is known. `root` is usually `/proc`.
    pub(super) fn describe(
        &mut self,
        root: &Path,
        ids: &BTreeSet<u32>,
        told: &Directory,
        now: Instant,
    ) -> BTreeMap<u32, Arc<Process>> {
        if self.due.is_none_or(|due| now >= due) && ids.iter().any(|id| !self.known.contains_key(id)) {
            self.look(root, ids);
            self.due = Some(now + EVERY.max(now.elapsed() * SHARE));
        }
        let mut described = BTreeMap::new();
        for id in ids {
            let Some(Some(place)) = self.known.get_mut(id) else { continue };
            if let Some(mut container) = place.container.clone()
                && told.complete(&mut container)
            {
                Arc::make_mut(place).container = Some(container);
            }
            described.insert(*id, Arc::clone(place));
        }
        described
    }

    /// Walks over all directories, and takes down those that are asked for.
    fn look(&mut self, root: &Path, ids: &BTreeSet<u32>) {
        if self.known.len() + ids.len() > MOST {
            self.known.retain(|id, _| ids.contains(id));
        }
        let mut missing: BTreeSet<u32> = ids
            .iter()
            .filter(|id| !self.known.contains_key(id))
            .take(MOST - self.known.len().min(MOST))
            .copied()
            .collect();
        let Some(top) = mount(root) else {
            log::debug!("cgroups are not known by their ids: no hierarchy of version 2 is mounted");
            self.known.extend(missing.into_iter().map(|id| (id, None)));
            return;
        };
        let mut waiting = vec![PathBuf::new()];
        let mut looked = 0;
        while let Some(path) = waiting.pop() {
            looked += 1;
            if looked > MOST_DIRECTORIES || missing.is_empty() {
                break;
            }
            // One that is removed meanwhile is none.
            let Ok(entries) = fs::read_dir(top.join(&path)) else { continue };
            for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|is| is.is_dir())) {
                let path = path.join(entry.file_name());
                if let Ok(id) = u32::try_from(entry.ino())
                    && missing.remove(&id)
                {
                    self.known.insert(id, place(&path).map(Arc::new));
                }
                waiting.push(path);
            }
        }
        self.known.extend(missing.into_iter().map(|id| (id, None)));
    }
}

/// What is known of all that is in a cgroup, if that is a container or a unit: a name alone says nothing.
fn place(path: &Path) -> Option<Process> {
    let place = cgroup::of_path(&format!("/{}", path.display()));
    let is_one = place.container.is_some() || place.unit.is_some();
    let known =
        Process { cgroup: place.cgroup, container: place.container, unit: place.unit, ..Process::default() };
    is_one.then_some(known)
}

/// Where the hierarchy of version 2 is mounted: as the host's first process sees it, which sees all of it, or else here.
fn mount(root: &Path) -> Option<PathBuf> {
    ["1", "self"].into_iter().find_map(|pid| {
        let process = root.join(pid);
        let mounts = fs::read_to_string(process.join("mounts")).ok()?;
        let found = process.join("root").join(mount_point(&mounts)?.strip_prefix('/')?);
        fs::read_dir(&found).is_ok().then_some(found)
    })
}

fn mount_point(mounts: &str) -> Option<&str> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let path = words.next()?;
        (words.next()? == "cgroup2").then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::process::{Container, Pod};
    use crate::roster::Entry;

    const UID: &str = "11111111-2222-3333-4444-555555555555";

    /// A directory that looks like `/proc`, whose first process has a hierarchy mounted.
    struct Host(PathBuf);

    impl Host {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("tcpwatch-cgroups-{name}-{}", std::process::id()));
            fs::create_dir_all(root.join("1/root/sys/fs/cgroup")).expect("create");
            fs::write(
                root.join("1/mounts"),
                "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n",
            )
            .expect("write");
            Self(root)
        }

        fn cgroup(&self, path: &str) -> PathBuf {
            self.0.join("1/root/sys/fs/cgroup").join(path)
        }

        /// Makes a cgroup; its id.
        fn make(&self, path: &str) -> u32 {
            fs::create_dir_all(self.cgroup(path)).expect("create");
            u32::try_from(fs::metadata(self.cgroup(path)).expect("it is there").ino())
                .expect("a small number")
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).expect("remove");
        }
    }

    fn container(known: &BTreeMap<u32, Arc<Process>>, id: u32) -> Option<&Container> {
        known.get(&id)?.container.as_ref()
    }

    #[test]
    fn the_container_of_a_cgroup_is_found_and_remembered_when_it_is_gone() {
        let host = Host::new("found");
        let digits = "ab".repeat(32);
        let path = format!("kubepods/pod{UID}/cri-containerd-{digits}.scope");
        let (id, other) = (host.make(&path), host.make("system.slice/web.service"));
        let plain = host.make("some/group");
        let mut cgroups = Cgroups::default();
        let ids = BTreeSet::from([id, other, plain, u32::MAX]);
        let now = Instant::now();
        let found = cgroups.describe(&host.0, &ids, &Directory::default(), now);
        assert_eq!(found.len(), 2, "one says nothing and one is not there: {found:?}");
        let known = container(&found, id).expect("a container");
        assert_eq!(
            (known.id.as_str(), known.pod.as_ref().map(|pod| pod.uid.as_str())),
            (&*digits, Some(UID))
        );
        assert_eq!((found[&other].unit.as_deref(), found[&other].pid), (Some("web.service"), 0));
        // Names come from the cluster later, and nothing is looked for again.
        fs::remove_dir_all(host.cgroup("kubepods")).expect("remove");
        let pod = Pod { uid: UID.into(), name: Some("web-1".into()), ..Pod::default() };
        let told = Directory::new(vec![Entry { pod: Arc::new(pod), ..Entry::default() }]);
        let found = cgroups.describe(&host.0, &ids, &told, now + EVERY * 1000);
        let pod = container(&found, id).and_then(|container| container.pod.clone()).expect("a pod");
        assert_eq!(pod.name.as_deref(), Some("web-1"));
    }

    #[test]
    fn walks_are_rare_and_what_is_remembered_is_bounded() {
        let host = Host::new("rare");
        let mut cgroups = Cgroups::default();
        let now = Instant::now();
        cgroups.describe(&host.0, &BTreeSet::from([1]), &Directory::default(), now);
        let late = host.make("late.service");
        let ids = BTreeSet::from([late]);
        assert!(cgroups.describe(&host.0, &ids, &Directory::default(), now + EVERY / 2).is_empty());
        let found = cgroups.describe(&host.0, &ids, &Directory::default(), now + EVERY * 1000);
        assert_eq!(found[&late].cgroup.as_deref(), Some("/late.service"));
        let many: BTreeSet<u32> = (1..).step_by(2).take(MOST * 2).collect();
        cgroups.describe(&host.0, &many, &Directory::default(), now + EVERY * 2000);
        assert_eq!(cgroups.known.len(), MOST);
    }

    #[test]
    fn the_mount_is_found_on_hosts_with_both_versions() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mount_point(mounts), Some("/sys/fs/cgroup/unified"));
        assert_eq!(mount_point("proc /proc proc rw 0 0\n"), None);
    }
}
