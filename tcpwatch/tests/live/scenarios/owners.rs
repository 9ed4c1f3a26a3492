//! Whose it is: processes that share or inherit sockets, in containers and namespaces of their own, over IPv6.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tcpwatch::detect::Thresholds;
use tcpwatch::finding::{Finding, Kind};
use tcpwatch::process::Process;
use tcpwatch_common::TcpState;

use super::child::Child;
use super::{Scene, count, of, owner};
use crate::support::netns::Netns;
use crate::support::sock;
use crate::support::states::{proc_states, wait_state};

const TIMEOUT: Duration = Duration::from_secs(5);
const AGE: Duration = Duration::from_secs(2);
const LEAKED: u64 = 15;

fn impatient() -> Thresholds {
    let mut thresholds = Thresholds::default();
    thresholds.close_wait_buildup.age = AGE;
    thresholds
}

fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Clients that come and go, while the server does not let go.
fn come_and_go(ns: &Netns, address: SocketAddr) {
    for _ in 0..LEAKED {
        drop(ns.run(|| TcpStream::connect(address)).expect("connect"));
    }
}

/// Waits for the leak of a child, whose pid it must tell. Who has accepted something is known after the next walk over
/// all files; until then the listener's process is named.
#[track_caller]
fn expect_leak(scene: &mut Scene, ns: &Netns, child: &Child) -> Finding {
    let found = scene.expect(ns, Kind::CloseWaitBuildup, |found| {
        count(found, "aged") == LEAKED && owner(found) == Some(child.pid())
    });
    assert_eq!(found.seen.verdict, Some("never_closed"));
    assert_eq!(count(&found, "count"), ns.run(proc_states)[TcpState::CloseWait as usize]);
    found
}

fn process(found: &Finding) -> &Process {
    found.seen.subject.owner.as_ref().expect("an owner")
}

#[test]
fn a_child_that_leaks_connections_of_an_inherited_listener() {
    let ns = Netns::new("prefork");
    let mut scene = Scene::with(impatient());
    let listener = ns.run(|| sock::listen(at(0), 64)).expect("listen");
    let address = listener.local_addr().expect("bound");
    let child = Child::leaking_at(&ns, &listener);
    come_and_go(&ns, address);
    let found = expect_leak(&mut scene, &ns, &child);
    assert_eq!(found.seen.subject.listener, Some(address));
    assert_ne!(owner(&found), Some(std::process::id()), "the parent has the listener, and none of them");
}

/// More clients than one queue of [`Child::deaf`] takes, which do not wait.
fn crowd(ns: &Netns, address: SocketAddr) -> Vec<TcpStream> {
    (0..60).map(|_| ns.run(|| sock::connect_start(address)).expect("start")).collect()
}

#[test]
fn two_processes_that_listen_at_one_address() {
    let ns = Netns::new("group");
    let address = at(8080);
    let members = [Child::deaf(&ns, address), Child::deaf(&ns, address)];
    let mut scene = Scene::open();
    let clients = crowd(&ns, address);
    // All that was dropped, by either of them.
    let found = scene.expect(&ns, Kind::AcceptQueueOverflow, |found| {
        count(found, "drops") > 0 && count(found, "drops") == ns.snmp()["TcpExt.ListenDrops"]
    });
    assert_eq!((found.seen.verdict, found.seen.subject.listener), (Some("slow_accept"), Some(address)));
    assert_eq!(count(&found, "members"), 2);
    let named = owner(&found).expect("the one with the longest queue");
    assert!(members.iter().any(|member| member.pid() == named), "{found:#?}");
    assert!(found.seen.summary.contains(", one of 2 processes, "), "{}", found.seen.summary);
    // One service, not two.
    assert_eq!(of(&scene.tick().1, &ns).len(), 1);
    drop(clients);
}

#[test]
fn a_listener_that_outlives_the_process_that_opened_it() {
    let ns = Netns::new("heir");
    let address = at(8080);
    let mut scene = Scene::open();
    let dead = Child::bequeathing(&ns, address);
    let clients = crowd(&ns, address);
    let found = scene.expect(&ns, Kind::AcceptQueueOverflow, |found| {
        found.seen.subject.owner.as_ref().is_some_and(|owner| !owner.exited)
    });
    assert_eq!(owner(&found), Some(dead.holder), "not {}, which has ended: {found:#?}", dead.pid());
    assert_eq!(found.seen.subject.listener, Some(address));
    drop(clients);
}

