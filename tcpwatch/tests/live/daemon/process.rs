//! The built binary, run as its user runs it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::bpf::Object;

/// How long anything may take: to load the programs on a busy machine takes seconds.
pub const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(20);

pub const BINARY: &str = env!("CARGO_BIN_EXE_tcpwatch");

/// Whether there is a binary to test. Where the tests run in another kernel's guest they came alone, and this says so.
#[expect(clippy::print_stdout, reason = "shown with the test that fails, or by --nocapture")]
pub fn is_there() -> bool {
    let there = Path::new(BINARY).exists();
    if !there {
        assert!(std::env::var_os("CI").is_none(), "{BINARY} is not built");
        println!("left out: there is no {BINARY} here");
    }
    there
}

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(args)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    interruptible(&mut command);
    command
}

/// Who runs tests in the background of a shell has them ignore interrupts, and what they start as well.
pub fn interruptible(command: &mut Command) {
    // SAFETY: between fork and exec only the disposition of a signal changes, by one system call.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        });
    }
}

/// Runs to the end.
pub fn output(args: &[&str]) -> Output {
    Running::start(args).finish()
}

/// Repeats `look` until it finds something.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(PAUSE);
    }
}

/// A child that does not outlive its test.
pub struct Running {
    child: Child,
    stdout: Receiver<Vec<u8>>,
    /// Lines of the log, as they come.
    stderr: Receiver<String>,
    /// Lines that came before it was ready: they are looked at again.
    early: RefCell<VecDeque<String>>,
}

impl Running {
    pub fn start(args: &[&str]) -> Self {
        Self::spawn(&mut command(args))
    }

    /// A command whose output is piped.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (mut out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let (all, stdout) = channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            out.read_to_end(&mut bytes).expect("read standard output");
            // The test may have ended.
            let _ = all.send(bytes);
        });
        let (lines, stderr) = channel();
        thread::spawn(move || {
            for line in BufReader::new(err).lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        Self { child, stdout, stderr, early: RefCell::default() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("ask for the child").is_some()
    }

    /// The next line of the log that contains `text`.
    pub fn log_line(&self, text: &str) -> String {
        self.log_up_to(text).pop().expect("the line itself is the last")
    }

    /// Like [`Self::log_line`], but the lines before it can still be asked for: parts that start at the same time log in any
    /// order.
    fn log_line_of_many(&self, text: &str) -> String {
        let mut lines = self.log_up_to(text);
        let line = lines.pop().expect("the line itself is the last");
        self.early.borrow_mut().extend(lines);
        line
    }

    /// The lines up to the next one that contains `text`, which is the last.
    fn log_up_to(&self, text: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let early = self.early.borrow_mut().pop_front();
            let next = || self.stderr.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            match early.map_or_else(next, Ok) {
                Ok(line) => seen.push(line),
                Err(error) => panic!("no {text:?} in the log ({error}):\n{}", seen.join("\n")),
            }
            if seen.last().is_some_and(|line| line.contains(text)) {
                return seen;
            }
        }
    }

    /// Lines of the log that nobody has taken yet.
    pub fn log_so_far(&self) -> Vec<String> {
        self.early.borrow_mut().drain(..).chain(self.stderr.try_iter()).collect()
    }

    /// Ends by itself; what it printed.
    pub fn finish(mut self) -> Output {
        let status = self.wait();
        let stdout = self.stdout.recv_timeout(PATIENCE).expect("standard output ends with the child");
        let stderr: Vec<String> = self.early.take().into_iter().chain(self.stderr.iter()).collect();
        Output { status, stdout, stderr: stderr.join("\n").into_bytes() }
    }

    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the child ends", || self.child.try_wait().expect("wait for the child"))
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("send a signal");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A daemon that is ready.
pub struct Daemon {
    pub running: Running,
    pub address: SocketAddr,
}

impl Daemon {
    /// One that takes nothing that a daemon of this host may have.
    pub fn start(more: &[&str]) -> Self {
        let mut args = vec!["--listen", "127.0.0.1:0", "--no-socket"];
        args.extend(more);
        if !more.contains(&"--record-dir") {
            // This host's own recordings are none of a test's business.
            args.push("--no-record");
        }
        Self::run(&args)
    }

    pub fn run(more: &[&str]) -> Self {
        let mut args = vec!["run"];
        args.extend(more);
        Self::ready(Running::start(&args))
    }

    /// Waits until it answers.
    pub fn ready(running: Running) -> Self {
        let line = running.log_line_of_many("listening on http://");
        let (_, address) = line.rsplit_once("http://").expect("an address");
        let daemon = Self { running, address: address.trim().parse().expect("an address") };
        wait_for("/readyz", || (daemon.get("/readyz").0 == 200).then_some(()));
        daemon
    }

    /// Status and body of the answer to a GET.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE).expect("connect to the daemon");
        stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address).expect("ask");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read the answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    /// The JSON of an answer that must be fine.
    pub fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    /// Stops it by `signal` as its user would.
    pub fn stop(mut self, signal: Signal) {
        self.running.signal(signal);
        let status = self.running.wait();
        assert_eq!(status.code(), Some(0), "{signal:?}: {status}");
    }
}

/// The eBPF programs, maps and links that a process holds, as its descriptors tell.
#[derive(Debug, PartialEq, Eq)]
pub struct Held {
    pub programs: Vec<u32>,
    pub maps: Vec<u32>,
    pub links: Vec<u32>,
}

impl Held {
    pub fn by(pid: u32) -> Self {
        let fds = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("list the descriptors");
        let infos: Vec<String> =
            fds.filter_map(|fd| fs::read_to_string(fd.expect("a descriptor").path()).ok()).collect();
        let ids = |field: &str| -> Vec<u32> {
            let lines = infos.iter().flat_map(|info| info.lines());
            let values = lines.filter_map(|line| line.strip_prefix(field)).map(str::trim);
            values.map(|id| id.parse().expect("an id")).collect()
        };
        Self { programs: ids("prog_id:"), maps: ids("map_id:"), links: ids("link_id:") }
    }

    /// Those that the kernel still has. It never gives an id again soon.
    pub fn left(&self) -> Self {
        let among = |held: &[u32], object: Object| {
            held.iter().copied().filter(|id| object.exists(*id)).collect::<Vec<_>>()
        };
        Self {
            programs: among(&self.programs, Object::Program),
            maps: among(&self.maps, Object::Map),
            links: among(&self.links, Object::Link),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.maps.is_empty() && self.links.is_empty()
    }
}
