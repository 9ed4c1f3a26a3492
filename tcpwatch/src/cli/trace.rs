//! `tcpwatch trace`: facts as they happen, filtered in the kernel.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use tcpwatch_common::event::Event;

use super::Outcome;
use super::filter::FilterArgs;
use crate::host::{clock, process};
use crate::kernel::{Counters, Kernel, Options, Ring};
use crate::process::KERNEL;
use crate::view::event::{self, Context, View};

const EXAMPLES: &str = "\
Examples:
  tcpwatch trace                                  everything
  tcpwatch trace --port 5432 --type reset         resets of a database's connections
  tcpwatch trace --peer 10.0.0.0/8 --state close_wait
  tcpwatch trace --json --duration 10 | jq -c 'select(.cause == \"timeout\")'";

/// How often the ring is looked at. The kernel wakes nobody.
const EVERY: Duration = Duration::from_millis(50);

/// Process names remembered, so that one that has ended is still named.
const NAMES: usize = 4096;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TraceArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Stop after so many events.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Stop after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u64>,
    /// Size of the ring buffer in KiB, a power of two.
    #[arg(long, value_name = "KIB", default_value_t = 4096, value_parser = parse_ring)]
    ring: u32,
}

pub(super) fn trace(args: &TraceArgs) -> Result<Outcome> {
    let (wanted, filter) = args.filter.compile()?;
    let stop = stop_flag()?;
    let options = Options { adopt: false, ring_bytes: args.ring * 1024, ..Options::default() };
    let mut kernel = Kernel::open(&options).context("trace needs eBPF")?;
    let counters = Counters::open(&mut kernel)?;
    let mut ring = Ring::open(&mut kernel)?;
    kernel.want(wanted, filter)?;
    let reasons = kernel.reset_reasons().to_vec();
    let mut tracer = Tracer { names: RefCell::default(), reasons, json: args.json, lost: 0, shown: 0 };
    let mut out = io::BufWriter::new(io::stdout().lock());
    tracer.header(&mut out)?;
    let end = args.duration.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let limit = args.count.unwrap_or(u64::MAX);
    loop {
        // Before the ring is read: what is in it now is shown even if it is time to stop.
        let last = stop.load(Ordering::Relaxed) || end.is_some_and(|end| Instant::now() >= end);
        let mut failed = Ok(());
        ring.drain(usize::MAX, |event| {
            if failed.is_ok() && tracer.shown < limit {
                failed = tracer.show(&mut out, event);
            }
        });
        failed?;
        tracer.losses(&mut out, counters.host()?.ring.lost)?;
        out.flush()?;
        if last || tracer.shown >= limit {
            return Ok(if tracer.shown == 0 { Outcome::Findings } else { Outcome::Fine });
        }
        std::thread::sleep(EVERY);
    }
}

struct Tracer {
    names: RefCell<HashMap<u32, String>>,
    reasons: Vec<String>,
    json: bool,
    lost: u64,
    shown: u64,
}

impl Tracer {
    fn header(&self, out: &mut impl Write) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        writeln!(
            out,
            "{:<12} {:<24} {:<8} {:<14} {:>10} {:<22} {:<22} {:>10} owner",
            "time", "what", "verdict", "cause", "in state", "local", "remote", "netns"
        )?;
        out.flush()
    }

    fn show(&mut self, out: &mut impl Write, event: &Event) -> io::Result<()> {
        let process = |pid| self.name(pid);
        // Taken anew for each event, as the wall clock may be set.
        let context = Context { boot: clock::boot(), reset_reasons: &self.reasons, process: &process };
        let Some(view) = event::view(event, &context) else {
            log::warn!("an event that makes no sense was left out: {event:?}");
            return Ok(());
        };
        if let (Some(pid), Some(name)) = (view.owner.pid, &view.owner.process) {
            self.learn(pid, name);
        }
        self.shown += 1;
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&view)?)
        } else {
            writeln!(out, "{}", line(&view))
        }
    }

    fn name(&self, pid: u32) -> Option<String> {
        self.names.borrow().get(&pid).cloned().or_else(|| process::command(pid))
    }

    fn learn(&self, pid: u32, name: &str) {
        let mut names = self.names.borrow_mut();
        if names.len() >= NAMES && !names.contains_key(&pid) {
            names.clear();
        }
        names.insert(pid, name.to_owned());
    }

    /// Tells of facts that the ring had no room for.
    fn losses(&mut self, out: &mut impl Write, lost: u64) -> io::Result<()> {
        let new = lost - self.lost.min(lost);
        self.lost = lost;
        if new == 0 {
            return Ok(());
        }
        if self.json {
            writeln!(out, "{}", serde_json::json!({"type": "lost", "count": new}))
        } else {
            writeln!(out, "({new} events lost: filter more, or give a larger --ring)")
        }
    }
}

fn line(view: &View) -> String {
    let what = match (view.kind, view.from, view.to) {
        ("gap", Some(from), _) => format!("gap: {from}, not {}", view.expected.unwrap_or("?")),
        (_, Some(from), Some(to)) => format!("{from} > {to}"),
        ("reset", ..) => format!("reset {} in {}", view.direction.unwrap_or(""), view.state.unwrap_or("?")),
        (kind, ..) => format!("{kind} {}", view.what.unwrap_or("")),
    };
    let cause = view.cause.or(view.reason.as_deref()).unwrap_or("");
    let owner = match (&view.owner.process, view.owner.pid) {
        (Some(process), Some(pid)) => format!("{process}[{pid}]"),
        (None, Some(pid)) => format!("[{pid}]"),
        _ if view.owner.kernel => KERNEL.into(),
        _ => "unknown".into(),
    };
    let in_state = view.in_state.map_or_else(String::new, seconds);
    // The date is the same for all.
    let time = view.at.get(11..23).unwrap_or(&view.at);
    format!(
        "{time:<12} {what:<24} {:<8} {cause:<14} {in_state:>10} {:<22} {:<22} {:>10} {owner}",
        view.verdict.unwrap_or(""),
        view.local,
        view.remote,
        view.netns,
    )
}

/// A duration in the unit that suits it.
fn seconds(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.001 => format!("{:.0} us", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{seconds:.2} s"),
    }
}

fn parse_ring(text: &str) -> Result<u32> {
    let size: u32 = text.parse().context("not a number")?;
    anyhow::ensure!(
        size.is_power_of_two() && (4..=1 << 20).contains(&size),
        "a power of two from 4 to 1048576"
    );
    Ok(size)
}

/// Set when the user wants to stop, from this call on.
pub(super) fn stop_flag() -> Result<Arc<AtomicBool>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the asynchronous runtime")?;
    let stopped = {
        let _inside = runtime.enter();
        super::run::stop_signal()?
    };
    let stop = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&stop);
    let wait = move || {
        runtime.block_on(stopped);
        set.store(true, Ordering::Relaxed);
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).context("start a thread for signals")?;
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_unit_that_suits_them() {
        for (value, text) in [(0.000_012, "12 us"), (0.0123, "12.3 ms"), (3.0, "3.00 s")] {
            assert_eq!(seconds(value), text);
        }
    }

    #[test]
    fn ring_sizes_are_powers_of_two() {
        assert_eq!(parse_ring("64").ok(), Some(64));
        for text in ["0", "3", "x", "2097152", "-4"] {
            assert!(parse_ring(text).is_err(), "{text}");
        }
    }
}
