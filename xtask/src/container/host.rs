//! What containers leave on the host: mounts, cgroups, processes. And waiting for things to happen there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::{interrupt, process};

const PAUSE: Duration = Duration::from_millis(100);
const CGROUPS: &str = "/sys/fs/cgroup";

/// Repeats `look` until it finds something or fails.
pub fn wait<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look().with_context(|| format!("while waiting: {what}"))? {
            return Ok(found);
        }
        interrupt::check()?;
        if Instant::now() >= deadline {
            bail!("waited {} s in vain: {what}", patience.as_secs());
        }
        sleep(PAUSE);
    }
}

/// Asks a process to end.
pub fn terminate(child: &Child) -> Result<()> {
    process::output(Command::new("kill").args(["-TERM", &child.id().to_string()])).map(drop)
}

/// Where something is mounted below `folder`, as of our own mount namespace.
pub fn mounts_below(folder: &Path) -> Result<Vec<String>> {
    let mounts = process::read(Path::new("/proc/self/mounts"))?;
    let mounts = String::from_utf8_lossy(&mounts);
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    Ok(points.filter(|point| Path::new(point).starts_with(folder)).map(str::to_owned).collect())
}

/// Takes away all that is mounted below `folder`, from the innermost on: podman mounts its storage over itself.
pub fn unmount_below(folder: &Path) -> Result<()> {
    for mount in mounts_below(folder)?.iter().rev() {
        process::output(Command::new("umount").arg(mount))?;
    }
    Ok(())
}

/// The cgroups of this name: in version 1 there is one for each controller.
pub fn cgroups(name: &str) -> Vec<PathBuf> {
    let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().flatten().map(|entry| entry.path());
    let all = hierarchies.chain([PathBuf::from(CGROUPS)]).map(|hierarchy| hierarchy.join(name));
    // Some controllers are links to others.
    let mut found: Vec<PathBuf> = all.filter_map(|group| fs::canonicalize(group).ok()).collect();
    found.sort();
    found.dedup();
    found
}

/// The processes in the cgroups of this name, and in those inside.
pub fn members(name: &str) -> Vec<String> {
    let mut members = Vec::new();
    let mut waiting = cgroups(name);
    while let Some(group) = waiting.pop() {
        let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        members.extend(text.lines().map(str::to_owned));
        let inside = fs::read_dir(&group).into_iter().flatten().flatten().map(|entry| entry.path());
        waiting.extend(inside.filter(|path| path.is_dir()));
    }
    members.sort();
    members.dedup();
    members
}

/// Removes the cgroups of this name, with those inside.
pub fn remove_cgroups(name: &str) -> Result<()> {
    for group in cgroups(name) {
        remove_cgroup(&group).with_context(|| format!("cannot remove the cgroup {}", group.display()))?;
    }
    Ok(())
}

/// A cgroup's files go with it; what holds a process cannot be removed.
fn remove_cgroup(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
