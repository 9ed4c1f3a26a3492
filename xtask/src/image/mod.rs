//! `cargo xtask image`: an image from scratch with the static binary alone, for each architecture.
//!
//! It is written here, byte by byte, and not by a builder: that takes no daemon, no root and no network, and the same
//! binary gives the same image everywhere. `deploy/Containerfile` is for those who build with tools of their own.

mod layout;
mod tar;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

pub use layout::{About, Binary, image};

use crate::arch::{self, Arch};
use crate::project::Project;
use crate::{build, process};

/// What another architecture's image holds in `local`.
const STAND_IN: &[u8] = b"no program: built to be run on another architecture only\n";

/// Builds the binaries for these architectures, and the image as an archive that `docker load` and `podman load` take.
pub fn build(project: &Project, archs: &[&'static Arch]) -> Result<PathBuf> {
    let binaries = archs.iter().map(|arch| read(arch, &build::build_for(project, arch)?));
    let binaries: Vec<Binary> = binaries.collect::<Result<_>>()?;
    let archive = project.target.join("dist/tcpwatch-image.tar");
    write(project, &binaries, &archive)?;
    Ok(archive)
}

/// Like `build` for all architectures, to be run on this machine: a release for another architecture takes minutes, and what
/// is in its place here would not run, so an engine that takes the wrong one is noticed.
pub fn build_local(project: &Project) -> Result<PathBuf> {
    let host = build::build(project)?;
    let binaries =
        arch::ALL.map(|arch| if arch.is_host() { read(arch, &host) } else { Ok((arch, STAND_IN.to_vec())) });
    let binaries: Vec<Binary> = binaries.into_iter().collect::<Result<_>>()?;
    let archive = local(project);
    write(project, &binaries, &archive)?;
    Ok(archive)
}

/// What `build_local` writes.
pub fn local(project: &Project) -> PathBuf {
    project.target.join("image/tcpwatch-image.tar")
}

/// Builds all of it a second time, in another folder, from the files that git knows, and compares.
pub fn reproduce(project: &Project, archs: &[&'static Arch]) -> Result<()> {
    let first = process::read(&build(project, archs)?)?;
    let folder = std::env::temp_dir().join(format!("tcpwatch-elsewhere-{}", std::process::id()));
    let second = elsewhere(project, archs, &folder);
    let removed = fs::remove_dir_all(&folder);
    let second = second?;
    removed.with_context(|| format!("cannot remove {}", folder.display()))?;
    ensure!(
        first == second,
        "built in another folder, the image is another one: {}",
        difference(&first, &second)
    );
    println!("the same image from two folders");
    Ok(())
}

fn elsewhere(project: &Project, archs: &[&'static Arch], folder: &Path) -> Result<Vec<u8>> {
    let other = Project { root: folder.join("copy"), target: folder.join("built"), host: project.host };
    fs::create_dir_all(&other.root).with_context(|| format!("cannot create {}", other.root.display()))?;
    let mut copy = Command::new("sh");
    copy.args(["-c", "git ls-files -z | xargs -0 cp --parents -t \"$0\""]).arg(&other.root);
    process::run(copy.current_dir(&project.root))?;
    // What `setup` brings is no part of what is compared.
    let tools = project.root.join(".tools");
    std::os::unix::fs::symlink(&tools, other.root.join(".tools"))
        .with_context(|| format!("cannot link to {}", tools.display()))?;
    let mut binaries = Vec::new();
    for &arch in archs {
        let mut cargo = other.cargo_static(arch, &["build", "--release", "--package", "tcpwatch"])?;
        process::run(cargo.arg("--target-dir").arg(&other.target))?;
        binaries.push(read(arch, &other.built(arch))?);
    }
    let archive = folder.join("image.tar");
    write(&other, &binaries, &archive)?;
    process::read(&archive)
}

fn difference(first: &[u8], second: &[u8]) -> String {
    let count = first.iter().zip(second).filter(|(first, second)| first != second).count();
    let at = first.iter().zip(second).position(|(first, second)| first != second).unwrap_or_default();
    format!("{count} bytes differ, the first at {at}; {} and {} bytes in all", first.len(), second.len())
}

fn read(arch: &'static Arch, binary: &Path) -> Result<Binary> {
    let bytes = process::read(binary)?;
    ensure!(
        !names_folder(&bytes),
        "{} has names that depend on the folder it was built in, so this image is not the same from everywhere: \
         is a crate built in several units (codegen-units, lto)?",
        binary.display()
    );
    Ok((arch, bytes))
}

fn write(project: &Project, binaries: &[Binary], archive: &Path) -> Result<()> {
    let manifest = process::read(&project.root.join("Cargo.toml"))?;
    let manifest = String::from_utf8_lossy(&manifest);
    let value = |name| of_workspace(&manifest, name).with_context(|| format!("Cargo.toml names no {name}"));
    let about = About {
        name: "tcpwatch",
        description: "Watches the states of a host's TCP sockets through eBPF and explains what is wrong",
        command: "run",
        version: value("version")?,
        licence: value("license")?,
        source: value("repository")?,
    };
    let image = image(binaries, &about)?;
    if let Some(folder) = archive.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(archive, &image.archive).with_context(|| format!("cannot write {}", archive.display()))?;
    println!(
        "{}: tcpwatch:{} for {}\n  sha256 of the file   {}\n  digest of the index  sha256:{}",
        project.relative(archive).display(),
        about.version,
        binaries.iter().map(|(arch, _)| arch.debian).collect::<Vec<_>>().join(" and "),
        layout::sha256(&image.archive)?,
        image.digest
    );
    Ok(())
}

/// Whether there is `.llvm.` with a number in it: so are things called that one unit of a crate has for others of it,
/// and the number is made of the path as well. Two builds (`image again`) show the same, and take minutes.
fn names_folder(binary: &[u8]) -> bool {
    const SHARED: &[u8] = b".llvm.";
    let mut names = binary.windows(SHARED.len() + 1).filter(|name| name.starts_with(SHARED));
    names.any(|name| name[SHARED.len()].is_ascii_digit())
}

/// What `[workspace.package]` says.
fn of_workspace<'a>(manifest: &'a str, name: &str) -> Option<&'a str> {
    let section = manifest.split_once("[workspace.package]\n")?.1;
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    lines
        .filter_map(|line| line.split_once(" = "))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_folder_are_seen() {
        assert!(names_folder(b"_RNv4main.llvm.15196331355665466606"));
        assert!(!names_folder(b"punycode{}.llvm.called") && !names_folder(b".llvm."));
    }

    #[test]
    fn reads_the_manifest() {
        let text = "[a]\nversion = \"0\"\n[workspace.package]\nversion = \"1.2\"\n\n[b]\nlicense = \"MIT\"\n";
        assert_eq!(of_workspace(text, "version"), Some("1.2"));
        assert_eq!(of_workspace(text, "license"), None);
    }
}
