//! The kernel's memory of sockets, by owner; and the container of sockets that no process has.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tcpwatch::detect::Findings;
use tcpwatch::model::Model;
use tcpwatch::sample::{Group, Memory, Plan, Sample};
use tcpwatch::view::owners::{Owned, owners};
use tcpwatch_common::TcpState;

use super::{Host, groups};
use crate::scenarios::child::Child;
use crate::support::netns::Netns;
use crate::support::sock;

const TIMEOUT: Duration = Duration::from_secs(5);
const UNREAD: usize = 30_000;

/// Every state is worth a walk.
fn eager() -> Plan {
    Plan { suspicious_from: [1; TcpState::COUNT], ..Plan::default() }
}

/// What the kernel itself says of a socket's memory, which is what `ss -m` shows.
fn told(socket: &impl AsRawFd) -> Memory {
    const SO_MEMINFO: i32 = 55;
    let mut numbers = [0u32; 9];
    let mut size = libc::socklen_t::try_from(size_of_val(&numbers)).expect("small");
    // SAFETY: the kernel writes no more than the size it is given.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            numbers.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    let [receive, _, _, _, reserved, send, ..] = numbers.map(u64::from);
    Memory { send, receive, reserved }
}

fn sum(all: impl IntoIterator<Item = Memory>) -> Memory {
    let mut sum = Memory::default();
    all.into_iter().for_each(|one| sum.add(one));
    sum
}

/// The memory of the groups that are chosen.
fn measured(sample: &Sample, ns: &Netns, is_chosen: impl Fn(&Group) -> bool) -> Option<Memory> {
    let chosen: Vec<&Group> = groups(sample, ns).iter().filter(|group| is_chosen(group)).collect();
    if chosen.is_empty() {
        return None;
    }
    Some(sum(chosen.iter().map(|group| group.memory.expect("whole sockets have memory"))))
}

/// Writes until nothing more is taken.
fn fill(stream: &mut TcpStream) {
    stream.set_nonblocking(true).expect("do not wait");
    loop {
        match stream.write(&vec![7; 1 << 16]) {
            Ok(_) => {}
            // The peer may have to say that its window is closed, before no more is taken for good.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(50));
                match stream.write(&[7]) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                    other => _ = other.expect("write"),
                }
            }
            Err(error) => panic!("write: {error}"),
        }
    }
}

fn owned(sample: Sample, ns: &Netns) -> Vec<Owned> {
    let report = Model::default().apply(sample);
    owners(&report, &Findings::default(), Some(ns.inode()))
}

#[test]
fn memory_is_what_the_kernel_says_of_each_socket() {
    let ns = Netns::new("memory");
    let mut host = Host::open();
    host.plan(eager());
    let listener = ns.run(|| sock::listen((Ipv4Addr::LOCALHOST, 0).into(), 64)).expect("listen");
    let address = listener.local_addr().expect("bound");
    let connect = || ns.run(|| TcpStream::connect(address)).expect("connect");
    // One whose server does not read a known amount, one that is full in both directions, one that nobody accepts.
    let mut quiet = connect();
    let quiet_server = sock::accept(&listener, TIMEOUT).expect("accept").0;
    quiet.write_all(&vec![1; UNREAD]).expect("write");
    let mut full = connect();
    let full_server = sock::accept(&listener, TIMEOUT).expect("accept").0;
    fill(&mut full);
    let mut waiting = connect();
    waiting.write_all(&vec![2; UNREAD]).expect("write");

    let clients = || sum([told(&quiet), told(&full), told(&waiting)]);
    let servers = || sum([told(&quiet_server), told(&full_server)]);
    let sample = host.until("the memory that the kernel tells", |sample| {
        let is_client = |group: &Group| group.port == address.port() && group.example.remote == address;
        let is_server = |group: &Group| group.example.local == address && !group.never_accepted;
        let of_clients = measured(sample, &ns, is_client)?;
        let of_servers = measured(sample, &ns, is_server)?;
        // Who has accepted something is known after a walk over all files.
        let are_owned = groups(sample, &ns).iter().all(|group| group.pid.is_some());
        (are_owned && of_clients == clients() && of_servers == servers()).then(|| sample.clone())
    });
    let server = servers();
    assert!(server.receive >= UNREAD as u64 && clients().send > 0, "{server:?}, {:?}", clients());
    let unaccepted = measured(&sample, &ns, |group| group.never_accepted).expect("one");
    assert!(unaccepted.receive >= UNREAD as u64, "{unaccepted:?}");

    let all = owned(sample, &ns);
    let [own] = &all[..] else { panic!("one owner: {all:#?}") };
    let memory = own.memory.expect("known");
    let whole = sum([clients(), servers(), unaccepted]);
    assert_eq!(own.owner.pid, Some(std::process::id()));
    assert_eq!(
        (memory.send_bytes, memory.receive_bytes, memory.reserved_bytes),
        (whole.send, whole.receive, whole.reserved)
    );
    assert_eq!(memory.unaccepted_bytes, unaccepted.total());
}

