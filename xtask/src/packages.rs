//! The programs of the system that tests use, and the Debian packages that bring them.
//!
//! What is missing is installed, and only then is anything said. A developer on another system gets the list.

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::process;
use crate::vm;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    name: &'static str,
    /// The package is there when all of these are. What is no program is named by its path.
    programs: &'static [&'static str],
    /// What it would start by itself: tests want the program, not the service.
    service: Option<&'static str>,
}

impl Package {
    pub const fn new(name: &'static str, programs: &'static [&'static str]) -> Self {
        Self { name, programs, service: None }
    }

    const fn with_service(self, service: &'static str) -> Self {
        Self { service: Some(service), ..self }
    }
}

/// What the live tests call beside tcpwatch.
pub const TEST: &[Package] = &[
    Package::new("iproute2", &["ip", "nstat", "ss"]),
    Package::new("shellcheck", &["shellcheck"]),
    Package::new("systemd", &["systemd-analyze"]),
    Package::new("prometheus", &["prometheus", "promtool"]).with_service("prometheus"),
    Package::new("prometheus-alertmanager", &["prometheus-alertmanager", "amtool"])
        .with_service("prometheus-alertmanager"),
];

/// What makes a Python environment.
pub const PYTHON: &[Package] = &[Package::new("python3-venv", &["python3", "ensurepip"])];

/// What builds and runs a Kubernetes of one node.
pub const CLUSTER: &[Package] = &[
    Package::new("iproute2", &["ip"]),
    Package::new("iptables", &["iptables"]),
    Package::new("util-linux", &["nsenter"]),
    Package::new("openssl", &["openssl"]),
    Package::new("golang-go", &["go"]),
    Package::new("etcd-server", &["etcd"]).with_service("etcd"),
    Package::new("docker.io", &["dockerd", "docker", "runc"]).with_service("docker"),
];

/// What boots other kernels, beside an emulator for their architecture, and `apt` and `dpkg-deb`, which are part of every
/// Debian.
pub const VM: &[Package] = &[
    Package::new("busybox-static", &["busybox"]),
    Package::new("xz-utils", &["xz"]),
    Package::new("util-linux", &["setpriv"]),
];

/// What runs containers.
pub const CONTAINER: &[Package] = &[
    Package::new("iproute2", &["ip"]),
    Package::new("podman", &["podman"]).with_service("podman.service"),
    Package::new("runc", &["runc"]),
    Package::new("docker.io", &["dockerd", "docker"]).with_service("docker.service"),
    // For `podman build`.
    Package::new("buildah", &["buildah"]),
    Package::new("util-linux", &["unshare"]),
];

/// Installs those that are missing, if any; needs root for that.
pub fn install(packages: &[Package]) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let names = names.join(" ");
    ensure!(
        process::find("apt-get").is_some(),
        "these Debian packages, or what holds the same programs, are missing: {names}; \
         there is no apt-get, so install them by hand"
    );
    println!("setup: installing packages: {names}");
    process::retry("apt-get install", || apt_get(&missing))
        .with_context(|| format!("cannot install {names}: `apt-get install {names}` by hand tells more"))?;
    match packages.iter().flat_map(|package| package.programs).find(|program| !usable(program)) {
        Some(program) => bail!("{names} is installed, but there is still no usable {program} in PATH"),
        None => Ok(()),
    }
}

fn missing(packages: &[Package]) -> Vec<&Package> {
    packages.iter().filter(|package| !package.programs.iter().all(|program| usable(program))).collect()
}

fn usable(program: &str) -> bool {
    match program {
        // A dynamically linked one is of no use in a guest without libraries.
        "busybox" => vm::busybox().is_ok(),
        // A module of Python, without which its environments have no pip.
        "ensurepip" => process::output(Command::new("python3").args(["-c", "import ensurepip"])).is_ok(),
        _ => process::find(program).is_some(),
    }
}

/// Debian asks this script before it starts or restarts anything, and 101 is no. One that is there stays as it is.
const START_NOTHING: &str = "\
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\\nexit 101\\n' >$policy && chmod 755 $policy || exit
fi
\"$@\"";

fn apt_get(packages: &[&Package]) -> Result<()> {
    process::output(process::as_root("apt-get")?.args(["-q", "update"]))?;
    let services: Vec<&str> = packages.iter().filter_map(|package| package.service).collect();
    let mut install = process::as_root("env")?;
    install.arg("DEBIAN_FRONTEND=noninteractive");
    if !services.is_empty() {
        install.args(["sh", "-c", START_NOTHING, "sh"]);
    }
    install
        .args(["apt-get", "-q", "install", "-y", "--no-install-recommends"])
        // Others may be installing something at this moment, too.
        .args(["-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=120"])
        .args(packages.iter().map(|package| package.name));
    process::output(&mut install)?;
    if !services.is_empty() && process::find("systemctl").is_some() {
        // Nor at the next boot.
        process::output(process::as_root("systemctl")?.arg("disable").args(services))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_missing_with_any_of_its_programs() {
        let shell = Package::new("shell", &["sh"]);
        let both = Package::new("both", &["sh", "no-such-program"]);
        let packages = [shell, both];
        assert_eq!(missing(&packages).iter().map(|package| package.name).collect::<Vec<_>>(), ["both"]);
    }

    #[test]
    fn nothing_is_started_while_packages_are_installed() {
        let folder = std::env::temp_dir().join(format!("tcpwatch-policy-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("make a folder");
        let policy = folder.join("policy-rc.d");
        let script = START_NOTHING.replace("/usr/sbin/policy-rc.d", policy.to_str().expect("UTF-8"));
        let asked = format!("{}; echo $?", policy.display());
        let ask = || {
            let mut command = Command::new("sh");
            process::text(command.args(["-c", &script, "sh", "sh", "-c", &asked])).expect("it ends well")
        };
        assert_eq!(ask().trim(), "101");
        assert!(!policy.exists(), "it is gone when all is installed");
        let ended = Command::new("sh").args(["-c", &script, "sh", "sh", "-c", "kill -TERM $PPID"]).status();
        assert_eq!(ended.expect("a shell").code(), Some(130));
        assert!(!policy.exists(), "and when somebody has ended it");
        std::fs::copy("/bin/true", &policy).expect("put one there");
        assert_eq!(ask().trim(), "0", "one that was there is asked");
        assert!(policy.exists(), "and stays");
        std::fs::remove_dir_all(&folder).expect("remove the folder");
    }
}
