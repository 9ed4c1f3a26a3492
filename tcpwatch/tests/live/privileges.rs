//! Capabilities, taken away one by one: what then works has to be what `host::privileges` says, which `tcpwatch doctor`
//! and `docs/security.md` repeat.
//!
//! They belong to a thread, so each set is tried on a thread of its own.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CapabilitySet, UnshareFlags, unshare_unsafe};
use tcpwatch::host::netns::NetnsHandle;
use tcpwatch::host::privileges::PRIVILEGES;
use tcpwatch::host::processes::Processes;
use tcpwatch::host::{caps, descriptors, netns};
use tcpwatch::kernel::Options;
use tcpwatch::sample::Sample;
use tcpwatch::source::{Listing, Live, Source as _, Wanted};
use tcpwatch_common::names::program;

use crate::daemon::process;
use crate::support::link;
use crate::support::netns::Netns;
use crate::support::sock;

const NOBODY: u32 = 65534;

#[test]
fn each_capability_is_for_what_is_said() {
    let all = CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_READ_SEARCH;
    let programs = CapabilitySet::BPF | CapabilitySet::PERFMON;
    let without_admin = all.difference(CapabilitySet::SYS_ADMIN) | programs;
    let scene = Scene::new(all);
    let check = |set, effort| {
        let expected: Vec<(&str, bool)> =
            PRIVILEGES.iter().map(|privilege| (privilege.name, privilege.is_had(set))).collect();
        let begin = Instant::now();
        let found = with(set, || scene.look(effort));
        println!("{:?} in {:.1} s: {found:?}", caps::names(set), begin.elapsed().as_secs_f64());
        assert_eq!(found, expected, "with {:?}", caps::names(set));
    };
    check(all, Effort::Little);
    check(without_admin, Effort::All);
    // A guest's emulated processor takes long for all programs, so there it is one for each of these.
    let effort = if Path::new(process::BINARY).exists() { Effort::All } else { Effort::Little };
    for one in [CapabilitySet::SYS_PTRACE, CapabilitySet::DAC_READ_SEARCH] {
        check(all.difference(one), effort);
    }
    for one in [CapabilitySet::BPF, CapabilitySet::PERFMON] {
        check(without_admin.difference(one), Effort::All);
    }
    // Whatever else there is helps nothing: not even to load a program.
    check(CapabilitySet::all().difference(all | programs), Effort::All);
}

/// How much of what a daemon does is done to see whether it can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effort {
    /// All programs are loaded, and a sample is taken.
    All,
    /// One is loaded, and namespaces are entered.
    Little,
}

/// What is there to be seen.
struct Scene {
    named: Netns,
    /// Another user's process, in a network namespace that has no name.
    nobody: Child,
    nameless: u64,
    /// Of its socket.
    socket: u64,
    /// A daemon with all the capabilities that are of use, on a thread of its own no more.
    daemon: Mutex<Live>,
    /// The kernel's number of one of its programs.
    rows: u32,
}

impl Scene {
    fn new(all: CapabilitySet) -> Self {
        let named = Netns::new("named");
        let nobody = nobody();
        let pid = nobody.id();
        let link = std::fs::read_link(format!("/proc/{pid}/ns/net")).expect("its namespace");
        let sockets = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors");
        let socket =
            sockets.flatten().find_map(|entry| number(&std::fs::read_link(entry.path()).ok()?, "socket"));
        let (daemon, sample) = with(all, watch).expect("a daemon with these capabilities runs");
        assert!(nothing_is_refused(&sample) && is_seen(&sample, &named), "it sees everything");
        let rows =
            sample.programs.iter().find(|found| found.name == program::ROWS).and_then(|found| found.id);
        Self {
            named,
            nobody,
            nameless: number(&link, "net").expect("a number"),
            socket: socket.expect("it has a socket"),
            daemon: Mutex::new(daemon),
            rows: rows.expect("the kernel's number of a program"),
        }
    }

