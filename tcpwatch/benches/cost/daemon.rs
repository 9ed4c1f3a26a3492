//! The daemon as a whole: how often it wakes, and how much memory it takes.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::{Effort, churn};

pub(crate) const HOLDER: &str = "--holder";

/// The static binary that is shipped, if it has been built.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/dist/tcpwatch");

/// The binary that is measured: the shipped one, else the one built for this benchmark.
pub(crate) fn binary() -> &'static str {
    if Path::new(SHIPPED).exists() { SHIPPED } else { env!("CARGO_BIN_EXE_tcpwatch") }
}

/// Starts a daemon and waits until it is ready.
pub(crate) fn start() -> Result<Child> {
    start_at().map(|(child, _)| child)
}

/// The same, with the address that it listens on.
pub(crate) fn start_at() -> Result<(Child, String)> {
    let binary = binary();
    let mut child = Command::new(binary)
        .args(["run", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {binary}"))?;
    let log = child.stderr.take().context("its standard error")?;
    for line in BufReader::new(log).lines() {
        if let Some((_, address)) = line?.split_once("listening on http://") {
            return Ok((child, address.trim().to_owned()));
        }
    }
    anyhow::bail!("{binary} ended before it was ready: {}", child.wait()?)
}

/// Ends a process that was started here.
pub(crate) fn stop(child: &mut Child) -> Result<()> {
    let pid =
        i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).context("its process id")?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    child.wait()?;
    Ok(())
}

/// Prints how often the daemon's threads were woken, idle and under churn.
pub(crate) fn wakeups(effort: Effort) -> Result<()> {
    let mut child = start()?;
    // The first ticks settle what the start has stirred up.
    std::thread::sleep(Duration::from_secs(2));
    let seconds = effort.seconds * 2;
    let before = switches(child.id())?;
    std::thread::sleep(Duration::from_secs(seconds));
    let idle = switches(child.id())? - before;
    let before = switches(child.id())?;
    let (count, took) = churn::churn(seconds)?;
    let busy = switches(child.id())? - before;
    stop(&mut child)?;
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let (idle, busy) = (idle as f64 / seconds as f64, busy as f64 / took);
    let transitions = count * 10.0 / took;
    println!(
        "## Wakeups\n\n| | voluntary context switches per second | transitions per second |\n|---|---|---|"
    );
    println!("| idle | {idle:.1} | 0 |\n| churn | {busy:.1} | {transitions:.0} |");
    println!("\n{:.7} wakeups for a transition.\n", (busy - idle).max(0.0) / transitions);
    Ok(())
}

/// Voluntary context switches of all threads: each is a thread that slept and was woken.
pub(crate) fn switches(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum += line.and_then(|text| text.trim().parse::<u64>().ok()).context("its context switches")?;
    }
    Ok(sum)
}

/// Prints the daemon's memory beside few and many open sockets.
pub(crate) fn memory() -> Result<()> {
    println!("## Memory\n\n| open sockets | resident memory of the daemon |\n|---|---|");
    let mut child = start()?;
    for sockets in [1_000, 15_000] {
        let mut holder = hold_in_namespace(sockets)?;
        // A few ticks, a census among them.
        std::thread::sleep(Duration::from_secs(5));
        println!("| {sockets} | {:.1} MiB |", resident(child.id())?);
        holder.kill()?;
        holder.wait()?;
    }
    println!();
    stop(&mut child)
}

/// Mebibytes.
#[expect(clippy::cast_precision_loss, reason = "mebibytes")]
pub(crate) fn resident(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("its resident memory")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes as f64 / 1024.0)
}

fn hold_in_namespace(sockets: u64) -> Result<Child> {
    hold_beside(None, sockets)
}

/// Holds sockets in a network namespace of their own, or in that of another holder.
pub(crate) fn hold_beside(holder: Option<&Child>, sockets: u64) -> Result<Child> {
    let myself = std::env::current_exe()?;
    let script =
        format!("ip link set lo up && ulimit -n 20000; exec {} {HOLDER} {sockets}", myself.display());
    let mut command = match holder {
        None => Command::new("unshare"),
        Some(_) => Command::new("nsenter"),
    };
    let net = holder.map_or_else(|| "--net".into(), |holder| format!("--net=/proc/{}/ns/net", holder.id()));
    let mut child = command.args([&net, "sh", "-c", &script]).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
    ensure!(line.trim() == "holding", "the holder of {sockets} sockets failed");
    Ok(child)
}

/// Holds so many sockets (both ends) until it is killed.
pub(crate) fn hold(sockets: u64) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut held = Vec::new();
    for _ in 0..sockets / 2 {
        held.push(TcpStream::connect(address)?);
        held.push(listener.accept()?.0);
    }
    println!("holding");
    std::io::stdout().flush()?;
    // Bounded, in case nobody kills it.
    std::thread::sleep(Duration::from_mins(10));
    drop(held);
    Ok(())
}
