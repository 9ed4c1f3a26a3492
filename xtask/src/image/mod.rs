//! `cargo xtask image`: an image from scratch with the static binary alone.
//!
//! It is written here, byte by byte, and not by a builder: that takes no daemon, no root and no network, and the same
//! binary gives the same image everywhere. `deploy/Containerfile` is for those who build with tools of their own.

mod layout;
mod tar;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

pub use layout::{About, image};

use crate::project::Project;
use crate::{build, process};

/// Builds the binary, and the image as an archive that `docker load` and `podman load` take.
pub fn build(project: &Project) -> Result<PathBuf> {
    let binary = build::build(project)?;
    let archive = project.target.join("dist/tcpwatch-image.tar");
    write(project, &binary, &archive)?;
    Ok(archive)
}

/// Builds all of it a second time, in another folder, from the files that git knows, and compares.
pub fn reproduce(project: &Project) -> Result<()> {
    let first = process::read(&build(project)?)?;
    let folder = std::env::temp_dir().join(format!("tcpwatch-elsewhere-{}", std::process::id()));
    let second = elsewhere(project, &folder);
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

fn elsewhere(project: &Project, folder: &Path) -> Result<Vec<u8>> {
    let other =
        Project { root: folder.join("copy"), target: folder.join("built"), musl: project.musl.clone() };
    fs::create_dir_all(&other.root).with_context(|| format!("cannot create {}", other.root.display()))?;
    let mut copy = Command::new("sh");
    copy.args(["-c", "git ls-files -z | xargs -0 cp --parents -t \"$0\""]).arg(&other.root);
    process::run(copy.current_dir(&project.root))?;
    // What `setup` brings is no part of what is compared.
    let tools = project.root.join(".tools");
    std::os::unix::fs::symlink(&tools, other.root.join(".tools"))
        .with_context(|| format!("cannot link to {}", tools.display()))?;
    let mut cargo = other.cargo_static(&["build", "--release", "--package", "tcpwatch"])?;
    process::run(cargo.arg("--target-dir").arg(&other.target))?;
    let archive = folder.join("image.tar");
    write(&other, &other.built(), &archive)?;
    process::read(&archive)
}

fn difference(first: &[u8], second: &[u8]) -> String {
    let count = first.iter().zip(second).filter(|(first, second)| first != second).count();
    let at = first.iter().zip(second).position(|(first, second)| first != second).unwrap_or_default();
    format!("{count} bytes differ, the first at {at}; {} and {} bytes in all", first.len(), second.len())
}

fn write(project: &Project, binary: &Path, archive: &Path) -> Result<()> {
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
    let binary = process::read(binary)?;
    ensure!(
        !names_folder(&binary),
        "the binary has names that depend on the folder it was built in, so this image is not the same from everywhere: \
         is a crate built in several units (codegen-units, lto)?"
    );
    let image = image(&binary, &about)?;
    fs::write(archive, &image.archive).with_context(|| format!("cannot write {}", archive.display()))?;
    println!(
        "{}: tcpwatch:{}\n  sha256 of the file      {}\n  digest of the manifest  sha256:{}",
        project.relative(archive).display(),
        about.version,
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
