//! The configuration file, read at the start and at SIGHUP, and the findings that it decides on.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::process::{self, Daemon, output, wait_for};
use crate::support::netns::Netns;

/// A file that does not outlive its test.
pub(super) struct File(PathBuf);

impl File {
    pub(super) fn new(hint: &str, text: &str) -> Self {
        let file = Self(std::env::temp_dir().join(format!("tcpwatch-{hint}-{}.toml", std::process::id())));
        file.write(text);
        file
    }

    pub(super) fn write(&self, text: &str) {
        fs::write(&self.0, text).expect("write the configuration");
    }

    pub(super) fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // A test may have removed it.
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn the_printed_configuration_is_one_that_can_be_used() {
    if !process::is_there() {
        return;
    }
    let printed = output(&["run", "--print-config"]);
    assert_eq!(printed.status.code(), Some(0), "{printed:?}");
    let text = String::from_utf8(printed.stdout).expect("UTF-8");
    assert!(text.contains("[close_wait_buildup]") && text.contains("\nmin_count = 10\n"), "{text}");
    let file = File::new("printed", &text.replacen("min_count = 10", "min_count = 11", 1));
    let again = output(&["run", "--print-config", "--config", file.path()]);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    let again = String::from_utf8(again.stdout).expect("UTF-8");
    assert!(again.contains("by default 10\nmin_count = 11\n"), "{again}");
}

#[test]
fn a_file_that_cannot_be_used_is_refused_at_the_start() {
    if !process::is_there() {
        return;
    }
    let file = File::new("refused", "[close_wait_buildup]\nmin_cuont = 3\n");
    for (path, reason) in
        [(file.path(), "line 2: there is no option \"min_cuont\""), ("/nowhere", "cannot read")]
    {
        let ended = output(&["run", "--listen", "127.0.0.1:0", "--config", path]);
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(told.contains(path) && told.contains(reason), "{told}");
    }
}

/// Connections in CLOSE_WAIT here, one after the other: their peers have closed.
pub(super) fn forgotten(ns: &Netns, count: usize) -> Vec<TcpStream> {
    ns.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("bound");
        let forget = |_| {
            let client = TcpStream::connect(address).expect("connect");
            let (server, _) = listener.accept().expect("accept");
            drop(client);
            server
        };
        (0..count).map(forget).collect()
    })
}

fn findings(daemon: &Daemon, ns: &Netns, more: &str) -> Vec<Value> {
    let path = format!("/api/v1/findings?netns={}&kind=close_wait_buildup{more}", ns.inode());
    daemon.json(&path)["findings"].as_array().expect("findings").clone()
}

#[test]
fn a_hangup_takes_over_a_good_file_and_refuses_a_broken_one() {
    if !process::is_there() {
        return;
    }
    let ns = Netns::new("reload");
    let file = File::new("reload", "[close_wait_buildup]\nmin_count = 1000\nage = 1\n");
    let daemon = Daemon::start(&["--config", file.path()]);
    let sockets = forgotten(&ns, 4);
    thread::sleep(Duration::from_secs(4));
    assert!(findings(&daemon, &ns, "").is_empty(), "four are not enough yet");

    file.write("[close_wait_buildup]\nmin_count = 3\nage = \"1s\"\n\n[findings]\nclose_after = 2\n");
    daemon.running.signal(Signal::HUP);
    daemon.running.log_line("was read again");
    let told = daemon.running.log_line(&format!("finding close_wait_buildup:{}", ns.inode()));
    assert!(told.contains("warning finding") && told.contains("4 sockets"), "{told}");
    let found = wait_for("the owner is known", || {
        let found = findings(&daemon, &ns, "");
        assert_eq!(found.len(), 1, "{found:?}");
        (!found[0]["subject"]["owner"]["pid"].is_null()).then_some(found)
    });
    assert_eq!(found[0]["verdict"], "never_closed");
    assert_eq!(found[0]["evidence"]["aged"], 4);
    assert_eq!(found[0]["subject"]["owner"]["pid"], std::process::id());
    let page = daemon.get("/metrics").1;
    let total =
        page.split("\ntcpwatch_findings_total{kind=\"close_wait_buildup\"} ").nth(1).expect("a total");
    let total: u64 = total.lines().next().and_then(|count| count.parse().ok()).expect("a number");
    assert!(total >= 1, "it counts the whole host, where other tests leak, too");

    file.write("[close_wait_buildup]\nmin_count = 1000\nage = \"soon\"\n");
    daemon.running.signal(Signal::HUP);
    let refused = daemon.running.log_line("the old configuration stays");
    assert!(refused.contains("line 3: close_wait_buildup.age is \"soon\""), "{refused}");
    thread::sleep(Duration::from_secs(4));
    assert_eq!(findings(&daemon, &ns, "").len(), 1, "the old one stays");

    drop(sockets);
    let over = daemon.running.log_line(&format!("close_wait_buildup:{}", ns.inode()));
    assert!(over.contains("is over after"), "{over}");
    wait_for("the closed finding is remembered", || {
        let closed = findings(&daemon, &ns, "&closed=1h");
        (findings(&daemon, &ns, "").is_empty() && closed.len() == 1 && !closed[0]["closed"].is_null())
            .then_some(())
    });
    daemon.stop(Signal::TERM);
}