/// A pod with a container, as the kubelet and containerd make them; removed in the end.
struct Container {
    /// The outermost first.
    made: Vec<PathBuf>,
    id: String,
}

impl Container {
    const POD: &str = "pod11111111-2222-3333-4444-555555555555";

    fn make() -> std::io::Result<Self> {
        let id = format!("{:016x}", std::process::id()).repeat(4);
        let mut container = Self { made: Vec::new(), id: id.clone() };
        let mut path = hierarchy()?;
        for part in ["kubepods", Self::POD, &format!("cri-containerd-{id}.scope")] {
            path.push(part);
            match fs::create_dir(&path) {
                Ok(()) => container.made.push(path.clone()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(container)
    }

    /// Whoever writes there is in it.
    fn door(&self) -> PathBuf {
        self.made.last().expect("it was made").join("cgroup.procs")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            fs::remove_dir(path).unwrap_or_else(|error| println!("{}: {error}", path.display()));
        }
    }
}

/// Where the hierarchy of version 2 is.
fn hierarchy() -> std::io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let found = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mut found = found.filter(|mount| mount.get(2) == Some(&"cgroup2")).map(|mount| mount[1].to_owned());
    found.next().map(PathBuf::from).ok_or_else(|| ErrorKind::NotFound.into())
}

/// Runs the test, unless no cgroup can be made here: not there, not allowed, or read-only.
fn in_container(test: impl FnOnce(&Container)) {
    // One at a time: they have the outer directories in common.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    match Container::make() {
        Ok(container) => test(&container),
        Err(error) => {
            println!("no cgroup can be made here: {error}");
            let kinds = [ErrorKind::NotFound, ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem];
            assert!(kinds.contains(&error.kind()), "{error:?}");
        }
    }
}

fn port(number: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, number).into()
}

/// The id of the container in which the sockets of the groups were made that are chosen.
fn container_of(sample: &Sample, ns: &Netns, is_chosen: impl Fn(&Group) -> bool) -> Option<String> {
    let group = groups(sample, ns).iter().find(|group| is_chosen(group))?;
    Some(sample.cgroups.get(&group.cgroup?)?.container.as_ref()?.id.clone())
}

#[test]
fn connections_that_nobody_accepts_are_those_of_the_container() {
    in_container(|container| {
        let ns = Netns::new("unaccepted");
        let child = Child::deaf_in(&ns, port(8080), &container.door());
        let clients: Vec<_> =
            (0..3).map(|_| ns.run(|| TcpStream::connect(port(8080))).expect("connect")).collect();
        let mut host = Host::open();
        host.plan(eager());
        let id = host.until("their container", |sample| {
            container_of(sample, &ns, |group| group.never_accepted && group.count == 3)
        });
        assert_eq!(id, container.id);
        drop((clients, child));
    });
}

#[test]
fn orphans_older_than_the_programs_are_those_of_the_container() {
    in_container(|container| {
        let ns = Netns::new("orphaned");
        let listener = ns.run(|| sock::listen(port(8080), 64)).expect("listen");
        // It writes more than we read, and ends: its process is not known to anybody who comes later.
        let mut child = Child::abandoning(&ns, port(8080), &container.door());
        let kept = sock::accept(&listener, TIMEOUT).expect("accept").0;
        child.wait();
        let mut host = Host::open();
        host.plan(eager());
        let is_orphan = |group: &Group| group.orphan && group.state == TcpState::FinWait1;
        let sample = host.until("the orphan's container", |sample| {
            container_of(sample, &ns, is_orphan).map(|_| sample.clone())
        });
        assert_eq!(container_of(&sample, &ns, is_orphan).as_ref(), Some(&container.id));
        let all = owned(sample, &ns);
        let inside = all.iter().find(|one| one.owner.container.as_ref() == Some(&container.id));
        let inside = inside.unwrap_or_else(|| panic!("the container owns something: {all:#?}"));
        assert_eq!((inside.owner.pid, inside.orphans, inside.sockets), (None, 1, 0));
        assert_eq!(inside.owner.runtime, Some("containerd"));
        assert_eq!(inside.owner.pod.as_deref(), Container::POD.strip_prefix("pod"));
        assert!(inside.memory.is_some_and(|memory| memory.send_bytes > 0), "{inside:?}");
        drop(kept);
    });
}
