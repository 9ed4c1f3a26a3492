//! Pods by name, everywhere an owner is shown: the daemon, an API that is a stub, and a process in a pod's cgroup.

use std::fs;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::{Value, json};

use super::config::File;
use super::process::{self, Daemon, output, wait_for};
use crate::scenarios::child::Child;
use crate::support::netns::Netns;
use stub::{Stub, pod};

#[path = "../../../src/pods/tests/stub.rs"]
#[allow(dead_code, reason = "its other faults are for the tests beside it")]
mod stub;

const CONFIG: &str = "[close_wait_buildup]\nmin_count = 3\nage = \"2s\"\n";
const PORT: u16 = 8080;

/// A cgroup as the kubelet makes them, gone when dropped.
struct PodCgroup {
    mount: PathBuf,
    /// From the outermost on.
    made: Vec<PathBuf>,
}

impl PodCgroup {
    fn new(uid: &str, container: &str) -> Self {
        let root = std::env::temp_dir().join(format!("tcpwatch-kubepods-{}", std::process::id()));
        fs::create_dir_all(&root).expect("a directory");
        mount("none", &root, c"cgroup2", MountFlags::empty(), None).expect("mount cgroup2");
        let mut cgroup = Self { mount: root.clone(), made: Vec::new() };
        let mut path = root;
        for part in ["kubepods", "besteffort", &format!("pod{uid}"), container] {
            path.push(part);
            if fs::create_dir(&path).is_ok() {
                cgroup.made.push(path.clone());
            }
        }
        cgroup
    }

    fn enter(&self, pid: u32) {
        let innermost = self.made.last().expect("a cgroup");
        fs::write(innermost.join("cgroup.procs"), pid.to_string()).expect("move the process");
    }
}

impl Drop for PodCgroup {
    fn drop(&mut self) {
        // Those of others stay, and a real kubelet's, too.
        for path in self.made.iter().rev() {
            wait_for("nobody is in the cgroup", || fs::remove_dir(path).is_ok().then_some(()));
        }
        let _ = unmount(&self.mount, UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.mount);
    }
}

/// Clients that have closed their side, and a server that has not.
fn leak(ns: &Netns) -> Vec<TcpStream> {
    let connect = |_| {
        let client = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], PORT))).expect("connect");
        client.shutdown(Shutdown::Write).expect("close one way");
        client
    };
    ns.run(|| (0..5).map(connect).collect())
}

struct Scene {
    daemon: Daemon,
    ns: Netns,
}

impl Scene {
    fn listener(&self) -> Value {
        let told = self.daemon.json(&format!("/api/v1/listeners?netns={}", self.ns.inode()));
        told["listeners"][0]["owner"].clone()
    }

    fn kubernetes(&self) -> Value {
        self.daemon.json("/api/v1/status")["kubernetes"].clone()
    }

    /// What a command prints about the namespace, asking the daemon.
    fn told(&self, words: &[&str]) -> String {
        let (address, netns) = (self.daemon.address.to_string(), self.ns.inode().to_string());
        let more = ["--remote", &address, "--netns", &netns];
        let words: Vec<&str> = words.iter().copied().chain(more).collect();
        let output = output(&words);
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        // How wide columns are is no matter.
        told.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn check_metrics(&self) {
        let page = self.daemon.get("/metrics").1;
        let of_pod = "namespace=\"shop\",pod=\"web-live\",container=\"nginx\",workload=\"web\"";
        let has = |parts: &[&str]| page.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        let listener = format!("{of_pod},netns=\"{}\"", self.ns.inode());
        // Where others listen at a hundred addresses and more, this one may be among the rest.
        let is_folded = !has(&["tcpwatch_listeners_folded 0", ""]);
        assert!(has(&["tcpwatch_listener_accept_queue_limit{", &listener]) || is_folded, "{page}");
        for parts in [
            [
                "tcpwatch_finding_active{kind=\"close_wait_buildup\"",
                &format!("{of_pod},listen_addr=\"127.0.0.1:{PORT}\""),
            ],
            ["tcpwatch_workload_sockets{", &format!("{of_pod},state=\"close_wait\"}} 5")],
            ["tcpwatch_kubernetes_up 1", ""],
            ["tcpwatch_kubernetes_pods 1", ""],
        ] {
            assert!(has(&parts), "{parts:?} is not in\n{page}");
        }
    }

    /// What the daemon tells, what is read here through its program, and what is counted.
    fn check_commands(&self) {
        for (words, expected) in [
            (&["findings"][..], "in pod shop/web-live"),
            (&["netstat", "-l"], "] shop/web-live"),
            (
                &["netstat", "-H", "-o", "state,container", "close-wait", "pod", "shop/web-*"],
                "close_wait shop/web-live",
            ),
            (
                &["netstat", "-H", "-o", "state,container", "namespace", "shop", "workload", "web"],
                "shop/web-live",
            ),
            (&["netstat", "-s", "--by", "container", "close-wait"], "shop/web-live/nginx"),
        ] {
            let told = self.told(words);
            assert!(told.contains(expected), "{words:?}: {told}");
        }
    }

    fn until_listener(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, || Some(self.listener()).filter(&is_so))
    }
}

