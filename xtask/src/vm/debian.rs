//! A small Debian with systemd as an archive that the kernel unpacks: packages are only unpacked, none of their scripts
//! runs, so that neither root nor a chroot is needed.
//!
//! What the scripts would have made is written here: the users, the links of the merged `/usr`.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::apt::Apt;
use super::cpio::Archive;
use super::target::Target;
use crate::process;

/// Beside what these need: that is, beside libraries. The newest systemd only asks for libseccomp when it filters.
const PACKAGES: [&str; 16] = [
    "base-files",
    "bash",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "grep",
    "iproute2",
    "kmod",
    "libseccomp2",
    "mount",
    "perl-base",
    "procps",
    "sed",
    "systemd",
    "util-linux",
];

/// Documentation, and tables that nothing here reads.
const LEFT_OUT: [&str; 8] = [
    "./usr/share/doc",
    "./usr/share/man",
    "./usr/share/locale",
    "./usr/share/zoneinfo",
    "./usr/share/i18n",
    "./usr/lib/udev/hwdb.d",
    "./lib/udev/hwdb.d",
    "./usr/lib/x86_64-linux-gnu/gconv",
];

const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

const FILES: [(&str, &str); 5] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\nadm:x:4:\ntty:x:5:\nutmp:x:43:\nsystemd-journal:x:999:\nnogroup:x:65534:\n"),
    ("etc/hostname", "guest\n"),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("etc/fstab", ""),
];

const FRESH: Duration = Duration::from_hours(7 * 24);

/// The archive of a suite, from the cache or made anew; after a week the mirror is asked again.
pub fn prepare(cache: &Path, suite: &str) -> Result<PathBuf> {
    let archive = cache.join(format!("debian-{suite}.cpio"));
    let age =
        fs::metadata(&archive).and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
    // An archive that was made by other rules is not the one.
    let note = archive.with_extension("made");
    let rules = format!("{PACKAGES:?}\n{LEFT_OUT:?}\n{FILES:?}\n");
    let is_same = fs::read_to_string(&note).is_ok_and(|found| found == rules);
    if is_same && age.is_some_and(|age| age < FRESH) {
        return Ok(archive);
    }
    match make(cache, suite, &archive) {
        // A mirror that is down must not stop tests for which all is here.
        Err(error) if is_same && archive.exists() => {
            println!("{suite}: {error:#}; using the cached system");
            Ok(archive)
        }
        made => {
            made?;
            fs::write(&note, rules).with_context(|| format!("cannot write {}", note.display()))?;
            Ok(archive)
        }
    }
}

fn make(cache: &Path, suite: &str, archive: &Path) -> Result<()> {
    println!("{suite}: unpacking a Debian with systemd");
    let apt = Apt::new(&cache.join("apt").join(format!("debian-{suite}")), &Target::parse(suite)?)?;
    apt.update()?;
    let packages = apt.download_all(&PACKAGES)?;
    let tree = cache.join(format!("debian-{suite}.tree"));
    remove(&tree)?;
    for name in MERGED {
        let target = tree.join("usr").join(name);
        fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;
        std::os::unix::fs::symlink(format!("usr/{name}"), tree.join(name))?;
    }
    for package in list(&packages)?.iter().filter(|path| path.extension().is_some_and(|found| found == "deb"))
    {
        unpack(package, &tree)?;
    }
    for (path, text) in FILES {
        let path = tree.join(path);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let fresh = archive.with_extension("new");
    let file = File::create(&fresh).with_context(|| format!("cannot create {}", fresh.display()))?;
    let mut out = Archive::new(BufWriter::new(file));
    add(&mut out, &tree, &tree)?;
    out.finish()?;
    fs::rename(&fresh, archive).with_context(|| format!("cannot move {} into place", fresh.display()))?;
    remove(&tree)
}

/// `dpkg-deb -x` would put directories in the place of the links of a merged `/usr`.
fn unpack(package: &Path, tree: &Path) -> Result<()> {
    const UNPACK: &str = "package=$1 tree=$2; shift 2; dpkg-deb --fsys-tarfile \"$package\" | \
        tar -x -C \"$tree\" --keep-directory-symlink --no-same-owner \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", UNPACK, "sh"]).args([package, tree]);
    process::output(command.args(LEFT_OUT.map(|path| format!("--exclude={path}"))))
        .with_context(|| format!("cannot unpack {}: is the disk full?", package.display()))?;
    Ok(())
}

/// Adds what is in a directory.
fn add(archive: &mut Archive<impl Write>, tree: &Path, directory: &Path) -> Result<()> {
    let mut entries = list(directory)?;
    entries.sort();
    for path in entries {
        let name = path.strip_prefix(tree).unwrap_or(&path).to_string_lossy();
        let data = fs::symlink_metadata(&path).with_context(|| format!("cannot find {}", path.display()))?;
        let permissions = data.permissions().mode();
        if data.is_symlink() {
            archive.link(&name, &fs::read_link(&path)?.to_string_lossy())?;
        } else if data.is_dir() {
            archive.directory_as(&name, permissions)?;
            add(archive, tree, &path)?;
        } else if data.is_file() {
            archive.file(&name, permissions, &process::read(&path)?)?;
        }
    }
    Ok(())
}

fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
    };
    read().with_context(|| format!("cannot list {}", directory.display()))
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}
