//! `/api/v1/sockets`: which sockets it shows, how old they are, and whose.

use std::fs;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::Value;

use super::process::{self, Daemon, wait_for};
use crate::support::netns::Netns;

/// A connection that was accepted, and whose client has closed.
struct Leak {
    listener: TcpListener,
    server: TcpStream,
    _client: TcpStream,
}

impl Leak {
    fn new(ns: &Netns) -> Self {
        ns.run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
            let client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
            let (server, _) = listener.accept().expect("accept");
            client.shutdown(Shutdown::Write).expect("close one way");
            Self { listener, server, _client: client }
        })
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().expect("address").port()
    }
}

fn list(answer: &Value) -> &Vec<Value> {
    answer["sockets"].as_array().expect("a list")
}

/// Asks until as many sockets match: states change a moment after the calls.
fn ask(daemon: &Daemon, query: &str, count: u64) -> Value {
    wait_for(&format!("{count} sockets match {query}"), || {
        let answer = daemon.json(&format!("/api/v1/sockets?{query}"));
        (answer["total"].as_u64() == Some(count)).then_some(answer)
    })
}

fn own_name() -> String {
    fs::read_to_string("/proc/self/comm").expect("our name").trim_end().to_owned()
}

#[test]
fn the_socket_that_leaks_is_shown_with_age_and_owner() {
    if !process::is_there() {
        return;
    }
    let ns = Netns::new("sockets");
    let daemon = Daemon::start(&[]);
    let first = Leak::new(&ns);
    // A walk takes milliseconds, and each socket's age is told as of when it is met.
    thread::sleep(Duration::from_millis(300));
    let leaks = [first, Leak::new(&ns), Leak::new(&ns)];
    let (netns, port) = (ns.inode(), leaks[0].port());
    let answer = ask(&daemon, &format!("state=close_wait&port={port}&netns={netns}"), 1);
    let socket = &list(&answer)[0];
    let server = &leaks[0].server;
    assert_eq!(socket["local"], server.local_addr().expect("address").to_string());
    assert_eq!(socket["remote"], server.peer_addr().expect("address").to_string());
    assert_eq!((&socket["state"], &socket["role"]), (&"close_wait".into(), &"passive".into()));
    assert_eq!(socket["netns"].as_u64(), Some(netns));
    let (age, lifetime) =
        (socket["age"].as_f64().expect("known"), socket["lifetime"].as_f64().expect("known"));
    assert!(age > 0.0 && age <= lifetime && lifetime < 60.0, "{socket}");
    let own = u64::from(std::process::id());
    assert_eq!(socket["owner"]["pid"].as_u64(), Some(own), "found by its descriptor: {socket}");
    assert_eq!(socket["owner"]["process"], own_name());
    assert!(answer["problems"].is_null(), "{answer}");

    // The same by who owns it, which has to be known before.
    let name = own_name();
    for filter in [
        format!("netns={netns}+sport={port}+state=close-wait+process=%22{name}%22"),
        format!("netns={netns}+sport={port}+pid={own}+not+state=listen"),
    ] {
        let answer = ask(&daemon, &format!("filter={filter}"), 1);
        assert_eq!(list(&answer)[0]["owner"]["pid"].as_u64(), Some(own), "{answer}");
    }
    let none = format!("filter=netns={netns}+process=no-such-process");
    assert_eq!(ask(&daemon, &none, 0)["truncated"], false);

    // Three listeners, and two ends of three connections: the oldest first.
    let all = ask(&daemon, &format!("netns={netns}"), 9);
    let ages: Vec<f64> = list(&all).iter().map(|socket| socket["age"].as_f64().expect("known")).collect();
    assert!(ages.is_sorted_by(|a, b| a >= b), "{ages:?}");
    assert_eq!(all["truncated"], false);
    let some = ask(&daemon, &format!("netns={netns}&limit=3"), 9);
    assert_eq!((list(&some).len(), &some["truncated"]), (3, &true.into()));
    let is_first = |socket: &Value| {
        let ends = [&socket["local"], &socket["remote"]];
        ends.into_iter().filter_map(Value::as_str).any(|end| end.ends_with(&format!(":{port}")))
    };
    assert!(list(&some).iter().all(is_first), "the first listener and its connection are the oldest: {some}");
    let listener = ask(&daemon, &format!("netns={netns}&state=listen&sport={port}"), 1);
    assert_eq!((&list(&listener)[0]["remote"], &list(&listener)[0]["role"]), (&Value::Null, &Value::Null));
    ask(&daemon, &format!("netns={netns}&older-than=1h"), 0);
    ask(&daemon, &format!("netns={netns}&older-than=1ms"), 9);
}

