//! What one process is, from `/proc`: its name, its numbers, its user, its container, its open files.
//!
//! A process may end, and its number be given to another, while it is read: the time it started tells.

use std::fs;
use std::io;
use std::path::Path;

use super::cgroup;
use super::users::Users;
use crate::process::Process;

/// Inode number of the host's first pid namespace; the kernel gives it to no other.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// More descriptors than this are not counted one by one, which kernels before 6.2 ask for.
const MOST_DESCRIPTORS: usize = 65_536;

/// Whether process numbers here are those that the kernel side tells of: in a container without the host's pid
/// namespace they mean other processes.
pub fn sees_host_pids() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == INITIAL_PID_NAMESPACE)
}

/// What is lost without them, and why.
pub const FOREIGN_PIDS: &str = "process numbers here are not the kernel's, as this is not the host's first pid namespace: \
    owners have no names, nor have pods. In a container it takes the host's pid namespace; where nodes are containers \
    themselves (kind, k3d) there is none";

/// The part of `/proc/PID/stat` that says which process it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) command: String,
    /// In ticks since boot.
    pub(super) start: u64,
    /// It has ended, and its parent has not asked how.
    pub(super) is_zombie: bool,
}

impl Stat {
    /// Reads it below `root`, usually `/proc`.
    pub(super) fn read(root: &Path, pid: u32) -> io::Result<Self> {
        let text = fs::read(root.join(pid.to_string()).join("stat"))?;
        Self::parse(&String::from_utf8_lossy(&text))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the format of stat is not known"))
    }

    /// `42 (name) S …`; the name can have spaces and parentheses.
    fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.rsplit_once(')')?;
        let command = before.split_once('(')?.1.to_owned();
        let mut fields = after.split_ascii_whitespace();
        let state = fields.next()?;
        // Fields 20 and 22 of the line, of which the first two are before the parenthesis.
        let threads: u64 = fields.nth(16)?.parse().ok()?;
        let start = fields.nth(1)?.parse().ok()?;
        Some(Self { command, start, is_zombie: matches!(state, "Z" | "X") && threads <= 1 })
    }
}

/// Reads all that is known of a process that runs.
pub(super) fn read(root: &Path, pid: u32, users: &Users) -> io::Result<(Process, Stat)> {
    let directory = root.join(pid.to_string());
    let before = Stat::read(root, pid)?;
    if before.is_zombie {
        return Err(io::ErrorKind::NotFound.into());
    }
    let status = fs::read(directory.join("status"))?;
    let status = String::from_utf8_lossy(&status);
    let uid = uid(&status);
    let place = fs::read(directory.join("cgroup"))
        .map(|text| cgroup::place(&String::from_utf8_lossy(&text)))
        .unwrap_or_default();
    let process = Process {
        pid,
        inner_pid: inner_pid(&status, pid),
        command: Some(before.command.clone()),
        uid,
        user: uid.and_then(|uid| users.name(uid)).map(str::to_owned),
        cgroup: place.cgroup,
        container: place.container,
        unit: place.unit,
        exited: false,
        files: files(root, pid, None),
    };
    let after = Stat::read(root, pid)?;
    if after.start != before.start || after.is_zombie {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok((process, after))
}

/// Open files and the limit on them, which is read unless it is known.
pub(super) fn files(root: &Path, pid: u32, limit: Option<u64>) -> Option<(u64, u64)> {
    let directory = root.join(pid.to_string());
    let limit = limit.or_else(|| open_files_limit(&fs::read_to_string(directory.join("limits")).ok()?))?;
    let descriptors = directory.join("fd");
    // Since Linux 6.2 the size of the directory is how many there are; before, and for none, it is 0.
    let open = match fs::metadata(&descriptors).ok()?.len() {
        0 => count(&descriptors)?,
        size => size,
    };
    Some((open, limit))
}

fn count(directory: &Path) -> Option<u64> {
    let seen = fs::read_dir(directory).ok()?.take(MOST_DESCRIPTORS + 1).count();
    // What is above is not known, and not that many.
    (seen <= MOST_DESCRIPTORS).then(|| u64::try_from(seen).ok()).flatten()
}

/// The soft limit, which is the one that hurts; `None` if there is none.
fn open_files_limit(limits: &str) -> Option<u64> {
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()
}

/// The effective one, as `ps` shows it.
fn uid(status: &str) -> Option<u32> {
    field(status, "Uid:")?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The number in the innermost pid namespace, if that is another.
fn inner_pid(status: &str, pid: u32) -> Option<u32> {
    let inner = field(status, "NSpid:")?.split_ascii_whitespace().last()?.parse().ok()?;
    (inner != pid).then_some(inner)
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_understood() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194304 104 0 0 0 0 0 0 0 20 0 3 0 1286945 2998272 421";
        let stat = Stat { command: "a) b (c".into(), start: 1_286_945, is_zombie: false };
        assert_eq!(Stat::parse(line), Some(stat));
        let zombie = |threads: u32| {
            let line = format!("7 (x) Z 1 7 7 0 -1 4194304 104 0 0 0 0 0 0 0 20 0 {threads} 0 5 0 0");
            Stat::parse(&line).expect("fine").is_zombie
        };
        assert!(zombie(1));
        assert!(!zombie(2), "only its first thread has ended");
        for bad in ["", "7 (x", "7 (x) S", "7 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x"] {
            assert_eq!(Stat::parse(bad), None, "{bad}");
        }
        let status = "Name:\tx\nUid:\t0\t33\t0\t0\nNSpid:\t420\t17\t1\n";
        assert_eq!((uid(status), inner_pid(status, 420)), (Some(33), Some(1)));
        assert_eq!(inner_pid("NSpid:\t420\n", 420), None);
        assert_eq!((uid(""), inner_pid("", 1)), (None, None));
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024     4096    files\n";
        assert_eq!(open_files_limit(limits), Some(1024));
        assert_eq!(open_files_limit("Max open files   unlimited  unlimited  files\n"), None);
    }

    #[test]
    fn this_process_is_described() {
        let mut users = Users::default();
        users.refresh();
        let held: Vec<_> = (0..10).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let (own, stat) = read(Path::new("/proc"), std::process::id(), &users).unwrap();
        assert_eq!(own.pid, std::process::id());
        assert_eq!(own.command, super::super::process::command(own.pid));
        assert_eq!(own.uid, Some(rustix::process::geteuid().as_raw()));
        assert!(own.user.is_some() && own.cgroup.is_some() && !own.exited);
        let (open, limit) = own.files.unwrap();
        let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert_eq!(Some(limit), limits.current);
        assert!(open >= 10 && open <= limit, "{open}");
        assert!(stat.start > 0);
        let counted = count(Path::new("/proc/self/fd")).unwrap();
        assert!(counted.abs_diff(open) < 50, "{counted} and {open}, other tests open files");
        drop(held);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        assert!(read(Path::new("/proc"), u32::MAX, &Users::default()).is_err());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let error = loop {
            match read(Path::new("/proc"), child.id(), &Users::default()) {
                Ok(_) => std::thread::yield_now(),
                Err(error) => break error,
            }
        };
        // A zombie: it is there until we ask how it ended.
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        child.wait().unwrap();
    }
}
