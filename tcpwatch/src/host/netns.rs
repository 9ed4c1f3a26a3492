//! Finds the network namespaces of the host and runs code inside them.
//!
//! A namespace is known by its inode number. The kernel hands a number out
//! again once its namespace is gone, so it identifies a living namespace only;
//! [`within`] checks it again. Nothing here keeps a namespace alive: no file
//! descriptor outlives a call. Not found are namespaces held only by an open
//! descriptor, by a socket, by a thread other than a main thread, or by a bind
//! mount that neither we nor the first process have.

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RawDir, Stat, fstat, openat, readlinkat, readlinkat_raw, statat,
};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Of the calling thread, which may be in another than the process's first thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// Where a process's mounts are listed, and where its root directory is seen from here.
struct Mounts<'a> {
    list: &'a str,
    root: &'a str,
}

const MOUNTS: Mounts<'_> = Mounts { list: "/proc/self/mountinfo", root: "" };

/// Those of the host. A container's are others, and so are a service's that is shut off by systemd:
/// what is mounted after it has started need not reach it.
const MOUNTS_OF_FIRST: Mounts<'_> = Mounts { list: "/proc/1/mountinfo", root: "/proc/1/root" };

/// Why a namespace could not be listed or entered.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    #[error(
        "cannot list network namespaces from {path}: {source}; \
         only the daemon's own is watched (is /proc mounted?)"
    )]
    List { path: PathBuf, source: io::Error },
    /// Ended since it was found: normal for short-lived containers.
    #[error("network namespace {inode} is gone from {path}; it is dropped at the next discovery")]
    Gone { inode: u64, path: PathBuf },
    #[error(
        "not allowed to enter network namespace {inode} through {path}: {source}; its counters and \
         sockets are missing. Give the daemon CAP_SYS_ADMIN (to enter) and CAP_SYS_PTRACE (to open \
         namespaces of other users' processes)"
    )]
    Denied { inode: u64, path: PathBuf, source: io::Error },
    #[error(
        "cannot enter network namespace {inode} through {path}: {source}; \
         its counters and sockets are missing"
    )]
    Enter { inode: u64, path: PathBuf, source: io::Error },
}

/// Where a network namespace can be opened. Holds nothing open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetnsHandle {
    pub inode: u64,
    /// A bind mount if there is one, as it outlives processes (for one that only the first process has, below
    /// `/proc/1/root`); else `/proc/PID/ns/net`.
    pub path: PathBuf,
    /// File name of the bind mount: the NAME of `ip netns add NAME`.
    pub name: Option<String>,
    /// Whether this is the daemon's own namespace.
    pub is_own: bool,
}

/// What [`discover`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// One entry per namespace, by rising inode number.
    pub namespaces: Vec<NetnsHandle>,
    /// Processes whose namespace may not be seen; theirs may be missing.
    pub unreadable: usize,
}

/// Lists the namespaces of named bind mounts and of all processes. Costs a few
/// microseconds per process. Not to be called inside [`within`].
pub fn discover() -> Result<Discovery, NetnsError> {
    let list_error = |path: &str| {
        let path = PathBuf::from(path);
        move |source: io::Error| NetnsError::List { path, source }
    };
    let own = statat(CWD, OWN, AtFlags::empty()).map_err(io::Error::from).map_err(list_error(OWN))?;
    let mut found = BTreeMap::new();
    found.insert(own.st_ino, NetnsHandle { inode: own.st_ino, path: OWN.into(), name: None, is_own: true });
    // Mounts before processes: their paths are the better ones.
    add_mounts(&MOUNTS, &own, &mut found).map_err(list_error(MOUNTS.list))?;
    if has_other_mounts("/proc/1") {
        // It may be hidden from us: then less is found.
        let _ = add_mounts(&MOUNTS_OF_FIRST, &own, &mut found);
    }
    let unreadable = add_processes(&mut found).map_err(io::Error::from).map_err(list_error("/proc"))?;
    Ok(Discovery { namespaces: found.into_values().collect(), unreadable })
}

/// Whether a process is in a mount namespace other than ours, as far as we may know.
fn has_other_mounts(process: &str) -> bool {
    let namespace = |process: &str| readlinkat(CWD, format!("{process}/ns/mnt"), Vec::new());
    matches!((namespace(process), namespace("/proc/self")), (Ok(its), Ok(ours)) if its != ours)
}

fn add_mounts(
    mounts: &Mounts<'_>,
    own: &Stat,
    found: &mut BTreeMap<u64, NetnsHandle>,
) -> Result<(), io::Error> {
    let mountinfo = fs::read(mounts.list)?;
    for (inode, point) in parse_mounts(&mountinfo) {
        let name = point.file_name().map(|n| n.to_string_lossy().into_owned());
        let mut path = OsString::from(mounts.root);
        path.push(&point);
        let path = PathBuf::from(path);
        // Another mount may lie on top, or the path be outside of its root.
        let visible = statat(CWD, &path, AtFlags::empty())
            .is_ok_and(|seen| seen.st_ino == inode && seen.st_dev == own.st_dev);
        if !visible {
            continue;
        }
        let entry =
            found.entry(inode).or_insert_with(|| NetnsHandle { inode, path, name: None, is_own: false });
        entry.name = entry.name.take().or(name);
    }
    Ok(())
}

