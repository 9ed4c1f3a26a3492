//! What the path of a cgroup tells: container, pod and systemd unit.
//!
//! Container runtimes and kubelets name cgroups after what they hold, each in its own way; a path is read from its
//! outermost part inwards, as what is in a container cannot change what is around it. Everything here works on the text of `/proc/PID/cgroup`.

use crate::process::{Container, Pod};

/// The runtime of a container whose cgroup does not tell.
const UNKNOWN: &str = "unknown";

/// What is known from a process's cgroups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) cgroup: Option<String>,
    pub(super) container: Option<Container>,
    pub(super) unit: Option<String>,
}

/// Reads `/proc/PID/cgroup`. Hosts with both versions have a line for each: the one that tells most is taken, the
/// one of version 2 if they tell the same.
pub(super) fn place(text: &str) -> Place {
    let mut lines: Vec<_> = text.lines().filter_map(line).collect();
    lines.sort_by_key(|(rank, _)| *rank);
    let mut best = Place::default();
    for (_, path) in lines {
        let place = of_path(path);
        if best.cgroup.is_none() || worth(&place) > worth(&best) {
            best = place;
        }
    }
    best
}

/// How soon a line is to be looked at, and its path: `0::/path` is version 2, `1:name=systemd:/path` and
/// `4:memory:/path` are version 1.
fn line(line: &str) -> Option<(u8, &str)> {
    let mut parts = line.splitn(3, ':');
    let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let rank = match (number, controllers) {
        ("0", "") => 0,
        (_, "name=systemd") => 1,
        _ => 2,
    };
    path.starts_with('/').then_some((rank, path))
}

fn worth(place: &Place) -> u8 {
    match place {
        Place { container: Some(_), .. } => 3,
        Place { unit: Some(_), .. } => 2,
        Place { cgroup: Some(path), .. } if path != "/" => 1,
        _ => 0,
    }
}

/// What the path of one cgroup tells.
pub(super) fn of_path(path: &str) -> Place {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    // The outermost: whoever may make cgroups in a container could name one like another pod's.
    let found = (0..parts.len()).find_map(|at| Some((at, container(&parts, at)?)));
    let container = found.map(|(at, (runtime, id))| Container {
        runtime,
        id: id.to_owned(),
        name: None,
        pod: parts[..=at].iter().find_map(|part| pod(part)).map(|uid| Pod { uid, ..Pod::default() }),
    });
    // The scope that is made for a container says no more than the container.
    let is_unit = |part: &&&str| unit(part) && named_container(part).is_none();
    Place {
        cgroup: Some(path.to_owned()),
        container,
        unit: parts.iter().rev().find(is_unit).map(|part| (*part).to_owned()),
    }
}

fn unit(part: &str) -> bool {
    matches!(part.rsplit_once('.'), Some((_, "service" | "scope")))
}

/// Runtime and id, if the part of the path at `at` is a container's.
fn container<'a>(parts: &[&'a str], at: usize) -> Option<(&'static str, &'a str)> {
    if let Some(found) = named_container(parts[at]) {
        return Some(found);
    }
    let id = parts[at];
    is_id(id).then(|| {
        let above = &parts[..at];
        // `ctr` and `nerdctl` put containers right below the name of their namespace.
        if matches!(above.last(), Some(&("default" | "k8s.io"))) {
            return ("containerd", id);
        }
        let runtime = above.iter().rev().find_map(|part| match *part {
            "docker" | "ecs" | "actions_job" => Some("docker"),
            "libpod_parent" => Some("podman"),
            // In a pod, every runtime names it so, and what is further up is about something else.
            part if pod(part).is_some() || part == "kubepods" => Some(UNKNOWN),
            _ => None,
        });
        (runtime.unwrap_or(UNKNOWN), id)
    })
}

/// `docker-ID.scope`, `crio-ID`, or `SLICE:cri-containerd:ID`.
fn named_container(part: &str) -> Option<(&'static str, &str)> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    let (before, id) = name.rsplit_once(['-', ':'])?;
    let prefix = before.rsplit_once(':').map_or(before, |(_, prefix)| prefix);
    let runtime = match prefix {
        "docker" => "docker",
        "cri-containerd" | "containerd" | "nerdctl" => "containerd",
        "crio" => "cri-o",
        // What runs conmon is not in the container: `libpod-conmon` and `crio-conmon` are none.
        "libpod" | "libpod-payload" => "podman",
        _ => return None,
    };
    is_id(id).then_some((runtime, id))
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The uid in `podUID`, `kubepods-burstable-podUID.slice`, or such a slice before a colon.
fn pod(part: &str) -> Option<String> {
    let name = part.split(':').next().unwrap_or(part);
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1,
        None => name.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    // Pods of a node's own files have 32 digits without dashes.
    let lengths: Vec<usize> = uid.split('-').map(str::len).collect();
    let is_uid = matches!(lengths[..], [8, 4, 4, 4, 12] | [32]);
    (is_uid && uid.split('-').all(is_hex)).then_some(uid)
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;
