//! Processes beside the test's own: this same binary again, told what to do by a variable.
//!
//! A child keeps no descriptor but those it is given, and does not outlive the test by long.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::churn::Idle;
use crate::support::netns::Netns;
use crate::support::sock;

/// What the child shall do.
const ROLE: &str = "TCPWATCH_TEST_ROLE";
/// What it says once it has begun, with the pid of the process that has the socket.
const READY: &str = "child ready as ";
/// Longer than any scene.
const LIFE: Duration = Duration::from_mins(2);
const BACKLOG: i32 = 8;

/// A child that ends with the scene.
pub(crate) struct Child {
    process: std::process::Child,
    /// The process that has the socket, as it sees itself: the child, or its heir.
    pub(crate) holder: u32,
    has_heir: bool,
}

impl Child {
    /// Listens, accepts, and never closes.
    pub(crate) fn leaking(ns: &Netns, at: SocketAddr) -> Self {
        Self::start(ns, &format!("leak {at}"), Stdio::null())
    }

    /// The same at a socket that it inherits.
    pub(crate) fn leaking_at(ns: &Netns, listener: &TcpListener) -> Self {
        let inherited = listener.as_fd().try_clone_to_owned().expect("duplicate a socket");
        Self::start(ns, "leak-inherited", inherited.into())
    }

    /// Listens with others at one address, and never accepts.
    pub(crate) fn deaf(ns: &Netns, at: SocketAddr) -> Self {
        Self::start(ns, &format!("deaf {at}"), Stdio::null())
    }

    /// Has connections with itself, on which nothing happens.
    pub(crate) fn crowding(ns: &Netns, connections: usize) -> Self {
        Self::start(ns, &format!("crowd {connections}"), Stdio::null())
    }

    /// Enters a cgroup by its `cgroup.procs`, listens, and never accepts.
    pub(crate) fn deaf_in(ns: &Netns, at: SocketAddr, door: &Path) -> Self {
        Self::start(ns, &format!("deaf-in {at} {}", door.display()), Stdio::null())
    }

    /// Enters a cgroup, connects, writes more than the peer takes, and ends; see [`Child::wait`].
    pub(crate) fn abandoning(ns: &Netns, at: SocketAddr, door: &Path) -> Self {
        Self::start(ns, &format!("abandon {at} {}", door.display()), Stdio::null())
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) {
        let status = self.process.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }

    /// Listens, hands the socket to a child of its own, and ends.
    pub(crate) fn bequeathing(ns: &Netns, at: SocketAddr) -> Self {
        let mut child = Self::start(ns, &format!("bequeath {at}"), Stdio::null());
        let status = child.process.wait().expect("it ends");
        child.has_heir = true;
        assert!(status.success(), "{status}");
        child
    }

    fn start(ns: &Netns, role: &str, stdin: Stdio) -> Self {
        // In the namespaces of the thread that starts it.
        let mut process = ns.run(|| command(role).stdin(stdin).spawn()).expect("start a child");
        let holder = ready(&mut process);
        Self { process, holder, has_heir: false }
    }

    /// The same in a pid namespace of its own; an error if none can be made.
    pub(crate) fn leaking_alone(ns: &Netns, at: SocketAddr) -> Result<Self, rustix::io::Errno> {
        let mut process = ns.run(|| {
            // SAFETY: only what this thread starts is in the new namespace; no fd table changes.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWPID) }?;
            Ok(command(&format!("leak {at}")).stdin(Stdio::null()).spawn().expect("start a child"))
        })?;
        let holder = ready(&mut process);
        Ok(Self { process, holder, has_heir: false })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Each may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let heir = i32::try_from(self.holder).ok().and_then(Pid::from_raw).filter(|_| self.has_heir);
        if let Some(heir) = heir {
            let _ = kill_process(heir, Signal::KILL);
        }
    }
}

fn command(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command
        .args(["--exact", "scenarios::child::plays_its_role", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .stdout(Stdio::piped());
    command
}

/// Waits until the child does what it is there for.
fn ready(child: &mut std::process::Child) -> u32 {
    // The pipe stays open, for what the child may say later.
    let mut lines = BufReader::new(child.stdout.as_mut().expect("piped")).lines();
    let found = lines.find_map(|line| {
        let line = line.expect("text");
        line.split_once(READY).map(|(_, pid)| pid.trim().parse().expect("a pid"))
    });
    found.expect("the child says that it is ready")
}

/// What a child runs. Without a role it is a test: that a child is a process of its own, which accepts.
#[test]
fn plays_its_role() {
    if let Ok(role) = std::env::var(ROLE) {
        return play(&role);
    }
    let ns = Netns::new("child");
    let address = SocketAddr::from(([127, 0, 0, 1], 8080));
    let child = Child::leaking(&ns, address);
    assert_eq!(child.holder, child.pid());
    assert_ne!(child.pid(), std::process::id());
    ns.run(|| TcpStream::connect(address)).expect("it listens");
}

/// Enters the cgroup that is named after an address; the address.
fn enter(at: &str) -> &str {
    let (address, door) = at.split_once(' ').expect("an address and a path");
    std::fs::write(door, "0").expect("enter the cgroup");
    address
}

fn play(role: &str) {
    let end = Instant::now() + LIFE;
    let (what, at) = role.split_once(' ').unwrap_or((role, ""));
    match what {
        "leak" => leak(&sock::listen(address(at), 64).expect("listen"), end),
        "leak-inherited" => leak(&inherited().into(), end),
        "deaf" => {
            let _listener = sock::listen_sharing(address(at), BACKLOG).expect("listen");
            say(std::process::id());
            std::thread::sleep(LIFE);
        }
        "crowd" => {
            let _held = Idle::open(at.parse().expect("a number"));
            say(std::process::id());
            std::thread::sleep(LIFE);
        }
        "deaf-in" => {
            let _listener = sock::listen(address(enter(at)), BACKLOG).expect("listen");
            say(std::process::id());
            std::thread::sleep(LIFE);
        }
        "abandon" => {
            let mut stream = TcpStream::connect(address(enter(at))).expect("connect");
            stream.set_nonblocking(true).expect("do not wait");
            let part = vec![0; 1 << 16];
            while stream.write(&part).is_ok() {}
            say(std::process::id());
        }
        "hold" => {
            say(std::process::id());
            std::thread::sleep(LIFE);
        }
        "bequeath" => {
            let listener = sock::listen(address(at), BACKLOG).expect("listen");
            let mut heir = command("hold").stdin(OwnedFd::from(listener)).spawn().expect("start the heir");
            say(ready(&mut heir));
        }
        unknown => panic!("no such role: {unknown}"),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn say(pid: u32) {
    println!("{READY}{pid}");
}

fn inherited() -> OwnedFd {
    std::io::stdin().as_fd().try_clone_to_owned().expect("a socket as standard input")
}

fn leak(listener: &TcpListener, end: Instant) {
    say(std::process::id());
    let mut leaked = Vec::new();
    while Instant::now() < end {
        leaked.extend(sock::accept(listener, Duration::from_secs(1)).ok());
    }
}
