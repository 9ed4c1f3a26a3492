//! A daemon that a service manager has started tells it how it is, over a socket of the manager's.

use std::env;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Instant;

use rustix::process::Signal;

use super::process::{self, Daemon, PATIENCE, Running};

struct Manager {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let path = env::temp_dir().join(format!("tcpwatch-manager-{}", std::process::id()));
        let socket = UnixDatagram::bind(&path).expect("bind");
        socket.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
        Self { path, socket }
    }

    fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("the daemon tells something");
        String::from_utf8(bytes[..length].to_vec()).expect("UTF-8")
    }

    /// The next that begins so.
    fn told(&self, begin: &str) -> String {
        let began = Instant::now();
        let mut others = Vec::new();
        while began.elapsed() < PATIENCE {
            let told = self.next();
            if told.starts_with(begin) {
                return told;
            }
            others.push(told);
        }
        panic!("no {begin:?} was told, but {others:?}");
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[test]
fn a_service_manager_is_told() {
    if !process::is_there() {
        return;
    }
    let manager = Manager::new();
    let config = manager.path.with_extension("toml");
    fs::write(&config, "[findings]\nclose_after = \"11s\"\n").expect("write a file");
    let path = config.to_str().expect("plain text");
    let args = ["run", "--listen", "127.0.0.1:0", "--no-socket", "--no-record", "--config", path];
    let mut command = process::command(&args);
    // Less than a tick may take, so it has to ask for more.
    command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "2000000");
    let running = Running::spawn(&mut command);

    assert_eq!(manager.next(), "WATCHDOG_USEC=6000000");
    assert_eq!(manager.next(), "STATUS=loading the eBPF programs");
    let ready = manager.next();
    assert!(
        ready.starts_with("READY=1\nSTATUS=watching through eBPF, listening on http://127.0.0.1:"),
        "{ready}"
    );
    let daemon = Daemon::ready(running);
    manager.told("WATCHDOG=1");

    daemon.running.signal(Signal::HUP);
    assert!(manager.told("RELOADING=1").contains("\nMONOTONIC_USEC="));
    assert_eq!(manager.told("READY=1"), "READY=1");
    fs::write(&config, "wrong").expect("write a file");
    daemon.running.signal(Signal::HUP);
    manager.told("RELOADING=1");
    assert_eq!(manager.told("READY=1"), "READY=1");
    let told = manager.told("STATUS=");
    assert!(
        told.contains("; the configuration file ") && told.contains("; the old configuration stays"),
        "{told}"
    );
    fs::write(&config, "[findings]\nclose_after = \"12s\"\n").expect("write a file");
    daemon.running.signal(Signal::HUP);
    while manager.told("STATUS=watching through eBPF").contains("configuration") {}

    daemon.stop(Signal::TERM);
    assert_eq!(manager.told("STOPPING=1"), "STOPPING=1\nSTATUS=stopping");
    fs::remove_file(&config).expect("remove it");
}
