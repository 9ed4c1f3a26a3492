//! Prometheus, Alertmanager and the daemon beside each other, with the project's files, and connections that go wrong.
//!
//! All of it runs in a network namespace of its own, where each has its default port, and with the files as they are
//! but for their times.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{files, tool};
use crate::daemon::process::{Daemon, Running};
use crate::support::netns::Netns;
use crate::support::sock;

const CONFIG: &str =
    "[close_wait_buildup]\nmin_count = 3\nage = \"2s\"\n\n[findings]\nclose_after = \"3s\"\n";
pub(super) const DAEMON: &str = "127.0.0.1:9717";
const LEAKED: usize = 5;
pub(super) const BACKLOG: i32 = 4;

/// A folder that does not outlive its test.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(hint: &str) -> Self {
        let folder = Self(std::env::temp_dir().join(format!("tcpwatch-{hint}-{}", std::process::id())));
        fs::create_dir(&folder.0).expect("make a folder");
        folder
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    /// A file of the project, with other times; each has to be there.
    pub(super) fn hasten(&self, name: &str, times: &[(&str, &str)]) {
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
pub(super) fn address(last: u8) -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 100 + last, high, low), 8080))
}

/// The command of this process, as it is told.
pub(super) fn own_name() -> String {
    fs::read_to_string("/proc/self/comm").expect("a name").trim().to_owned()
}

/// Connections whose peers have closed, and the listener they came to.
pub(super) fn leak(ns: &Netns, at: SocketAddr) -> (TcpListener, Vec<TcpStream>) {
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
pub(super) fn knock(ns: &Netns, at: SocketAddr, stop: &AtomicBool) {
    ns.run(|| {
        let mut clients = Vec::new();
        while !stop.load(Ordering::Relaxed) && clients.len() < 600 {
            clients.push(sock::connect_start(at).expect("start"));
            std::thread::sleep(Duration::from_millis(100));
        }
    });
}

/// The three, in the order in which they need each other. They end with the test.
pub(super) fn start(place: &Netns, folder: &Folder) -> (Daemon, [Running; 2]) {
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