#[test]
fn what_makes_no_sense_is_refused_with_the_place() {
    if !process::is_there() {
        return;
    }
    let daemon = Daemon::start(&[]);
    for (query, told) in [
        ("", "a filter or a limit is needed"),
        ("?limit=20000", "no number up to 10000"),
        ("?filter=stat=close_wait", "  stat=close_wait\n  ^^^^\ndid you mean state?"),
        ("?state=close_wit", "  close_wit\n  ^^^^^^^^^\n"),
        ("?nonsense=1", "unknown parameter"),
    ] {
        let (status, body) = daemon.get(&format!("/api/v1/sockets{query}"));
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let error = body["error"].as_str().expect("an error");
        assert!(status == 400 && error.contains(told), "{status}: {error}");
    }
    assert_eq!(daemon.get("/api/v1/sockets?netns=1").0, 404);
}

#[test]
fn older_sockets_have_no_age_and_still_an_owner() {
    if !process::is_there() {
        return;
    }
    let ns = Netns::new("older");
    let leak = Leak::new(&ns);
    let own = u64::from(std::process::id());
    for args in [&[][..], &["--netlink-only"]] {
        let daemon = Daemon::start(args);
        let answer = ask(&daemon, &format!("state=close_wait&netns={}", ns.inode()), 1);
        let socket = &list(&answer)[0];
        for unknown in ["age", "lifetime", "role"] {
            assert_eq!(socket[unknown], Value::Null, "{args:?}: {answer}");
        }
        assert_eq!(socket["owner"]["pid"].as_u64(), Some(own), "{args:?}: {answer}");
        assert_eq!(socket["local"], leak.server.local_addr().expect("address").to_string());
        // Netlink tells of the queues.
        assert!(args.is_empty() || socket["send_queue"].as_u64() == Some(0), "{answer}");
    }
}

/// A cgroup like that of a container, with a child in it that holds a socket.
struct Container {
    mount: PathBuf,
    parent: PathBuf,
    cgroup: PathBuf,
    child: Child,
}

impl Container {
    /// The child inherits descriptors that are not closed at exec.
    fn new(path: &str, id: &str) -> Self {
        let mount_point = std::env::temp_dir().join(format!("tcpwatch-cgroup-{}", std::process::id()));
        fs::create_dir_all(&mount_point).expect("a directory");
        mount("none", &mount_point, c"cgroup2", MountFlags::empty(), None).expect("mount cgroup2");
        let parent = mount_point.join(path);
        let cgroup = parent.join(id);
        fs::create_dir_all(&cgroup).expect("a cgroup");
        let child = Command::new("sleep").arg("600").stdout(Stdio::null()).spawn().expect("a child");
        fs::write(cgroup.join("cgroup.procs"), child.id().to_string()).expect("move the child");
        Self { mount: mount_point, parent, cgroup, child }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The test may have failed; then it has something better to say.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir(&self.cgroup);
        let _ = fs::remove_dir(&self.parent);
        let _ = unmount(&self.mount, UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.mount);
    }
}

#[test]
fn sockets_of_a_container_are_shown_as_such() {
    if !process::is_there() {
        return;
    }
    let id = format!("{:064x}", 0xabcd_0000_0000_u64 + u64::from(std::process::id()));
    let ns = Netns::new("container");
    let daemon = Daemon::start(&[]);
    let leak = Leak::new(&ns);
    fcntl_setfd(&leak.server, FdFlags::empty()).expect("let children have it");
    let container = Container::new("docker", &id);
    // Now only the child has it.
    let netns = ns.inode();
    drop(leak.server);
    let answer = ask(&daemon, &format!("filter=netns={netns}+container={}", &id[..62]), 1);
    let (socket, child) = (&list(&answer)[0], container.child.id());
    assert_eq!(socket["state"], "close_wait");
    let owner = &socket["owner"];
    assert_eq!((owner["pid"].as_u64(), &owner["process"]), (Some(child.into()), &"sleep".into()), "{owner}");
    assert_eq!((&owner["container"], &owner["runtime"]), (&id.into(), &"docker".into()), "{owner}");
    assert_eq!(owner["user"], "root");
}
