//! Lines as real hosts have them; `ID` stands for a container's id, `UID` for a pod's, `U_I_D` for one with underscores.

use super::*;

const ID: &str = "3f5c2a9be0d14c7f8a6b1e2d3c4f5a6978b0c1d2e3f405162738495a6b7c8d9e";
const OTHER: &str = "9e8d7c6b5a49382716051f403e2d1c0b9a78f6e5d4c3b2a10f9e8d7c6b5a4938";
const UID: &str = "2b48982e-5a0e-4c3f-9d2e-0a1b2c3d4e5f";

fn filled(text: &str) -> String {
    text.replace("OTHER", OTHER)
        .replace("U_I_D", &UID.replace('-', "_"))
        .replace("UID", UID)
        .replace("ID", ID)
}

fn check(text: &str, container: Option<(&str, Option<&str>)>, unit: Option<&str>) {
    let found = place(&filled(text));
    let shown =
        found.container.as_ref().map(|one| (one.runtime, one.pod.as_ref().map(|pod| pod.uid.as_str())));
    assert_eq!(shown, container, "{text}: {found:?}");
    assert!(found.container.is_none_or(|container| container.id == ID), "the outermost of {text}");
    assert_eq!(found.unit, unit.map(filled), "{text}");
}

#[test]
fn docker() {
    let docker = Some(("docker", None));
    for path in [
        "0::/docker/ID",
        "0::/docker/ID/init",
        "0::/system.slice/docker-ID.scope",
        "0::/system.slice/docker-ID.scope/init.scope (deleted)",
        "0::/../docker-ID.scope",
        "0::/user.slice/user-1000.slice/docker-ID.scope",
        "0::/ecs/default/5a49382716051f403e2d1c0b9a78f6e5/ID",
        "0::/actions_job/ID",
        "0::/system.slice:docker:ID",
        "12:memory:/docker/ID\n1:name=systemd:/docker/ID",
    ] {
        let unit = path.contains("init.scope").then_some("init.scope");
        check(path, docker, unit);
    }
    // Rootless docker runs in the user's own manager.
    check(
        "0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope",
        docker,
        Some("user@1000.service"),
    );
    // systemd inside of a container.
    check("0::/docker/ID/system.slice/nginx.service", docker, Some("nginx.service"));
}

#[test]
fn podman() {
    let podman = Some(("podman", None));
    check("0::/machine.slice/libpod-ID.scope", podman, None);
    check("0::/machine.slice/libpod-ID.scope/container", podman, None);
    check("0::/libpod_parent/libpod-ID", podman, None);
    check("0::/libpod_parent/ID", podman, None);
    check("5:cpuset:/libpod_parent/libpod-ID", podman, None);
    check("0::/machine.slice/machine-libpod_pod_OTHER.slice/libpod-ID.scope", podman, None);
    check(
        "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
        podman,
        Some("user@1000.service"),
    );
    // A unit that systemd starts from a Quadlet file.
    check("0::/system.slice/web.service/libpod-payload-ID", podman, Some("web.service"));
    // The monitor of a container is not in it.
    check("0::/machine.slice/libpod-conmon-ID.scope", None, Some("libpod-conmon-ID.scope"));
}

#[test]
fn kubernetes() {
    let (containerd, crio) = (Some(("containerd", Some(UID))), Some(("cri-o", Some(UID))));
    for path in [
        "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_I_D.slice/cri-containerd-ID.scope",
        "0::/kubepods.slice/kubepods-podU_I_D.slice/cri-containerd-ID.scope",
        "0::/../../kubepods-besteffort-podU_I_D.slice/cri-containerd-ID.scope",
        "11:memory:/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_I_D.slice/cri-containerd-ID.scope",
    ] {
        check(path, containerd, None);
    }
    // The systemd way of naming with the cgroupfs driver.
    check(
        "9:cpu,cpuacct:/system.slice/containerd.service/kubepods-burstable-podU_I_D.slice:cri-containerd:ID",
        containerd,
        Some("containerd.service"),
    );
    for path in [
        "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_I_D.slice/crio-ID.scope",
        "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_I_D.slice/crio-ID.scope/container",
        "0::/kubepods/besteffort/podUID/crio-ID",
    ] {
        check(path, crio, None);
    }
    check("0::/kubepods.slice/kubepods-podU_I_D.slice/docker-ID.scope", Some(("docker", Some(UID))), None);
    // With the cgroupfs driver nothing names the runtime, not even one further up.
    for path in [
        "0::/kubepods/burstable/podUID/ID",
        "0::/kubepods/podUID/ID",
        "4:memory:/kubepods/besteffort/podUID/ID",
        "0::/k8s.io/podUID/ID",
    ] {
        check(path, Some(("unknown", Some(UID))), None);
    }
    // Pods of files on the node.
    let static_pod = "5a49382716051f403e2d1c0b9a78f6e5";
    check(
        &format!(
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{static_pod}.slice/crio-ID.scope"
        ),
        Some(("cri-o", Some(static_pod))),
        None,
    );
    check(&format!("0::/kubepods/burstable/pod{static_pod}/ID"), Some(("unknown", Some(static_pod))), None);
    check(
        "0::/kubepods.slice/kubepods-podU_I_D.slice/crio-conmon-ID.scope",
        None,
        Some("crio-conmon-ID.scope"),
    );
}