#[test]
fn a_leak_over_ipv6() {
    for (bound, name) in [(Ipv6Addr::LOCALHOST, "v6"), (Ipv6Addr::UNSPECIFIED, "mapped")] {
        let ns = Netns::new(name);
        let mut scene = Scene::with(impatient());
        let listener = ns.run(|| sock::listen((bound, 0).into(), 64)).expect("listen");
        let local = listener.local_addr().expect("bound");
        let client_ip = if bound.is_loopback() { bound.into() } else { Ipv4Addr::LOCALHOST.into() };
        let address = SocketAddr::new(client_ip, local.port());
        let leaked: Vec<_> = (0..LEAKED)
            .map(|_| {
                drop(ns.run(|| TcpStream::connect(address)).expect("connect"));
                sock::accept(&listener, TIMEOUT).expect("accept").0
            })
            .collect();
        wait_state(leaked.last().expect("some"), TcpState::CloseWait as u8);
        let found = scene.expect(&ns, Kind::CloseWaitBuildup, |found| count(found, "aged") == LEAKED);
        assert_eq!((found.seen.verdict, owner(&found)), (Some("never_closed"), Some(std::process::id())));
        assert_eq!(count(&found, "count"), ns.run(proc_states)[TcpState::CloseWait as usize], "{name}");
        assert_eq!(found.seen.subject.listener, Some(local));
        let told = format!("{:?}", found.seen.evidence);
        assert!(told.contains(&format!("\"{address}\"")), "{name}, as people write it: {told}");
    }
}

/// A cgroup named as Docker names them, removed in the end.
struct Cgroup {
    docker: PathBuf,
    is_ours: bool,
    path: PathBuf,
    id: String,
}

impl Cgroup {
    fn make() -> std::io::Result<Self> {
        let root = unified()?;
        let id = format!("{:016x}", std::process::id()).repeat(4);
        let docker = root.join("docker");
        let is_ours = match fs::create_dir(&docker) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        let mut made = Self { path: docker.join(&id), docker, is_ours, id: String::new() };
        fs::create_dir(&made.path)?;
        made.id = id;
        Ok(made)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Those that were not made are not there.
        if !self.id.is_empty() {
            fs::remove_dir(&self.path).unwrap_or_else(|error| println!("{}: {error}", self.path.display()));
        }
        if self.is_ours {
            fs::remove_dir(&self.docker)
                .unwrap_or_else(|error| println!("{}: {error}", self.docker.display()));
        }
    }
}

/// Where the hierarchy of version 2 is.
fn unified() -> std::io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let found = mounts.find(|mount| mount.get(2) == Some(&"cgroup2"));
    let path = found.and_then(|mount| mount.get(1).map(|path| Path::new(path).to_owned()));
    path.ok_or_else(|| std::io::Error::new(ErrorKind::NotFound, "no cgroup2 is mounted"))
}

#[test]
fn a_leak_in_a_container() {
    let ns = Netns::new("container");
    let address = at(8080);
    // It goes after the child, whatever happens: a cgroup cannot be removed while somebody is in it.
    let cgroup = Cgroup::make();
    let child = Child::leaking(&ns, address);
    let enter = |made: &Cgroup| fs::write(made.path.join("cgroup.procs"), child.pid().to_string());
    let entered = cgroup.as_ref().map(|made| enter(made).map(|()| made));
    let mut scene = Scene::with(impatient());
    come_and_go(&ns, address);
    let found = expect_leak(&mut scene, &ns, &child);
    let why_not = match &entered {
        Ok(Ok(cgroup)) => {
            let container = process(&found).container.as_ref().expect("a container");
            assert_eq!((container.runtime, container.id.as_str()), ("docker", cgroup.id.as_str()));
            let path = process(&found).cgroup.as_deref().expect("a cgroup");
            assert!(path.ends_with(&format!("/docker/{}", cgroup.id)), "{path}");
            return;
        }
        Ok(Err(error)) => error,
        Err(error) => *error,
    };
    println!("no cgroup can be made here: {why_not}");
    // Not there, not allowed, or read-only.
    let kinds = [ErrorKind::NotFound, ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem];
    assert!(kinds.contains(&why_not.kind()), "{why_not:?}");
}

#[test]
fn a_leak_in_a_pid_namespace() {
    let ns = Netns::new("alone");
    let address = at(8080);
    let child = match Child::leaking_alone(&ns, address) {
        Ok(child) => child,
        Err(error) => {
            println!("no pid namespace can be made here: {error}");
            assert!(!Path::new("/proc/self/ns/pid").exists(), "they exist: {error}");
            return;
        }
    };
    let mut scene = Scene::with(impatient());
    come_and_go(&ns, address);
    let found = expect_leak(&mut scene, &ns, &child);
    assert_eq!((child.holder, process(&found).inner_pid), (1, Some(1)), "{found:#?}");
    let told = format!("{:?}", found.seen.verify);
    assert!(told.contains(&format!("nsenter -t {} -n", child.pid())), "{told}");
}