    /// What works with the capabilities of the calling thread, in the order of [`PRIVILEGES`].
    fn look(&self, effort: Effort) -> Vec<(&'static str, bool)> {
        let pid = self.nobody.id();
        let namespaces = netns::discover().expect("list namespaces").namespaces;
        let deadline = Instant::now() + Duration::from_secs(20);
        let owners = descriptors::owners(None, usize::MAX, deadline).expect("list processes").owners;
        let described = Processes::default().describe([pid].into_iter());
        let wanted = Wanted { is_brief: false };
        let sample = (effort == Effort::All).then(watch);
        let (loads, enters) = match &sample {
            Some(Some((_, sample))) => (nothing_is_refused(sample), is_seen(sample, &self.named)),
            Some(None) => (false, self.can_enter(&namespaces)),
            None => (Listing::alone(wanted).1.is_none(), self.can_enter(&namespaces)),
        };
        let found = [
            loads,
            enters,
            // As `/proc/1/root/etc/passwd` is, which has the names of users.
            namespaces.iter().any(|namespace| namespace.inode == self.nameless)
                && std::fs::metadata(format!("/proc/{pid}/root/")).is_ok(),
            owners.get(&self.socket) == Some(&pid),
            described.get(&pid).is_some_and(|process| process.files.is_some()),
            Listing::borrow(self.rows, wanted).is_ok(),
        ];
        PRIVILEGES.iter().map(|privilege| privilege.name).zip(found).collect()
    }

    fn can_enter(&self, namespaces: &[NetnsHandle]) -> bool {
        let named = namespaces.iter().find(|namespace| namespace.inode == self.named.inode());
        netns::within(named.expect("one with a name is found by anybody"), || ()).is_ok()
    }
}

/// Does it on a thread of its own that has no other capabilities.
fn with<T: Send>(set: CapabilitySet, what: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let tried = scope.spawn(|| {
            caps::drop_to(set).expect("give up capabilities");
            what()
        });
        tried.join().expect("nothing of it panics")
    })
}

impl Drop for Scene {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.nobody.kill();
        let _ = self.nobody.wait();
        if !thread::panicking() {
            let daemon = self.daemon.get_mut().expect("nobody panicked with it");
            daemon.sample(false).expect("it goes on, whoever borrowed its programs");
        }
    }
}

/// Loads the programs and samples, if that works.
fn watch() -> Option<(Live, Sample)> {
    let small = Options { sockets: 64, namespaces: 64, ring_bytes: 4096, ..Options::default() };
    let mut live = Live::open(&small, |_| {}).inspect_err(|error| println!("{error}")).ok()?;
    let sample = live.sample(true).inspect_err(|error| println!("{error}")).ok()?;
    Some((live, sample))
}

/// Other reasons for a program not to run are the kernel's.
fn nothing_is_refused(sample: &Sample) -> bool {
    let errors = || sample.programs.iter().filter_map(|program| program.error.as_deref());
    !errors().any(|error| error.contains("not permitted") || error.contains("ermission denied"))
}

fn is_seen(sample: &Sample, ns: &Netns) -> bool {
    let mut namespaces = sample.namespaces.iter();
    let found = namespaces.find(|namespace| namespace.inode == ns.inode());
    found.is_some_and(|namespace| namespace.is_complete && namespace.counters.is_some())
}

/// The number in `net:[4026531833]`.
fn number(link: &Path, kind: &str) -> Option<u64> {
    link.to_str()?.strip_prefix(kind)?.strip_prefix(":[")?.strip_suffix(']')?.parse().ok()
}

/// A process of another user that has a listening socket, in a network namespace of its own.
fn nobody() -> Child {
    thread::scope(|scope| {
        let started = scope.spawn(|| {
            // SAFETY: only the network namespace of this thread changes, no fd table.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("make a network namespace");
            link::up("lo");
            let listener = sock::listen(([127, 0, 0, 1], 8080).into(), 8).expect("listen");
            let mut command = Command::new("sleep");
            command.arg("300").uid(NOBODY).gid(NOBODY).stdin(OwnedFd::from(listener));
            command.spawn().expect("start a process")
        });
        started.join().expect("it is started")
    })
}
