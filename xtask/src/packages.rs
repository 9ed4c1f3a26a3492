//! The programs of the system that tests use, and the Debian packages that bring them.
//!
//! What is missing is installed, and only then is anything said. A developer on another system gets the list.

use anyhow::{Context as _, Result, bail, ensure};

use crate::process;
use crate::vm;

pub struct Package {
    name: &'static str,
    /// The package is there when all of these are.
    programs: &'static [&'static str],
}

/// What the live tests call beside tcpwatch.
pub const TEST: &[Package] = &[Package { name: "iproute2", programs: &["ip", "nstat", "ss"] }];

/// What boots other kernels, beside `apt` and `dpkg-deb`, which are part of every Debian.
pub const VM: &[Package] = &[
    Package { name: "qemu-system-x86", programs: &["qemu-system-x86_64"] },
    Package { name: "busybox-static", programs: &["busybox"] },
    Package { name: "xz-utils", programs: &["xz"] },
    Package { name: "util-linux", programs: &["setpriv"] },
];

/// Installs those that are missing, if any; needs root for that.
pub fn install(packages: &[Package]) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
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

fn missing(packages: &[Package]) -> Vec<&'static str> {
    packages
        .iter()
        .filter(|package| !package.programs.iter().all(|program| usable(program)))
        .map(|package| package.name)
        .collect()
}

fn usable(program: &str) -> bool {
    match program {
        // A dynamically linked one is of no use in a guest without libraries.
        "busybox" => vm::busybox().is_ok(),
        _ => process::find(program).is_some(),
    }
}

fn apt_get(packages: &[&str]) -> Result<()> {
    process::output(process::as_root("apt-get")?.args(["-q", "update"]))?;
    process::output(
        process::as_root("env")?
            .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "install", "-y"])
            .arg("--no-install-recommends")
            // Others may be installing something at this moment, too.
            .args(["-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=120"])
            .args(packages),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_missing_with_any_of_its_programs() {
        let shell = Package { name: "shell", programs: &["sh"] };
        let both = Package { name: "both", programs: &["sh", "no-such-program"] };
        assert_eq!(missing(&[shell, both]), ["both"]);
    }
}