#[test]
fn a_hangup_without_a_file_changes_nothing() {
    if !process::is_there() {
        return;
    }
    let daemon = Daemon::start(&[]);
    daemon.running.signal(Signal::HUP);
    daemon.running.log_line("no configuration file to read again");
    assert_eq!(daemon.get("/healthz").0, 200);
    daemon.stop(Signal::TERM);
}

/// A directory as a kubelet mounts a `ConfigMap`: `tcpwatch.toml` is a link to `..data/tcpwatch.toml`, and `..data` one
/// to the present version, which is replaced by rename.
struct ConfigMap(PathBuf);

impl ConfigMap {
    fn new(text: &str) -> Self {
        let map = Self(std::env::temp_dir().join(format!("tcpwatch-config-map-{}", std::process::id())));
        fs::create_dir(&map.0).expect("make the directory");
        map.update("..2026_01", text);
        symlink("..data/tcpwatch.toml", map.file()).expect("link the file");
        map
    }

    fn file(&self) -> PathBuf {
        self.0.join("tcpwatch.toml")
    }

    fn update(&self, version: &str, text: &str) {
        fs::create_dir(self.0.join(version)).expect("make the version");
        fs::write(self.0.join(version).join("tcpwatch.toml"), text).expect("write the version");
        let (new, data) = (self.0.join("..data_tmp"), self.0.join("..data"));
        let old = fs::read_link(&data).ok();
        symlink(version, &new).expect("link the version");
        fs::rename(new, data).expect("take it over");
        if let Some(old) = old {
            fs::remove_dir_all(self.0.join(old)).expect("remove the old version");
        }
    }
}

impl Drop for ConfigMap {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("remove the directory");
    }
}

#[test]
fn a_config_map_that_changes_is_read_again_without_a_signal() {
    if !process::is_there() {
        return;
    }
    let map = ConfigMap::new("[close_wait_buildup]\nmin_count = 1000\n");
    let path = map.file();
    let path = path.to_str().expect("UTF-8");
    let daemon = Daemon::start(&["--config", path, "--watch-config"]);
    let status = || daemon.json("/api/v1/status")["config"].clone();
    let metric = || {
        let page = daemon.get("/metrics").1;
        let value = page.split("\ntcpwatch_config_last_reload_successful ").nth(1).expect("told");
        value.lines().next().expect("a value").to_owned()
    };
    let first = wait_for("the first sample", || Some(status()).filter(|config| !config.is_null()));
    assert_eq!((&first["path"], &first["error"]), (&Value::from(path), &Value::Null));

    map.update("..2026_02", "[close_wait_buildup]\nmin_count = 3\n");
    daemon.running.log_line("it has changed: the configuration");
    let second = status();
    assert_ne!(second["read_at"], first["read_at"]);
    assert_eq!((second["error"].clone(), metric().as_str()), (Value::Null, "1"));

    map.update("..2026_03", "[close_wait_buildup]\nmin_count = 0\n");
    let refused = daemon.running.log_line("the old configuration stays");
    assert!(refused.contains("it has changed") && refused.contains("min_count is 0"), "{refused}");
    let third = status();
    assert_eq!(third["read_at"], second["read_at"], "what is in effect is that of before");
    assert!(third["error"].as_str().is_some_and(|error| error.contains("min_count is 0")), "{third}");
    assert_eq!(metric(), "0");

    map.update("..2026_04", "[close_wait_buildup]\nmin_count = 4\n");
    daemon.running.log_line("it has changed: the configuration");
    assert_eq!((status()["error"].clone(), metric().as_str()), (Value::Null, "1"));
    daemon.stop(Signal::TERM);
}