#[test]
fn a_leak_in_a_pod_is_named_wherever_an_owner_is() {
    if !process::is_there() {
        return;
    }
    let own = std::process::id();
    let uid = format!("0d6f2a3e-6f0b-4c5e-9c6d-{own:012x}");
    let container = format!("{own:064x}");
    let stub = Stub::new();
    let (kubeconfig, config) = (stub.kubeconfig("live"), File::new("pods", CONFIG));
    let ns = Netns::new("pod");
    // The cgroup goes after the child.
    let cgroup = PodCgroup::new(&uid, &container);
    let path = kubeconfig.to_string_lossy().into_owned();
    let args = [
        "--kubeconfig",
        &path,
        "--node-name",
        "node-1",
        "--config",
        config.path(),
        "--max-tracked",
        "1000000",
    ];
    let scene = Scene { daemon: Daemon::start(&args), ns };
    wait_for("the cluster is known", || (scene.kubernetes()["up"] == true).then_some(()));
    let child = Child::leaking(&scene.ns, SocketAddr::from(([127, 0, 0, 1], PORT)));
    cgroup.enter(child.pid());
    let _clients = leak(&scene.ns);

    // By its cgroup alone.
    let ids = scene.until_listener("ids", |owner| owner["pod"] == uid.as_str());
    assert_eq!((&ids["container"], &ids["pod_name"]), (&json!(container), &Value::Null), "{ids}");
    // The pod is known before its container has a status, and then with it.
    stub.put(pod(&uid, "web-live", &[]));
    let named = scene.until_listener("a name", |owner| owner["pod_name"] == "web-live");
    assert_eq!((&named["namespace"], &named["container_name"]), (&json!("shop"), &Value::Null), "{named}");
    stub.put(pod(&uid, "web-live", &[&container]));
    let whole = scene.until_listener("the container's name", |owner| owner["container_name"] == "nginx");
    assert_eq!(
        (&whole["workload"], &whole["workload_type"]),
        (&json!("web"), &json!("deployment")),
        "{whole}"
    );
    assert_eq!((&whole["pod"], &whole["pid"]), (&json!(uid), &json!(child.pid())), "{whole}");

    let finding = wait_for("the finding", || {
        let path = format!("/api/v1/findings?netns={}&kind=close_wait_buildup", scene.ns.inode());
        let found = scene.daemon.json(&path)["findings"][0].clone();
        (found["subject"]["owner"]["pod_name"] == "web-live").then_some(found)
    });
    let summary = finding["summary"].as_str().expect("a summary");
    assert!(
        summary.contains(&format!("(pid {}) in pod shop/web-live has not closed 5 sockets", child.pid())),
        "{summary}"
    );
    scene.check_metrics();
    scene.check_commands();
    let answer = scene
        .daemon
        .json(&format!("/api/v1/sockets?filter=netns={}+pod=web-live+state=close_wait", scene.ns.inode()));
    assert_eq!(answer["total"], 5, "{answer}");
    let doctor = output(&["doctor", "--kubeconfig", &path, "--node-name", "node-1"]);
    let told = String::from_utf8_lossy(&doctor.stdout);
    assert!(
        told.contains(&format!("pods          1 run on the node node-1, http://{}", stub.address)),
        "{told}"
    );

    // What is gone is named for a while; what was known stays when nobody answers.
    stub.delete(&uid);
    wait_for("it has gone", || (scene.kubernetes()["pods"] == 0).then_some(()));
    let pods = scene.daemon.json("/api/v1/pods");
    assert_eq!((&pods["pods"][0]["pod_name"], &pods["pods"][0]["gone"]), (&json!("web-live"), &json!(true)));
    assert_eq!(scene.listener()["pod_name"], "web-live");
    drop(stub);
    wait_for("nobody answers", || {
        let told = scene.kubernetes();
        let error = told["error"].as_str().unwrap_or_default();
        (told["up"] == false && error.contains("cannot reach")).then_some(())
    });
    assert_eq!(scene.listener()["pod_name"], "web-live");
    assert!(scene.daemon.get("/metrics").1.contains("\ntcpwatch_kubernetes_up 0\n"));
}