#[test]
fn what_is_in_a_container_changes_nothing_of_what_is_around_it() {
    let docker = Some(("docker", None));
    check("0::/docker/ID/docker/OTHER", docker, None);
    check("0::/system.slice/docker-ID.scope/docker/OTHER", docker, None);
    // A node that is a container itself.
    check("0::/docker/ID/kubelet/kubepods/burstable/podUID/OTHER", docker, None);
    // Whoever may make cgroups in its container names one like that of another pod.
    let other = "6a1b2c3d-0000-4000-8000-1234567890ab";
    check(
        &format!("0::/kubepods/burstable/podUID/crio-ID/kubepods/pod{other}/crio-OTHER"),
        Some(("cri-o", Some(UID))),
        None,
    );
    check(&format!("0::/system.slice/docker-ID.scope/pod{other}/OTHER"), docker, None);
}

#[test]
fn containerd_alone() {
    check("0::/default/ID", Some(("containerd", None)), None);
    check("0::/system.slice/nerdctl-ID.scope", Some(("containerd", None)), None);
    check("0::/somewhere/ID", Some(("unknown", None)), None);
}

#[test]
fn units_and_nothing() {
    for (path, unit) in [
        ("0::/system.slice/ssh.service", Some("ssh.service")),
        (
            "0::/system.slice/system-postgresql.slice/postgresql@15-main.service",
            Some("postgresql@15-main.service"),
        ),
        ("0::/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope")),
        ("0::/user.slice/user-1000.slice/user@1000.service", Some("user@1000.service")),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.scope", Some("app-x.scope")),
        ("0::/init.scope", Some("init.scope")),
        ("0::/lxc.payload.web/system.slice/nginx.service", Some("nginx.service")),
        ("0::/machine.slice/machine-web.scope", Some("machine-web.scope")),
        ("0::/lxc/web", None),
        ("0::/", None),
        ("0::/docker", None),
        ("0::/kubepods/besteffort/podUID", None),
        ("0::/docker/3f5c2a9be0d1", None),
        ("0::/system.slice/docker-3F5C.scope", Some("docker-3F5C.scope")),
        ("", None),
        ("nonsense\n\n:\n::\n1:2", None),
    ] {
        check(path, None, unit);
    }
}

#[test]
fn of_several_lines_the_one_that_tells_most_is_taken() {
    let cgroup = |text: &str| place(&filled(text)).cgroup;
    // Hybrid: version 2 is there and empty.
    let hybrid = "4:memory:/docker/ID\n1:name=systemd:/system.slice/x.service\n0::/\n";
    check(hybrid, Some(("docker", None)), None);
    assert_eq!(cgroup(hybrid), Some(filled("/docker/ID")));
    let hybrid = "12:cpuset:/\n4:memory:/a\n1:name=systemd:/system.slice/x.service\n0::/\n";
    check(hybrid, None, Some("x.service"));
    let both = "4:memory:/docker/ID\n0::/docker/ID/sub\n";
    assert_eq!(cgroup(both), Some(filled("/docker/ID/sub")), "version 2 first");
    assert_eq!(cgroup("9:name=systemd:/\n4:memory:/here\n0::/\n").as_deref(), Some("/here"));
    assert_eq!(cgroup("9:name=systemd:/\n4:memory:/\n0::/\n").as_deref(), Some("/"));
    assert_eq!(cgroup("0::/a:b/c\n").as_deref(), Some("/a:b/c"), "colons are part of the path");
    assert_eq!(cgroup(""), None);
}
