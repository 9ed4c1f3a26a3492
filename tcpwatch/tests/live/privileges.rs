//! Capabilities, taken away one by one: what then works has to be what `host::privileges` says, which `tcpwatch doctor`
//! and `docs/security.md` repeat.
//!
//! They belong to a thread, so each set is tried on a thread of its own.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CapabilitySet, UnshareFlags, unshare_unsafe};
use tcpwatch::host::privileges::PRIVILEGES;
use tcpwatch::host::processes::Processes;
use tcpwatch::host::{caps, descriptors, netns};
use tcpwatch::kernel::Options;
use tcpwatch::sample::Sample;
use tcpwatch::source::{Listing, Live, Source as _, Wanted};
use tcpwatch_common::names::program;

use crate::support::link;
use crate::support::netns::Netns;
use crate::support::sock;

const NOBODY: u32 = 65534;

#[test]
fn each_capability_is_for_what_is_said() {
    let (mut daemon, sample) = watch().expect("root can do all of it");
    let scene = Scene::new(&sample);
    let all = CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_READ_SEARCH;
    let programs = CapabilitySet::BPF | CapabilitySet::PERFMON;
    let without_admin = all.difference(CapabilitySet::SYS_ADMIN) | programs;
    let mut sets = vec![all, without_admin];
    sets.extend([CapabilitySet::SYS_PTRACE, CapabilitySet::DAC_READ_SEARCH].map(|one| all.difference(one)));
    sets.extend([CapabilitySet::BPF, CapabilitySet::PERFMON].map(|one| without_admin.difference(one)));
    // Whatever else there is helps nothing: not even to load a program.
    sets.push(CapabilitySet::all().difference(all | programs));

    for set in sets {
        let expected: Vec<(&str, bool)> =
            PRIVILEGES.iter().map(|privilege| (privilege.name, privilege.is_had(set))).collect();
        let begin = Instant::now();
        let found = scene.with(set);
        println!("{:?} in {:.1} s: {found:?}", caps::names(set), begin.elapsed().as_secs_f64());
        assert_eq!(found, expected, "with {:?}", caps::names(set));
    }
    daemon.sample(false).expect("whose programs were there to be borrowed goes on");
}

/// What is there to be seen.
struct Scene {
    named: Netns,
    /// Another user's process, in a network namespace that has no name.
    nobody: Child,
    nameless: u64,
    /// Of its socket.
    socket: u64,
    /// How many programs a daemon has that may do everything.
    programs: usize,
    /// The kernel's number of one of them.
    rows: u32,
}

impl Scene {
    fn new(sample: &Sample) -> Self {
        let named = Netns::new("named");
        let nobody = nobody();
        let pid = nobody.id();
        let link = std::fs::read_link(format!("/proc/{pid}/ns/net")).expect("its namespace");
        let sockets = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors");
        let socket =
            sockets.flatten().find_map(|entry| number(&std::fs::read_link(entry.path()).ok()?, "socket"));
        let rows =
            sample.programs.iter().find(|found| found.name == program::ROWS).and_then(|found| found.id);
        Self {
            named,
            nobody,
            nameless: number(&link, "net").expect("a number"),
            socket: socket.expect("it has a socket"),
            programs: loaded(sample),
            rows: rows.expect("the kernel's number of a program"),
        }
    }

    /// What works with these capabilities, in the order of [`PRIVILEGES`].
    fn with(&self, set: CapabilitySet) -> Vec<(&'static str, bool)> {
        thread::scope(|scope| {
            let tried = scope.spawn(|| {
                caps::drop_to(set).expect("give up capabilities");
                self.look()
            });
            tried.join().expect("nothing of it panics")
        })
    }

    fn look(&self) -> Vec<(&'static str, bool)> {
        let pid = self.nobody.id();
        let sample = watch().map(|(_, sample)| sample);
        let inside = sample.as_ref().and_then(|sample| {
            let mut namespaces = sample.namespaces.iter();
            namespaces.find(|namespace| namespace.inode == self.named.inode())
        });
        let namespaces = netns::discover().expect("list namespaces").namespaces;
        let deadline = Instant::now() + Duration::from_secs(20);
        let owners = descriptors::owners(None, usize::MAX, deadline).expect("list processes").owners;
        let described = Processes::default().describe([pid].into_iter());
        let wanted = Wanted { is_brief: false };
        let found = [
            sample.as_ref().is_some_and(|sample| loaded(sample) == self.programs),
            // Without programs nobody asks.
            match inside {
                Some(inside) => inside.is_complete && inside.counters.is_some(),
                None => netns::within(&handle(&namespaces, self.named.inode()), || ()).is_ok(),
            },
            namespaces.iter().any(|namespace| namespace.inode == self.nameless),
            owners.get(&self.socket) == Some(&pid),
            described.get(&pid).is_some_and(|process| process.files.is_some()),
            Listing::borrow(self.rows, wanted).is_ok(),
        ];
        PRIVILEGES.iter().map(|privilege| privilege.name).zip(found).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.nobody.kill();
        let _ = self.nobody.wait();
    }
}

/// Loads the programs and samples, if that works.
fn watch() -> Option<(Live, Sample)> {
    let small = Options { sockets: 64, namespaces: 64, ring_bytes: 4096, ..Options::default() };
    let mut live = Live::open(&small, |_| {}).inspect_err(|error| println!("{error}")).ok()?;
    let sample = live.sample(true).inspect_err(|error| println!("{error}")).ok()?;
    Some((live, sample))
}

fn loaded(sample: &Sample) -> usize {
    sample.programs.iter().filter(|program| program.error.is_none()).count()
}

fn handle(namespaces: &[netns::NetnsHandle], inode: u64) -> netns::NetnsHandle {
    let found = namespaces.iter().find(|namespace| namespace.inode == inode);
    found.expect("a namespace with a name is found by anybody").clone()
}

/// The number in `net:[4026531833]`.
fn number(link: &std::path::Path, kind: &str) -> Option<u64> {
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
