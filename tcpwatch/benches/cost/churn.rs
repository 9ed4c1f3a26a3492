//! Connections that come and go as fast as they can, with and without somebody who watches.
//!
//! The worker makes both ends in a network namespace of its own: ten transitions a connection.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tcpwatch::kernel::Yardstick;

use crate::{Effort, daemon, median};

pub(crate) const WORKER: &str = "--worker";

/// More ports mean more free source ports: the kernel's search gets slow once half of them are used.
const PORTS: u16 = 64;
const FIRST_PORT: u16 = 20_000;

/// Opens and closes connections for so many seconds, then prints how many there were and how long it took.
pub(crate) fn work(seconds: u64) -> Result<()> {
    let listeners: Vec<TcpListener> = (FIRST_PORT..FIRST_PORT + PORTS)
        .map(|port| TcpListener::bind(("127.0.0.1", port)))
        .collect::<std::io::Result<_>>()?;
    std::thread::spawn(move || {
        // In the order in which the client connects.
        for listener in listeners.iter().cycle() {
            let Ok((mut stream, _)) = listener.accept() else { return };
            // Until the client closes.
            let _ = stream.read(&mut [0]);
        }
    });
    let started = Instant::now();
    let mut count = 0u64;
    for port in (FIRST_PORT..FIRST_PORT + PORTS).cycle() {
        drop(TcpStream::connect(("127.0.0.1", port))?);
        count += 1;
        if count.is_multiple_of(64) && started.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
    }
    println!("{count} {}", started.elapsed().as_secs_f64());
    Ok(())
}

/// Runs the worker in a new network namespace; connections and seconds.
pub(crate) fn churn(seconds: u64) -> Result<(f64, f64)> {
    let myself = std::env::current_exe()?;
    let script = format!("ip link set lo up && exec {} {WORKER} {seconds}", myself.display());
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", &script])
        .stderr(Stdio::inherit())
        .output()
        .context("run unshare (util-linux)")?;
    ensure!(output.status.success(), "the churn worker failed: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<f64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(count)), Some(Ok(seconds))) if count > 0.0 => Ok((count, seconds)),
        _ => anyhow::bail!("the churn worker printed {text:?}"),
    }
}

/// Who watches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watcher {
    Nobody,
    Empty,
    Tcpwatch,
    Tcpstates,
}

impl Watcher {
    fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nothing",
            Self::Empty => "an empty program",
            Self::Tcpwatch => "`tcpwatch run`",
            Self::Tcpstates => "`tcpstates` (libbpf-tools)",
        }
    }
}

/// Prints what each watcher adds to a connection.
pub(crate) fn run(effort: Effort) -> Result<()> {
    let stats = std::fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled")?;
    ensure!(stats.trim() == "0", "set kernel.bpf_stats_enabled to 0 first: it makes every program slower");
    let mut watchers = vec![Watcher::Nobody, Watcher::Empty, Watcher::Tcpwatch];
    if find_tcpstates().is_some() {
        watchers.push(Watcher::Tcpstates);
    } else {
        eprintln!("tcpstates is not installed (libbpf-tools): it is left out");
    }
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); watchers.len()];
    for round in 0..effort.rounds {
        eprintln!("churn, round {} of {}", round + 1, effort.rounds);
        for (watcher, times) in watchers.iter().zip(&mut times) {
            times.push(one(*watcher, effort.seconds)?);
        }
    }
    println!("## Connection churn\n");
    println!("| watched by | µs per connection (median of {}) | added µs | added |", effort.rounds);
    println!("|---|---|---|---|");
    // Differences of the same round: the machine drifts between rounds.
    let added: Vec<f64> = times
        .iter()
        .map(|watched| median(watched.iter().zip(&times[0]).map(|(watched, base)| watched - base).collect()))
        .collect();
    let base = median(times[0].clone());
    for ((watcher, times), added) in watchers.iter().zip(&times).zip(&added) {
        println!(
            "| {} | {:.2} | {added:+.2} | {:+.1} % |",
            watcher.name(),
            median(times.clone()),
            added / base * 100.0
        );
    }
    if let [_, _, tcpwatch, tcpstates] = added[..] {
        println!("\n`tcpstates` adds {:.0} times what tcpwatch adds.", tcpstates / tcpwatch);
    }
    println!();
    Ok(())
}

/// Microseconds per connection while `watcher` watches.
fn one(watcher: Watcher, seconds: u64) -> Result<f64> {
    let empty = (watcher == Watcher::Empty).then(Yardstick::open).transpose()?;
    let mut other = match watcher {
        Watcher::Tcpwatch => Some(daemon::start()?),
        Watcher::Tcpstates => Some(tcpstates()?),
        Watcher::Nobody | Watcher::Empty => None,
    };
    let (count, took) = churn(seconds)?;
    if let Some(child) = &mut other {
        daemon::stop(child)?;
    }
    drop(empty);
    Ok(took / count * 1e6)
}

fn find_tcpstates() -> Option<&'static str> {
    ["tcpstates", "tcpstates-libbpf"].into_iter().find(|name| {
        let found =
            Command::new("sh").args(["-c", &format!("command -v {name}")]).stdout(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    })
}

fn tcpstates() -> Result<Child> {
    let name = find_tcpstates().context("tcpstates is gone")?;
    let mut child = Command::new(name).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    // It tells nobody when it is ready.
    std::thread::sleep(Duration::from_secs(2));
    ensure!(child.try_wait()?.is_none(), "{name} ended at once: is tracefs mounted at /sys/kernel/tracing?");
    Ok(child)
}