/// Adds the namespace of every process; returns how many may not be seen.
fn add_processes(found: &mut BTreeMap<u64, NetnsHandle>) -> Result<usize, Errno> {
    let proc = openat(CWD, "/proc", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut entries = Vec::with_capacity(32 * 1024);
    let mut entries = RawDir::new(&proc, entries.spare_capacity_mut());
    let mut path = String::new();
    let mut link = [0; 64];
    let mut unreadable = 0;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let pid = match entry.file_name().to_str() {
            Ok(name) if name.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => continue,
        };
        path.clear();
        path.push_str(pid);
        path.push_str("/ns/net");
        // Reading the link costs half of what following it does.
        match readlinkat_raw(&proc, path.as_str(), &mut link) {
            Ok(len) => {
                let Some(inode) = link.get(..len).and_then(parse_link) else {
                    continue;
                };
                found.entry(inode).or_insert_with(|| NetnsHandle {
                    inode,
                    path: Path::new("/proc").join(&path),
                    name: None,
                    is_own: false,
                });
            }
            // Ended meanwhile, or only its main thread has.
            Err(Errno::NOENT | Errno::SRCH) => {}
            Err(_) => unreadable += 1,
        }
    }
    Ok(unreadable)
}

/// The namespace mounts in the text of mountinfo: inode number and mount point.
fn parse_mounts(mountinfo: &[u8]) -> impl Iterator<Item = (u64, PathBuf)> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(|line| {
        // ID, parent, device, root within the file system, mount point.
        let mut fields = line.split(|byte| *byte == b' ').skip(3);
        let inode = parse_link(fields.next()?)?;
        let path = unescape(fields.next()?);
        Some((inode, PathBuf::from(OsStr::from_bytes(&path))))
    })
}

/// The number in `net:[4026531833]`.
fn parse_link(link: &[u8]) -> Option<u64> {
    let digits = link.strip_prefix(b"net:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Undoes the `\040` style of mountinfo.
fn unescape(mut field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    while let Some((&byte, rest)) = field.split_first() {
        field = rest;
        let code = rest.first_chunk().filter(|_| byte == b'\\');
        if let Some(&[a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7']) = code {
            plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            field = &rest[3..];
        } else {
            plain.push(byte);
        }
    }
    plain
}

/// Runs `f` with the calling thread inside the namespace and comes back, also
/// when `f` panics. There `/proc/thread-self/net` shows that namespace, and
/// sockets made there belong to it. A thread that cannot come back would read
/// and report the wrong namespace for ever, so then the process is aborted.
pub fn within<T>(target: &NetnsHandle, f: impl FnOnce() -> T) -> Result<T, NetnsError> {
    let _guard = Guard::enter(target)?;
    Ok(f())
}

/// Takes the thread home when dropped. Private, so that it stays on its thread
/// and cannot be forgotten.
struct Guard {
    /// `None` if the thread was in the wanted namespace already.
    home: Option<OwnedFd>,
}

impl Guard {
    fn enter(target: &NetnsHandle) -> Result<Self, NetnsError> {
        let fail = |errno| enter_error(target, errno);
        let home = open(Path::new(OWN)).map_err(fail)?;
        if fstat(&home).map_err(fail)?.st_ino == target.inode {
            return Ok(Self { home: None });
        }
        let fd = open(&target.path).map_err(fail)?;
        // The PID or the mount point may belong to somebody else by now.
        if fstat(&fd).map_err(fail)?.st_ino != target.inode {
            return Err(fail(Errno::NOENT));
        }
        set(fd.as_fd()).map_err(fail)?;
        Ok(Self { home: Some(home) })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(Err(errno)) = self.home.as_ref().map(|home| set(home.as_fd())) {
            let _ = writeln!(
                io::stderr(),
                "fatal: cannot return to the daemon's own network namespace: {errno}; \
                 stopping, as all further readings would be of the wrong namespace"
            );
            std::process::abort();
        }
    }
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn set(fd: rustix::fd::BorrowedFd<'_>) -> Result<(), Errno> {
    move_into_link_name_space(fd, Some(LinkNameSpaceType::Network))
}

fn enter_error(target: &NetnsHandle, errno: Errno) -> NetnsError {
    let (inode, path) = (target.inode, target.path.clone());
    match errno {
        // EINVAL: the file is no namespace (any more).
        Errno::NOENT | Errno::SRCH | Errno::INVAL => NetnsError::Gone { inode, path },
        Errno::PERM | Errno::ACCESS => NetnsError::Denied { inode, path, source: errno.into() },
        _ => NetnsError::Enter { inode, path, source: errno.into() },
    }
}

#[cfg(test)]
#[path = "netns_tests.rs"]
mod tests;
