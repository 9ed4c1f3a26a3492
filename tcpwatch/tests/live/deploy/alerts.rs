//! From trouble to a message: a real Prometheus scrapes the real daemon by the example configuration, evaluates the
//! rules, and a real Alertmanager delivers what they say.
//!
//! All of it runs in a network namespace of its own, where each has its default port, and with the files as they are
//! but for their times.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::webhook::{Delivered, Webhook};
use super::{accepted, files, tool};
use crate::daemon::process::{self, Daemon, Running, output, wait_for};
use crate::support::netns::Netns;
use crate::support::sock;
use crate::support::work::meanwhile;

const CONFIG: &str =
    "[close_wait_buildup]\nmin_count = 3\nage = \"2s\"\n\n[findings]\nclose_after = \"3s\"\n";
const DAEMON: &str = "127.0.0.1:9717";
const LEAKED: usize = 5;
const BACKLOG: i32 = 4;

/// A folder that does not outlive its test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = Self(std::env::temp_dir().join(format!("tcpwatch-alerts-{}", std::process::id())));
        fs::create_dir(&folder.0).expect("make a folder");
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    /// A file of the project, with other times; each has to be there.
    fn hasten(&self, name: &str, times: &[(&str, &str)]) {
        let mut text = fs::read_to_string(files().join(name)).expect("a file of the project");
        for (time, shorter) in times {
            assert!(text.contains(time), "{name} has no {time:?}");
            let lines = text.lines().map(|line| {
                let indent = line.len() - line.trim_start().len();
                let is_it = line.trim_start().starts_with(time);
                if is_it { format!("{}{time}{shorter}\n", &line[..indent]) } else { format!("{line}\n") }
            });
            text = lines.collect();
        }
        fs::write(self.path(name), text).expect("write a file");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is only a folder of temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An address that no other test has: labels name no network namespace.
fn address(last: u8) -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 100 + last, high, low), 8080))
}

/// The command of this process, as it is told.
fn own_name() -> String {
    fs::read_to_string("/proc/self/comm").expect("a name").trim().to_owned()
}

/// Connections whose peers have closed, and the listener they came to.
fn leak(ns: &Netns, at: SocketAddr) -> (TcpListener, Vec<TcpStream>) {
    ns.run(|| {
        let listener = TcpListener::bind(at).expect("listen");
        let forget = |_| {
            drop(TcpStream::connect(at).expect("connect"));
            listener.accept().expect("accept").0
        };
        let leaked = (0..LEAKED).map(forget).collect();
        (listener, leaked)
    })
}

/// More and more clients of a listener that accepts none.
fn knock(ns: &Netns, at: SocketAddr, stop: &AtomicBool) {
    ns.run(|| {
        let mut clients = Vec::new();
        while !stop.load(Ordering::Relaxed) && clients.len() < 600 {
            clients.push(sock::connect_start(at).expect("start"));
            std::thread::sleep(Duration::from_millis(100));
        }
    });
}

/// Waits for an alert about a listener of this process. On a busy host the owner may be known later than the rest.
fn wait_for_alert(
    webhook: &Webhook,
    name: &str,
    at: SocketAddr,
    is_it: impl Fn(&Delivered) -> bool,
) -> Delivered {
    wait_for(name, || {
        webhook.delivered().into_iter().find(|one| {
            let labels = &one.alert["labels"];
            labels["alertname"] == name
                && labels["listen_addr"] == at.to_string()
                && labels["process"] == own_name()
                && is_it(one)
        })
    })
}

fn expect_texts(told: &Delivered, kind: &str, title: &str, at: SocketAddr) {
    let (labels, texts) = (&told.alert["labels"], &told.alert["annotations"]);
    assert_eq!((&labels["kind"], &labels["job"]), (&kind.into(), &"tcpwatch".into()), "{told:?}");
    assert_eq!((&labels["instance"], &labels["process"]), (&DAEMON.into(), &own_name().into()), "{told:?}");
    // What is in no pod is not said to be in tcpwatch's own.
    assert!(labels["pod"].is_null() && labels["namespace"].is_null(), "{told:?}");
    assert_eq!(texts["summary"], format!("{title}: {} at {at}, on {DAEMON}", own_name()));
    let description = texts["description"].as_str().expect("text");
    assert!(description.contains("\n\nOpen findings: 1.\n\nWhat to do:\n"), "{description}");
    let command = format!("tcpwatch findings --kind {kind} --long --remote {DAEMON}");
    assert!(description.contains(&command), "{description}");
    assert!(description.contains(&format!("tcpwatch explain {kind} --remote {DAEMON}")), "{description}");
    let runbook = texts["runbook_url"].as_str().expect("text");
    let (_, page) = runbook.split_once("/blob/HEAD/").expect("a page of the project");
    assert!(files().join("../..").join(page).is_file(), "{runbook}");
}

