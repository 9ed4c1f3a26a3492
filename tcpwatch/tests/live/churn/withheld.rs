//! Transitions that this host keeps from every eBPF program.
//!
//! There are sandboxes whose kernel runs no tracing program while a task of the sandbox's supervisor, process 1, is
//! current, be it only that the network stack interrupts it. No program can count what happens then. ftrace is not kept
//! from it: an instance of it that records the transitions made while process 1 is current tells what must be missing.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount};
use tcpwatch_common::{TcpState, cell, judge};

use super::traffic::is_ours;

const TRACEFS: &str = "/sys/kernel/tracing";
const EVENT: &str = "events/sock/inet_sock_set_state/enable";

/// Records from its making on.
pub struct Withheld {
    /// The instance; `None` where there is no ftrace.
    instance: Option<PathBuf>,
}

impl Withheld {
    pub fn watch() -> Self {
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
        let this = Self { instance: Some(instance) };
        this.start().expect("set ftrace up");
        this
    }

    fn start(&self) -> io::Result<()> {
        let Some(instance) = &self.instance else { return Ok(()) };
        let tasks: Vec<String> = fs::read_dir("/proc/1/task")?
            .map(|task| Ok(task?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()?;
        fs::write(instance.join("set_event_pid"), tasks.join(" "))?;
        fs::write(instance.join("options/event-fork"), "1")?;
        fs::write(instance.join(EVENT), "1")
    }

    /// Transitions made so far while process 1 was current, of connections with an address that `is_ours`.
    pub fn transitions(&self, is_ours: impl Fn(IpAddr) -> bool) -> Vec<(TcpState, TcpState)> {
        let Some(instance) = &self.instance else { return Vec::new() };
        let trace = fs::read_to_string(instance.join("trace")).expect("read what ftrace recorded");
        trace.lines().filter_map(|line| transition(line, &is_ours)).collect()
    }

    /// Those of the churn, in the cells where they belong.
    pub fn cells(&self) -> cell::Row {
        let mut cells = [0; cell::CELLS];
        for (from, to) in self.transitions(is_ours) {
            cells[judge(from, to).cell.expect("a legal transition")] += 1;
        }
        cells
    }
}

impl Drop for Withheld {
    fn drop(&mut self) {
        if let Some(instance) = &self.instance {
            // It is gone at the next boot at the latest.
            let _ = fs::write(instance.join(EVENT), "0");
            let _ = fs::remove_dir(instance);
        }
    }
}

/// The states in a line of the trace, if it is of a connection that these tests made.
fn transition(line: &str, is_ours: impl Fn(IpAddr) -> bool) -> Option<(TcpState, TcpState)> {
    let value = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name));
    let is_ours = |name| {
        let address = value(name).and_then(|address| address.parse::<IpAddr>().ok());
        address.is_some_and(|address| is_ours(address.to_canonical()))
    };
    // IPv6 ones have zeros where the others' addresses are.
    if !["saddr=", "daddr=", "saddrv6=", "daddrv6="].into_iter().any(is_ours) {
        return None;
    }
    let state = |name| TcpState::parse(value(name)?.strip_prefix("TCP_")?);
    Some((state("oldstate=")?, state("newstate=")?))
}
