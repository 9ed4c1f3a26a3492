//! Finds, downloads and unpacks the cloud kernel of a Debian suite.
//!
//! Nothing is pinned: point releases remove older kernels from the mirrors, so
//! the meta package `linux-image-cloud-<arch>` tells what the suite has now. An
//! unpacked kernel stays in the cache; the suite is asked again after a day.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::apt::Apt;
use super::target::Target;
use super::{modules, tools, version};
use crate::process;

const FRESH: Duration = Duration::from_hours(24);
/// That of this machine serves guests of its architecture; others get that of their suite.
const BUSYBOX: &str = "busybox";

/// An unpacked kernel in the cache.
pub struct Kernel {
    /// As `uname -r` prints it.
    pub release: String,
    directory: PathBuf,
}

impl Kernel {
    pub fn vmlinuz(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// A static busybox for the kernel's architecture.
    pub fn busybox(&self) -> Result<PathBuf> {
        let path = self.directory.join(BUSYBOX);
        if path.exists() { Ok(path) } else { tools::busybox() }
    }

    /// Uncompressed modules in the order they have to be loaded.
    pub fn modules(&self) -> Result<Vec<PathBuf>> {
        let order = process::read(&self.directory.join("modules"))?;
        Ok(String::from_utf8_lossy(&order)
            .lines()
            .map(|name| self.directory.join(format!("{name}.ko")))
            .collect())
    }
}

/// The newest kernel of a suite, from the cache or the mirror.
pub fn prepare(cache: &Path, target: &Target) -> Result<Kernel> {
    let root = cache.join("apt").join(target.file_name());
    let note = root.join("current");
    let cached = read_note(cache, &note);
    if let Some(kernel) = cached {
        if is_fresh(&note) {
            return Ok(kernel);
        }
        // A mirror that is down must not stop tests for which all is here.
        return match refresh(cache, target, &root, &note) {
            Ok(kernel) => Ok(kernel),
            Err(error) => {
                println!("{target}: {error:#}; using the cached {}", kernel.release);
                Ok(kernel)
            }
        };
    }
    refresh(cache, target, &root, &note)
}

/// Asks the mirror, and downloads what is not in the cache yet.
fn refresh(cache: &Path, target: &Target, root: &Path, note: &Path) -> Result<Kernel> {
    println!("{target}: looking for the newest kernel");
    let apt = Apt::new(root, target)?;
    apt.update()?;
    let meta = format!("linux-image-cloud-{}", target.arch.debian);
    let (release, version) = newest(&apt.show(&meta)?)
        .with_context(|| format!("{meta} of {target} names no linux-image-<version>"))?;

    // The same release can be rebuilt, so the package version is part of the key.
    let name = format!("{release}_{}", version.replace(':', "-"));
    let directory = cache.join("kernels").join(&name);
    if !directory.join("vmlinuz").exists() {
        download(&apt, target, &release, &directory)?;
    }
    fs::write(note, format!("{release}\n{name}\n"))
        .with_context(|| format!("cannot write {}", note.display()))?;
    Ok(Kernel { release, directory })
}

fn read_note(cache: &Path, note: &Path) -> Option<Kernel> {
    let text = fs::read_to_string(note).ok()?;
    let (release, name) = text.trim_end().split_once('\n')?;
    let directory = cache.join("kernels").join(name);
    directory.join("vmlinuz").exists().then(|| Kernel { release: release.to_owned(), directory })
}

fn is_fresh(note: &Path) -> bool {
    let age = fs::metadata(note).and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
    age.is_some_and(|age| age < FRESH)
}

/// Release and package version of the newest record of the meta package.
fn newest(records: &str) -> Option<(String, String)> {
    records
        .split("\n\n")
        .filter_map(|record| {
            let field = |name: &str| record.lines().find_map(|line| line.strip_prefix(name));
            let version = field("Version: ")?;
            let release = field("Depends: ")?.split(", ").find_map(|dependency| {
                let release = dependency.split(' ').next()?.strip_prefix("linux-image-")?;
                release.starts_with(|c: char| c.is_ascii_digit()).then_some(release)
            })?;
            Some((release, version))
        })
        .max_by(|(_, a), (_, b)| version::compare(a, b))
        .map(|(release, version)| (release.to_owned(), version.to_owned()))
}

/// Works in a scratch directory and renames it at the end: a kernel directory
/// in the cache is always complete.
fn download(apt: &Apt, target: &Target, release: &str, directory: &Path) -> Result<()> {
    // Up to 6.x the image package holds everything. From 7.x it is a meta
    // package, with the parts in -binary and -modules.
    let mut packages = Vec::new();
    for part in ["image", "binary", "modules"] {
        let package = format!("linux-{part}-{release}");
        if !apt.show(&package)?.is_empty() {
            packages.push(package);
        }
    }
    if packages.is_empty() {
        bail!("{target} has no linux-image-{release}, although its meta package depends on it");
    }
    if !target.arch.is_host() {
        packages.push("busybox-static".to_owned());
    }
    println!("{target}: {release}: downloading {}", packages.join(" "));

    let scratch = directory.with_extension("partial");
    let (tree, result) = (scratch.join("tree"), scratch.join("result"));
    remove(&scratch)?;
    for path in [&tree, &result] {
        fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    apt.download(&packages, &scratch)?;
    for entry in list(&scratch)? {
        if entry.extension().is_some_and(|extension| extension == "deb") {
            process::output(Command::new("dpkg-deb").arg("-x").arg(&entry).arg(&tree))
                .with_context(|| format!("cannot unpack {}: is the disk full?", entry.display()))?;
        }
    }
    collect(target, release, &tree, &result)?;
    remove(directory)?;
    fs::rename(&result, directory)
        .with_context(|| format!("cannot move the kernel to {}", directory.display()))?;
    remove(&scratch)
}

/// Picks the image, the modules and busybox out of the unpacked packages.
fn collect(target: &Target, release: &str, tree: &Path, result: &Path) -> Result<()> {
    let mut files = Vec::new();
    walk(tree, &mut files)?;
    let find = |names: &[String]| {
        files.iter().find(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            names.iter().any(|wanted| modules::normal(&name) == *wanted)
        })
    };
    let names = ["vmlinuz".to_owned(), modules::normal(&format!("vmlinuz-{release}"))];
    let image = find(&names)
        .with_context(|| format!("the packages of {release} hold no vmlinuz: their layout has changed"))?;

    let wanted: Vec<&str> = modules::REQUIRED.into_iter().chain(modules::OPTIONAL).collect();
    let order = modules::insmod_order(&wanted, |name| {
        let names = [".ko", ".ko.xz"].map(|suffix| format!("{name}{suffix}"));
        let Some(file) = find(&names) else {
            return Ok(None);
        };
        let data = if file.extension().is_some_and(|extension| extension == "xz") {
            // The guest's insmod would leave decompression to the kernel, which
            // not every kernel does.
            process::output(Command::new("xz").arg("-dc").arg(file))?
        } else {
            process::read(file)?
        };
        let file = result.join(format!("{name}.ko"));
        fs::write(&file, &data).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Some(modules::depends(&data)))
    })?;
    for name in modules::REQUIRED {
        if !order.iter().any(|other| other == name) {
            println!("{target}: {release}: has no module {name} (built in, or left out)");
        }
    }

