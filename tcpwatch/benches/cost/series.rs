//! How many series a host makes with few and with many pods, how large a scrape is and how long it takes.
//!
//! A pod is a process in a cgroup of its own, which is named as the kubelet names it, with a listener and a connection.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::daemon::{binary, resident, stop};
use crate::{Effort, median};

pub(crate) const POD: &str = "--pod";

/// How many there are, and in how many network namespaces.
const PODS: [(u64, u64); 4] = [(10, 10), (100, 100), (1_000, 100), (1_000, 1_000)];
/// Bounds, and what they are called.
const BOUNDS: [(&str, &str); 2] =
    [("default", ""), ("all shown", "[metrics]\nlisteners = 10000\nowners = 10000\nseries = 100000\n")];
const ANSWER: Duration = Duration::from_secs(30);

/// Prints what a scrape costs beside so many pods.
pub(crate) fn run(effort: Effort) -> Result<()> {
    println!("## Series\n");
    println!(
        "| pods, network namespaces | bounds | series | a scrape, KiB | with gzip, KiB | scrape, ms (median, longest) | a tick, ms | memory, MiB |\n\
         |---|---|---|---|---|---|---|---|"
    );
    for (count, namespaces) in PODS {
        eprintln!("{count} pods in {namespaces} network namespaces");
        let pods = Pods::start(count, namespaces)?;
        for (name, bounds) in BOUNDS {
            match measure(bounds, effort.rounds.max(10)) {
                Ok(row) => println!("| {count}, {namespaces} | {name} | {row} |"),
                Err(error) => println!("| {count}, {namespaces} | {name} | failed: {error:#} |"),
            }
        }
        drop(pods);
    }
    println!();
    Ok(())
}

fn measure(bounds: &str, rounds: usize) -> Result<String> {
    let config = std::env::temp_dir().join(format!("tcpwatch-series-{}.toml", std::process::id()));
    fs::write(&config, bounds).context("write a configuration")?;
    let (mut child, address) = start(&config)?;
    let measured = scrapes(&child, &address, rounds);
    stop(&mut child)?;
    fs::remove_file(&config).context("remove the configuration")?;
    measured
}

#[expect(clippy::cast_precision_loss, reason = "kibibytes")]
fn scrapes(child: &Child, address: &str, rounds: usize) -> Result<String> {
    // Owners are known after some walks over files and sockets.
    std::thread::sleep(Duration::from_secs(20));
    let deadline = Instant::now() + Duration::from_mins(2);
    while get(address)?.is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_secs(2));
    }
    let mut times = Vec::new();
    let mut page = String::new();
    for _ in 0..rounds {
        std::thread::sleep(Duration::from_secs(1));
        let started = Instant::now();
        page = get(address)?.context("a scrape failed: sampling takes longer than ten seconds")?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let memory = resident(child.id())?;
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    ensure!(page.ends_with(&format!("tcpwatch_series {series}\n")), "a page that ends as it should");
    let longest = times.iter().copied().fold(0.0, f64::max);
    let tick = page.split("\ntcpwatch_self_tick_seconds ").nth(1).and_then(|rest| rest.lines().next());
    let tick = tick.context("the length of a tick")?.parse::<f64>()? * 1e3;
    let (plain, packed) = (page.len() as f64 / 1024.0, packed(&page)? as f64 / 1024.0);
    Ok(format!(
        "{series} | {plain:.0} | {packed:.0} | {:.0}, {longest:.0} | {tick:.0} | {memory:.0}",
        median(times)
    ))
}

fn start(config: &Path) -> Result<(Child, String)> {
    let mut child = Command::new(binary())
        .args(["run", "--listen", "127.0.0.1:0", "--no-socket", "--no-record", "--config"])
        .arg(config)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", binary()))?;
    let mut log = BufReader::new(child.stderr.take().context("its standard error")?);
    let mut line = String::new();
    while log.read_line(&mut line)? > 0 {
        if let Some((_, address)) = line.split_once("listening on http://") {
            let address = address.trim().to_owned();
            // Whatever it says later must not keep it waiting.
            std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return Ok((child, address));
        }
        line.clear();
    }
    anyhow::bail!("{} ended before it was ready: {}", binary(), child.wait()?)
}

