//! Network namespaces with a name in /run/netns, as `ip netns add` makes them.

use super::link;
use super::withheld::Withheld;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::mount::{mount, mount_bind, mount_bind_recursive, mount_change, unmount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use rustix::thread::{move_into_link_name_space, unshare_unsafe};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const DIR: &str = "/run/netns";
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A network namespace of its own, gone when dropped (as soon as no socket or
/// thread is left in it).
#[derive(Debug)]
pub struct Netns {
    name: String,
    path: PathBuf,
    file: File,
    _watchdog: Sender<()>,
    withheld: Withheld,
}

/// No test lasts so long, not even in a guest. One that does waits for what will never come, and all others for it.
const LONGEST: Duration = Duration::from_mins(8);

impl Netns {
    /// Makes /run/netns/tw-PID-N-HINT, with the loopback device up.
    pub fn new(hint: &str) -> Netns {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut name = format!("tw-{}-{n}", std::process::id());
        if !hint.is_empty() {
            name = format!("{name}-{hint}");
        }
        let path = Path::new(DIR).join(&name);
        prepare_dir();
        thread::scope(|scope| {
            scope.spawn(|| {
                // SAFETY: only the network namespace of this thread changes, no fd table.
                unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
                    .unwrap_or_else(|e| panic!("make a network namespace (root?): {e}"));
                File::create_new(&path).unwrap_or_else(|e| panic!("create {}: {e}", path.display()));
                mount_bind("/proc/thread-self/ns/net", &path)
                    .unwrap_or_else(|e| panic!("bind-mount {}: {e}", path.display()));
                link::up("lo");
            });
        });
        let file = File::open(&path).unwrap_or_else(|e| panic!("open {}: {e}", path.display()));
        let watchdog = watchdog(name.clone());
        Netns { name, path, file, _watchdog: watchdog, withheld: Withheld::watch() }
    }

    /// The name, for `ip netns exec NAME`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file in /run/netns, for `nsenter --net=FILE`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The inode number that identifies the namespace.
    pub fn inode(&self) -> u64 {
        self.file.metadata().expect("stat a namespace").ino()
    }

    /// The open namespace, for [`run_in`]. It keeps the namespace alive, not the name.
    pub fn file(&self) -> File {
        self.file.try_clone().expect("duplicate a namespace fd")
    }

    /// Runs `f` inside, on a thread of its own, and passes on its panic.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        run_in(&self.file, f)
    }

    /// The same with a /run of its own: nobody has the default port or the default socket there.
    pub fn run_apart<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.run(|| {
            // SAFETY: only what this thread sees of the file system changes, no fd table.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.expect("unshare mounts");
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            mount_change("/", private).expect("keep mounts to ourselves");
            mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).expect("mount a /run");
            f()
        })
    }

    /// Starts a thread inside.
    pub fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let file = self.file();
        thread::spawn(move || {
            enter(&file);
            f()
        })
    }

    /// Writes a sysctl such as `net.ipv4.tcp_syncookies`.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        self.run(|| fs::write(&path, value)).unwrap_or_else(|e| panic!("sysctl {name}={value}: {e}"));
    }

    /// The kernel's counters, by names such as `Tcp.PassiveOpens` and
    /// `TcpExt.ListenDrops`.
    pub fn snmp(&self) -> HashMap<String, u64> {
        self.run(|| {
            let mut counters = HashMap::new();
            for file in ["snmp", "netstat"] {
                let path = format!("/proc/thread-self/net/{file}");
                let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
                counters.extend(parse_counters(&text));
            }
            counters
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let unmounted = unmount(&self.path, UnmountFlags::DETACH);
        let removed = fs::remove_file(&self.path);
        if thread::panicking() {
            // A test that failed already has something better to say, but for this: the runner looks for it.
            for event in self.withheld.events() {
                println!("withheld from every program: {event}");
            }
        } else {
            unmounted.unwrap_or_else(|e| panic!("unmount {}: {e}", self.path.display()));
            removed.unwrap_or_else(|e| panic!("remove {}: {e}", self.path.display()));
        }
    }
}

/// Ends the whole run when what it returns is still there after [`LONGEST`].
fn watchdog(name: String) -> Sender<()> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        if receiver.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
            let mut stderr = std::io::stderr();
            let _ = writeln!(stderr, "the test that made {name} is not over after {LONGEST:?}: it hangs");
            std::process::abort();
        }
    });
    sender
}

/// Runs `f` in the namespace `ns`, on a thread of its own, and passes on its panic.
pub fn run_in<T: Send>(ns: &File, f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(ns);
            f()
        });
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Joins two namespaces with a veth pair: `tw0` in each, /24 or /64.
pub fn veth(a: &Netns, b: &Netns, addr_a: IpAddr, addr_b: IpAddr) {
    a.run(|| link::new_veth("tw0", "tw0", b.file.as_fd()));
    for ns in [a, b] {
        ns.run(|| link::up("tw0"));
    }
    for (ns, addr) in [(a, addr_a), (b, addr_b)] {
        ns.run(|| link::add_addr("tw0", addr, if addr.is_ipv4() { 24 } else { 64 }));
    }
}

fn enter(ns: &File) {
    move_into_link_name_space(ns.as_fd(), Some(LinkNameSpaceType::Network))
        .expect("enter a network namespace");
}

/// Makes /run/netns a shared mount point, as iproute2 does: a name removed here
/// then goes away in every other mount namespace too.
fn prepare_dir() {
    fs::create_dir_all(DIR).expect("create /run/netns");
    let dir = File::open(DIR).expect("open /run/netns");
    // Two processes that both find no mount would stack two of them.
    dir.lock().expect("lock /run/netns");
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    match mount_change(DIR, shared) {
        Ok(()) => {}
        Err(Errno::INVAL) => {
            mount_bind_recursive(DIR, DIR).expect("bind-mount /run/netns on itself");
            mount_change(DIR, shared).expect("share /run/netns");
        }
        Err(e) => panic!("share /run/netns: {e}"),
    }
}

/// Parses pairs of lines, `Tcp: names` and `Tcp: values`. A value below zero (no
/// limit) is left out.
fn parse_counters(text: &str) -> HashMap<String, u64> {
    let lines: Vec<&str> = text.lines().collect();
    let mut counters = HashMap::new();
    for pair in lines.chunks_exact(2) {
        let (group, names) = pair[0].split_once(':').expect("a line of counter names");
        let (_, values) = pair[1].split_once(':').expect("a line of counter values");
        for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
            if let Ok(value) = value.parse() {
                counters.insert(format!("{group}.{name}"), value);
            }
        }
    }
    counters
}

#[cfg(test)]
mod tests {
    #[test]
    fn counters_are_named_by_group() {
        let counters = super::parse_counters("Tcp: MaxConn PassiveOpens\nTcp: -1 7\nTcpExt: TW\nTcpExt: 2\n");
        assert_eq!(counters["Tcp.PassiveOpens"], 7);
        assert_eq!(counters["TcpExt.TW"], 2);
        assert!(!counters.contains_key("Tcp.MaxConn"));
    }
}