    fs::write(result.join("modules"), order.join("\n") + "\n")
        .with_context(|| format!("cannot write to {}", result.display()))?;
    let copy = |from: &Path, name: &str| {
        let to = result.join(name);
        let copied = fs::copy(from, &to).map(drop);
        copied.with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
    };
    if !target.arch.is_host() {
        // Its package has other files of this name, and where the program is depends on the release.
        let busybox = files.iter().find(|file| file.ends_with("bin/busybox"));
        copy(busybox.context("busybox-static holds no bin/busybox: its layout has changed")?, BUSYBOX)?;
    }
    // Last: with this one a kernel counts as there.
    copy(image, "vmlinuz")
}

fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
    };
    read().with_context(|| format!("cannot list {}", directory.display()))
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for path in list(directory)? {
        // Not following links: packages link build trees that are not there.
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: &str = "Package: linux-image-cloud-amd64\nVersion: 6.9.7-1\n\
        Depends: linux-image-6.9.7-cloud-amd64 (= 6.9.7-1)\n\n\
        Package: linux-image-cloud-amd64\nVersion: 6.12.3-1\n\
        Depends: linux-base-cloud-amd64 (= 6.12.3-1), linux-image-6.12.3+deb14-cloud-amd64 (= 6.12.3-1)\n\
        Description: Linux\n\nPackage: broken\nVersion: 9\n";

    #[test]
    fn takes_the_newest_record() {
        let (release, version) = newest(RECORDS).unwrap();
        assert_eq!(release, "6.12.3+deb14-cloud-amd64");
        assert_eq!(version, "6.12.3-1");
        assert!(newest("").is_none());
        assert!(newest("Version: 1\nDepends: linux-image-amd64\n").is_none());
    }
}
