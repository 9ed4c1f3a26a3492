//! `tcpwatch netstat` against `ss`: the same sockets, the same totals, time and memory of both.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::{Effort, daemon, median};

/// Sockets (both ends) of one holder: the limit on open files is often 20,000.
const EACH: u64 = 18_000;

/// Who lists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lister {
    Ss,
    Alone,
    Daemon,
}

impl Lister {
    const ALL: [Self; 3] = [Self::Ss, Self::Alone, Self::Daemon];

    fn name(self) -> &'static str {
        match self {
            Self::Ss => "`ss -tan`",
            Self::Alone => "`tcpwatch netstat -an`, alone",
            Self::Daemon => "`tcpwatch netstat -an`, a daemon runs",
        }
    }

    /// The command line, in the network namespace of a process.
    fn command(self, holder: &Child, address: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", holder.id()));
        match self {
            Self::Ss => command.args(["ss", "-tan"]),
            Self::Alone => command.args([daemon::binary(), "netstat", "-an", "--alone", "--netns", "own"]),
            // It cannot be reached from there.
            Self::Daemon => {
                command = Command::new(daemon::binary());
                let inode = namespace(holder).unwrap_or_default();
                command.args(["netstat", "-an", "--remote", address, "--netns", &inode])
            }
        };
        command.stderr(Stdio::null());
        command
    }
}

/// Prints who takes how long, and how much memory, for few and for many sockets.
pub(crate) fn run(effort: Effort) -> Result<()> {
    println!("## Listing all sockets\n");
    println!(
        "| sockets | listed by | to | ms (median of {}) | times faster | CPU ms | most memory |",
        effort.rounds
    );
    println!("|---|---|---|---|---|---|---|");
    for sockets in [20_000, 200_000] {
        let holders = hold(sockets)?;
        let (mut watcher, address) = daemon::start_at()?;
        let measured = wait_for(&address).and_then(|()| measure(effort, sockets, &holders, &address));
        daemon::stop(&mut watcher)?;
        for mut holder in holders {
            holder.kill()?;
            holder.wait()?;
        }
        measured?;
    }
    println!();
    Ok(())
}

/// Waits until the daemon has its first figures.
fn wait_for(address: &str) -> Result<()> {
    for _ in 0..100 {
        let mut asked = Command::new(daemon::binary());
        asked.args(["netstat", "-s", "--remote", address]).stdout(Stdio::null()).stderr(Stdio::null());
        if asked.status()?.success() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(200));
    }
    anyhow::bail!("the daemon at {address} has no figures after 20 s")
}

fn hold(sockets: u64) -> Result<Vec<Child>> {
    let mut holders: Vec<Child> = Vec::new();
    let mut left = sockets;
    while left > 0 {
        let now = left.min(EACH);
        let holder = daemon::hold_beside(holders.first(), now)?;
        holders.push(holder);
        left -= now;
    }
    Ok(holders)
}

fn measure(effort: Effort, sockets: u64, holders: &[Child], address: &str) -> Result<()> {
    let first = holders.first().context("a holder")?;
    let command = |lister: Lister| lister.command(first, address);
    let totals = states(command(Lister::Ss))?;
    for lister in [Lister::Alone, Lister::Daemon] {
        let ours = states(command(lister))?;
        ensure!(ours == totals, "{} counts {ours:?}, ss {totals:?}", lister.name());
    }
    let listeners = u64::try_from(holders.len())?;
    ensure!(totals.values().sum::<u64>() == sockets + listeners, "all of them are listed: {totals:?}");
    for to_pipe in [false, true] {
        let mut runs: Vec<Vec<Run>> = vec![Vec::new(); Lister::ALL.len()];
        for _ in 0..effort.rounds {
            for (lister, runs) in Lister::ALL.into_iter().zip(&mut runs) {
                runs.push(one(command(lister), to_pipe)?);
            }
        }
        let times: Vec<f64> =
            runs.iter().map(|runs| median(runs.iter().map(|run| run.seconds).collect())).collect();
        for ((lister, runs), time) in Lister::ALL.into_iter().zip(&runs).zip(&times) {
            println!(
                "| {sockets} | {} | {} | {:.1} | {:.1} | {:.0} | {:.1} MiB |",
                lister.name(),
                if to_pipe { "a pipe" } else { "/dev/null" },
                time * 1e3,
                times[0] / time,
                median(runs.iter().map(|run| run.processor).collect()) * 1e3,
                runs.iter().map(|run| run.mebibytes).fold(0.0, f64::max),
            );
        }
    }
    Ok(())
}

/// What one run took.
#[derive(Clone, Copy)]
struct Run {
    seconds: f64,
    processor: f64,
    mebibytes: f64,
}

fn one(mut command: Command, to_pipe: bool) -> Result<Run> {
    let began = Instant::now();
    let mut child = command.stdout(if to_pipe { Stdio::piped() } else { Stdio::null() }).spawn()?;
    let reader = child.stdout.take().map(|mut out| {
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 18];
            while out.read(&mut buffer).is_ok_and(|length| length > 0) {}
        })
    });
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("its process id")?;
    let mut mebibytes = 0.0;
    // It is looked at while it runs, and once more when it has ended and nobody has asked how.
    while waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG)?
        .is_none()
    {
        mebibytes = most_memory(child.id()).unwrap_or(mebibytes);
        thread::sleep(Duration::from_millis(2));
    }
    let seconds = began.elapsed().as_secs_f64();
    let processor = processor_time(child.id())?;
    if let Some(reader) = reader {
        reader.join().map_err(|_| anyhow::anyhow!("the reader of a listing failed"))?;
    }
    let status = child.wait()?;
    ensure!(status.success(), "a listing ended with {status}");
    Ok(Run { seconds, processor, mebibytes })
}

/// The most that it has had in memory so far.
fn most_memory(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u32 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(f64::from(kibibytes) / 1024.0)
}

/// Seconds of processor time that all its threads took.
fn processor_time(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("its name")?;
    // Fields 14 and 15 of the line, of which the first two are before.
    let ticks = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u32>);
    let ticks: u32 = ticks.sum::<std::result::Result<u32, _>>()?;
    #[expect(clippy::cast_precision_loss, reason = "a hundred")]
    let second = rustix::param::clock_ticks_per_second() as f64;
    Ok(f64::from(ticks) / second)
}

fn namespace(holder: &Child) -> Result<String> {
    let link = std::fs::read_link(format!("/proc/{}/ns/net", holder.id()))?;
    let text = link.to_string_lossy().into_owned();
    let number =
        text.strip_prefix("net:[").and_then(|text| text.strip_suffix(']')).context("its namespace")?;
    Ok(number.to_owned())
}

/// Sockets by state, as `ss` and we both write it in the first column.
fn states(mut command: Command) -> Result<BTreeMap<String, u64>> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let out = child.stdout.take().context("its output")?;
    let mut states = BTreeMap::new();
    // Line by line: what this process takes would count as memory of those it starts.
    for line in BufReader::new(out).lines().skip(1) {
        let line = line?;
        let word = line.split_ascii_whitespace().next().context("a state")?;
        let state = tcpwatch_common::TcpState::parse(word).with_context(|| format!("the state {word}"))?;
        *states.entry(state.name().to_owned()).or_default() += 1;
    }
    let status = child.wait()?;
    ensure!(status.success(), "a listing ended with {status}");
    Ok(states)
}
