//! What this host keeps from every eBPF program.
//!
//! There are sandboxes whose kernel runs no tracing program while a task of the sandbox's supervisor, process 1, is
//! current, be it only that the network stack interrupts it. No program can count what happens then. ftrace is not kept
//! from it: an instance of it that records what is traced while process 1 is current tells what must be missing.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::mount::{MountFlags, mount};
use tcpwatch_common::{TcpState, cell, judge};

const TRACEFS: &str = "/sys/kernel/tracing";
const TRANSITION: &str = "sock/inet_sock_set_state";
/// The tracepoints that our programs are on; not every kernel has all of them.
const EVENTS: [&str; 5] = [
    TRANSITION,
    "tcp/tcp_retransmit_skb",
    "tcp/tcp_retransmit_synack",
    "tcp/tcp_send_reset",
    "tcp/tcp_receive_reset",
];
/// How addresses of these tests begin.
const OURS: [&str; 4] = ["127.", "::1", "10.77.", "fd77:"];

static RECORD: Mutex<Weak<Record>> = Mutex::new(Weak::new());

/// What was withheld since this was made.
#[derive(Debug)]
pub struct Withheld {
    record: Arc<Record>,
    /// Lines that were there before.
    before: usize,
}

impl Withheld {
    pub fn watch() -> Self {
        let mut shared = RECORD.lock().unwrap_or_else(PoisonError::into_inner);
        let record = shared.upgrade().unwrap_or_else(|| Arc::new(Record::new()));
        *shared = Arc::downgrade(&record);
        let before = record.read().lines().count();
        Self { record, before }
    }

    /// What was kept from the programs so far, of connections of these tests.
    pub fn events(&self) -> Vec<String> {
        let is_ours = |word: &str| {
            let value = word.split_once('=').map_or("", |(_, value)| value.trim_start_matches('['));
            OURS.iter().any(|ours| value.starts_with(ours))
        };
        let trace = self.record.read();
        let lines = trace.lines().skip(self.before);
        lines.filter(|line| line.split_whitespace().any(is_ours)).map(str::to_owned).collect()
    }

    /// The transitions among them with an address that `is_ours`, in the cells where they belong.
    pub fn cells(&self, is_ours: impl Fn(IpAddr) -> bool) -> cell::Row {
        let mut cells = [0; cell::CELLS];
        let trace = self.record.read();
        let lines = trace.lines().skip(self.before);
        for (from, to) in lines.filter_map(|line| transition(line, &is_ours)) {
            cells[judge(from, to).cell.expect("a legal transition")] += 1;
        }
        cells
    }
}

/// One for all tests that run at the same time.
#[derive(Debug)]
struct Record {
    /// The instance; `None` where there is no ftrace.
    instance: Option<PathBuf>,
}

impl Record {
    fn new() -> Self {
        let instances = Path::new(TRACEFS).join("instances");
        if !instances.exists() {
            // Where it cannot be mounted there is none.
            let _ = mount("tracefs", TRACEFS, "tracefs", MountFlags::empty(), None);
        }
        let instance = instances.join(format!("tcpwatch-{}", std::process::id()));
        if let Err(error) = fs::create_dir(&instance) {
            println!("no ftrace here: {error}");
            return Self { instance: None };
        }
        start(&instance).expect("set ftrace up");
        Self { instance: Some(instance) }
    }

    /// The lines of what happened, in its order.
    fn read(&self) -> String {
        let Some(instance) = &self.instance else { return String::new() };
        let trace = fs::read_to_string(instance.join("trace")).expect("read what ftrace recorded");
        // Comments tell how many there are.
        trace.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect()
    }
}

fn start(instance: &Path) -> io::Result<()> {
    let tasks: Vec<String> = fs::read_dir("/proc/1/task")?
        .map(|task| Ok(task?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()?;
    fs::write(instance.join("set_event_pid"), tasks.join(" "))?;
    fs::write(instance.join("options/event-fork"), "1")?;
    for event in EVENTS {
        match fs::write(switch(instance, event), "1") {
            Err(error) if event == TRANSITION || error.kind() != io::ErrorKind::NotFound => {
                return Err(error);
            }
            _ => (),
        }
    }
    Ok(())
}

fn switch(instance: &Path, event: &str) -> PathBuf {
    instance.join("events").join(event).join("enable")
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(instance) = &self.instance {
            // It is gone at the next boot at the latest.
            for event in EVENTS {
                let _ = fs::write(switch(instance, event), "0");
            }
            let _ = fs::remove_dir(instance);
        }
    }
}

/// The states in a line of the trace, if it is of a transition with an address that `is_ours`.
fn transition(line: &str, is_ours: impl Fn(IpAddr) -> bool) -> Option<(TcpState, TcpState)> {
    let value = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name));
    let addresses = [value("saddr=")?, value("daddr=")?];
    if !addresses.iter().any(|address| address.parse().is_ok_and(&is_ours)) {
        return None;
    }
    let state = |name| TcpState::parse(value(name)?.strip_prefix("TCP_")?);
    Some((state("oldstate=")?, state("newstate=")?))
}