/// The three, in the order in which they need each other. They end with the test.
fn start(place: &Netns, folder: &Folder) -> (Daemon, [Running; 2]) {
    fs::write(folder.path("tcpwatch.toml"), CONFIG).expect("write a file");
    folder.hasten(
        "scrape.yml",
        &[
            ("scrape_interval: ", "1s"),
            ("evaluation_interval: ", "1s"),
            // As service discovery in Kubernetes adds: the pod that tcpwatch itself runs in.
            (
                "- targets: ['127.0.0.1:9717",
                "']\n        labels: {namespace: monitoring, pod: tcpwatch-x2x5z, container: tcpwatch}",
            ),
        ],
    );
    folder.hasten("alerts.yml", &[("for: ", "1s"), ("keep_firing_for: ", "2s")]);
    folder.hasten("recording.yml", &[]);
    folder.hasten("alertmanager.yml", &[("group_wait: ", "1s"), ("group_interval: ", "1s")]);
    place.run(|| {
        let config = folder.path("tcpwatch.toml");
        let daemon = Daemon::run(&["--listen", DAEMON, "--no-socket", "--no-record", "--config", &config]);
        let (config, data) = (folder.path("alertmanager.yml"), folder.path("alertmanager"));
        let alertmanager = Running::spawn(&mut tool(
            "prometheus-alertmanager",
            &[
                &format!("--config.file={config}"),
                &format!("--storage.path={data}"),
                "--web.listen-address=127.0.0.1:9093",
                "--cluster.listen-address=",
            ],
        ));
        alertmanager.log_line("Listening on");
        let (config, data) = (folder.path("scrape.yml"), folder.path("prometheus"));
        let scraper = Running::spawn(&mut tool(
            "prometheus",
            &[
                &format!("--config.file={config}"),
                &format!("--storage.tsdb.path={data}"),
                "--web.listen-address=127.0.0.1:9090",
            ],
        ));
        scraper.log_line("Server is ready");
        (daemon, [alertmanager, scraper])
    })
}

#[test]
fn a_leak_and_an_overflow_are_delivered() {
    if !process::is_there() {
        return;
    }
    let (place, leaking, full) = (Netns::new("alerts"), Netns::new("leak"), Netns::new("full"));
    let folder = Folder::new();
    let webhook = Webhook::listen(&place, 9095);
    let (daemon, _others) = start(&place, &folder);

    let (forgetful, deaf) = (address(1), address(2));
    let _listener = full.run(|| sock::listen(deaf, BACKLOG)).expect("listen");
    let (_forgetful, leaked) = leak(&leaking, forgetful);
    let clients = |stop: &AtomicBool| knock(&full, deaf, stop);
    meanwhile(&[&clients], || {
        let overflow = "TcpwatchAcceptQueueOverflow";
        let told =
            wait_for_alert(&webhook, overflow, deaf, |one| one.alert["labels"]["severity"] == "critical");
        assert_eq!((told.path.as_str(), &told.alert["status"]), ("/now", &"firing".into()), "{told:?}");
        expect_texts(&told, "accept_queue_overflow", "Accept queue overflow", deaf);

        let told = wait_for_alert(&webhook, "TcpwatchCloseWaitBuildup", forgetful, |_| true);
        assert_eq!((told.path.as_str(), &told.alert["labels"]["severity"]), ("/later", &"warning".into()));
        expect_texts(&told, "close_wait_buildup", "CLOSE_WAIT builds up", forgetful);

        // What the alert says one can do.
        let shown =
            place.run(|| output(&["findings", "--kind", "close_wait_buildup", "--long", "--remote", DAEMON]));
        assert!(String::from_utf8_lossy(&shown.stdout).contains(&forgetful.to_string()), "{shown:?}");
        let page = fs::read_to_string(files().join("../../docs/alerting.md")).expect("the document");
        let silence = page.lines().find(|line| line.starts_with("amtool silence add ")).expect("a command");
        place.run(|| accepted(&mut tool("sh", &["-c", silence])));
        place.run(|| {
            for rate in ["instance:tcpwatch_listener_drops:rate5m", "instance:tcpwatch_transitions:rate5m"] {
                let query = format!("{rate} > 0");
                wait_for(rate, || {
                    let args = ["query", "instant", "http://127.0.0.1:9090", &query];
                    (!accepted(&mut tool("promtool", &args)).stdout.is_empty()).then_some(())
                });
            }
        });
    });

    drop(leaked);
    wait_for_alert(&webhook, "TcpwatchCloseWaitBuildup", forgetful, |one| one.alert["status"] == "resolved");
    let all = webhook.delivered();
    let is_about = |one: &&Delivered, name: &str| one.alert["labels"]["alertname"] == name;
    let wrong: Vec<_> = all.iter().filter(|one| is_about(one, "TcpwatchWithoutEbpf")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(Path::new(&folder.path("prometheus")).is_dir(), "it kept its data where it was told");
    place.run(|| daemon.stop(Signal::TERM));
}
