//! Signals while the daemon starts: none ends it half-way.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::process::{self, Daemon, PATIENCE, Running};

/// Without eBPF a daemon is ready after milliseconds, so that many moments can be tried.
const FAST: (&[&str], u32, Duration) = (&["--netlink-only"], 16, Duration::from_micros(200));
/// To load the programs takes seconds.
const SLOW: (&[&str], u32, Duration) = (&[], 4, Duration::from_millis(400));

/// A directory of this test's own.
struct Scratch(PathBuf);

impl Scratch {
    fn new(hint: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tcpwatch-{hint}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("make a directory");
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("tcpwatch.sock")
    }

    /// A daemon from the moment on in which it takes care of signals.
    fn start(&self, more: &[&str]) -> Running {
        let socket = self.socket();
        let path = socket.to_str().expect("plain text");
        let args = [&["run", "--listen", "127.0.0.1:0", "--no-record", "--socket", path], more].concat();
        let running = Running::start(&args);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let was_there = socket.exists();
            if cares(running.pid()) {
                return running;
            }
            assert!(!was_there, "there is a file that a signal would leave behind");
            assert!(Instant::now() < deadline, "it never took care of signals");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(&self.0).expect("list the directory").next().is_none()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether a process has handlers for the signals that a daemon gets.
fn cares(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a line");
    let caught = u64::from_str_radix(caught.trim(), 16).expect("bits");
    [Signal::HUP, Signal::INT, Signal::TERM].iter().all(|signal| caught & 1 << (signal.as_raw() - 1) != 0)
}

#[test]
fn a_daemon_that_is_told_to_stop_while_it_loads_leaves_nothing() {
    if !process::is_there() {
        return;
    }
    let scratch = Scratch::new("early");
    for (more, rounds, step) in [FAST, SLOW] {
        let mut early = 0;
        for round in 0..rounds {
            let running = scratch.start(more);
            std::thread::sleep(step * round);
            if round % 4 > 1 {
                running.signal(Signal::HUP);
            }
            running.signal(if round % 2 == 0 { Signal::TERM } else { Signal::INT });
            early += u32::from(!running.log_so_far().iter().any(|line| line.contains("listening on")));
            let ended = running.finish();
            let log = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(0), "{more:?} {round}: {}: {log}", ended.status);
            assert!(!log.contains("panicked") && log.contains("nothing is left"), "{more:?} {round}: {log}");
            assert!(scratch.is_empty(), "{more:?} {round}: the file of its socket is left");
            // One that has programs to load does not load all of them first.
            let is_first = round == 0 && more.is_empty();
            assert!(!is_first || !log.contains("ready after"), "it went on: {log}");
        }
        println!("{more:?}: {early} of {rounds} were told before they were ready");
        assert!(early > 0, "none was told early enough to show anything");
    }
}

/// Programs that do not run, and why.
fn missing(daemon: &Daemon) -> Vec<String> {
    let status = daemon.json("/api/v1/status");
    let programs = status["programs"].as_array().expect("a list");
    assert!(!programs.is_empty(), "{status}");
    let not_loaded = programs.iter().filter(|program| program["loaded"] != true);
    not_loaded.map(|program| format!("{}: {}", program["name"], program["error"])).collect()
}

#[test]
fn a_daemon_that_is_told_to_read_its_configuration_while_it_loads_goes_on() {
    if !process::is_there() {
        return;
    }
    let scratch = Scratch::new("hangup");
    let running = scratch.start(&[]);
    // The verifier of the kernel gives up when a signal comes.
    for _ in 0..40 {
        running.signal(Signal::HUP);
        std::thread::sleep(Duration::from_millis(25));
    }
    // It need not wait until all is loaded.
    running.log_line("SIGHUP: there is no configuration file");
    let daemon = Daemon::ready(running);
    let undisturbed = Daemon::start(&[]);
    assert_eq!(missing(&daemon), missing(&undisturbed));
    daemon.stop(Signal::TERM);
    assert!(scratch.is_empty());
}