/// The page; `None` while sampling is late, as on a busy host with very many network namespaces.
fn get(address: &str) -> Result<Option<String>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
    let is_late = head.contains(" 503 ");
    ensure!(is_late || head.contains(" 200 "), "the scrape failed: {head}: {body}");
    Ok((!is_late).then(|| body.to_owned()))
}

/// How much of it is left when it is packed.
fn packed(page: &str) -> Result<usize> {
    let mut gzip = Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = gzip.stdin.take().context("its input")?;
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(page.as_bytes()));
        gzip.wait_with_output()
    })?;
    ensure!(output.status.success(), "gzip: {}", output.status);
    Ok(output.stdout.len())
}

/// Processes that end with this.
struct Pods {
    running: Vec<Child>,
    cgroups: Vec<PathBuf>,
}

impl Pods {
    fn start(count: u64, namespaces: u64) -> Result<Self> {
        let myself = std::env::current_exe()?;
        let mut pods = Self { running: Vec::new(), cgroups: Vec::new() };
        for number in 0..count {
            let script = format!("ip link set lo up && exec {} {POD} {number}", myself.display());
            // The first ones make the network namespaces, the others join them.
            let host = usize::try_from(number % namespaces).ok().and_then(|host| pods.running.get(host));
            let mut command = Command::new(if host.is_some() { "nsenter" } else { "unshare" });
            let net = host.map_or("--net".into(), |host| format!("--net=/proc/{}/ns/net", host.id()));
            let mut child = command
                .args([&net, "sh", "-c", &script])
                .stdout(Stdio::piped())
                .spawn()
                .context("start a pod")?;
            let output = child.stdout.take().context("its output")?;
            let id = child.id();
            pods.running.push(child);
            if let Some(top) = cgroups() {
                pods.put(&top, number, id)?;
            }
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line)?;
            ensure!(line.trim() == "ready", "pod {number} failed");
        }
        Ok(pods)
    }

    /// Into a cgroup such as a kubelet makes.
    fn put(&mut self, top: &Path, number: u64, pid: u32) -> Result<()> {
        let all = top.join(format!("kubepods-bench-{}", std::process::id()));
        let pod = all.join(format!("pod0d6f2a3e-0000-4000-8000-{number:012x}"));
        let container = pod.join(format!("{:064x}", number + 1).chars().rev().collect::<String>());
        for folder in [&all, &pod, &container] {
            if !folder.exists() {
                fs::create_dir(folder).with_context(|| format!("make {}", folder.display()))?;
                self.cgroups.push(folder.clone());
            }
        }
        fs::write(container.join("cgroup.procs"), pid.to_string()).context("put a process into a cgroup")?;
        Ok(())
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        for child in &mut self.running {
            // It may have ended.
            let _ = child.kill();
        }
        for child in &mut self.running {
            let _ = child.wait();
        }
        // The innermost first.
        for folder in self.cgroups.iter().rev() {
            if let Err(error) = fs::remove_dir(folder) {
                eprintln!("cannot remove {}: {error}", folder.display());
            }
        }
    }
}

/// Where the hierarchy of version 2 is, if there is one.
fn cgroups() -> Option<PathBuf> {
    let places = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
    places.into_iter().find(|place| place.join("cgroup.controllers").exists())
}

/// A listener and a connection, until it is killed.
pub(crate) fn pod(number: u64) -> Result<()> {
    let port = 1_024 + u16::try_from(number % 60_000)?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let client = TcpStream::connect(("127.0.0.1", port))?;
    let server = listener.accept()?.0;
    println!("ready");
    std::io::stdout().flush()?;
    // Bounded, in case nobody kills it.
    std::thread::sleep(Duration::from_mins(15));
    drop((client, server));
    Ok(())
}
