//! A SYN flood as fast as this machine can send: what a SYN costs with and without tcpwatch, and whether its figures
//! stay exact and its memory fixed.
//!
//! SYNs are written to a TUN device, so the kernel works on each within the sender's own call: the sender's CPU time is
//! the whole cost of a SYN, with every program that runs for it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use tcpwatch::detect::{Detectors, Thresholds};
use tcpwatch::finding::Kind;
use tcpwatch::kernel::{Options, RunStats, run_stats};
use tcpwatch::source::{Live, Source as _};
use tcpwatch_common::TcpState;

use crate::support::netns::Netns;
use crate::support::segment::{SYN, Segment};
use crate::support::sock;
use crate::support::states::proc_states;
use crate::support::tun::{KERNEL_V4, Tun};
use crate::{Effort, daemon, median, per_event};

const BACKLOG: i32 = 1024;
const SENDERS: u32 = 2;

/// A listener that is reached from everywhere through a TUN device.
struct Bed {
    ns: Netns,
    tun: Tun,
    address: SocketAddr,
    _listener: TcpListener,
}

/// What was sent, by how much CPU time, in how much time.
#[derive(Clone, Copy, Default)]
struct Sent {
    syns: u64,
    cpu: f64,
    seconds: f64,
}

#[expect(clippy::cast_precision_loss, reason = "ratios")]
impl Sent {
    fn rate(self) -> f64 {
        self.syns as f64 / self.seconds
    }

    fn microseconds(self) -> f64 {
        self.cpu / self.syns as f64 * 1e6
    }
}

impl Bed {
    fn new() -> Result<Self> {
        let ns = Netns::new("synbench");
        let tun = Tun::new(&ns, "tun0");
        tun.default_routes();
        let listener = ns.run(|| sock::listen(SocketAddr::new(KERNEL_V4.into(), 0), BACKLOG))?;
        let address = listener.local_addr()?;
        Ok(Self { ns, tun, address, _listener: listener })
    }

    /// Sends SYNs from spoofed sources for so long.
    #[expect(clippy::cast_possible_truncation, reason = "ports")]
    fn flood(&self, time: Duration) -> Sent {
        let one = |sender: u32| {
            let mut packet = Syn::to(self.address);
            let (started, cpu) = (Instant::now(), cpu_time());
            let mut syns = 0u32;
            while !syns.is_multiple_of(64) || started.elapsed() < time {
                // A /8 for each sender, and a port that tells two rounds apart.
                packet.set_source(
                    (11 + sender) << 24 | (syns & 0x00ff_ffff),
                    (1024 + (syns >> 10) % 60_000) as u16,
                );
                self.tun.write(&packet.bytes).expect("the device is there");
                syns += 1;
            }
            Sent { syns: syns.into(), cpu: cpu_time() - cpu, seconds: started.elapsed().as_secs_f64() }
        };
        thread::scope(|scope| {
            let senders: Vec<_> = (0..SENDERS).map(|sender| scope.spawn(move || one(sender))).collect();
            senders.into_iter().fold(Sent::default(), |sum, sender| {
                let sent = sender.join().expect("a sender does not panic");
                Sent {
                    syns: sum.syns + sent.syns,
                    cpu: sum.cpu + sent.cpu,
                    seconds: sum.seconds.max(sent.seconds),
                }
            })
        })
    }

    fn cookies_sent(&self) -> u64 {
        self.ns.snmp()["TcpExt.SyncookiesSent"]
    }
}

/// One SYN whose source is changed in place.
struct Syn {
    bytes: Vec<u8>,
    /// Of the IP header and of the segment, with no source and no checksum, not folded.
    sums: [u32; 2],
}

const IP_SUM: usize = 10;
const SOURCE: usize = 12;
const PORT: usize = 20;
const TCP_SUM: usize = 36;

impl Syn {
    fn to(address: SocketAddr) -> Self {
        let segment = Segment {
            src: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            dst: address,
            seq: 1,
            ack: 0,
            flags: SYN,
            window: 65535,
            options: vec![2, 4, 0x05, 0xb4],
            payload: Vec::new(),
        };
        let bytes = segment.to_bytes();
        let sum = |at: usize| u32::from(!u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        let sums = [sum(IP_SUM), sum(TCP_SUM)];
        Self { bytes, sums }
    }

    #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
    fn set_source(&mut self, source: u32, port: u16) {
        let words = (source >> 16) + (source & 0xffff);
        self.bytes[SOURCE..SOURCE + 4].copy_from_slice(&source.to_be_bytes());
        self.bytes[PORT..PORT + 2].copy_from_slice(&port.to_be_bytes());
        for (at, sum) in [(IP_SUM, self.sums[0] + words), (TCP_SUM, self.sums[1] + words + u32::from(port))] {
            let folded = (sum >> 16) + (sum & 0xffff);
            let folded = (folded >> 16) + (folded & 0xffff);
            self.bytes[at..at + 2].copy_from_slice(&(!(folded as u16)).to_be_bytes());
        }
    }
}

/// Prints what a SYN costs, and what the daemon does meanwhile.
pub(crate) fn run(effort: Effort) -> Result<()> {
    let bed = Bed::new()?;
    let time = Duration::from_secs(effort.seconds);
    let (mut alone, mut watched, mut daemons) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..effort.rounds {
        eprintln!("SYN flood, round {} of {}", round + 1, effort.rounds);
        alone.push(bed.flood(time));
        let mut child = daemon::start()?;
        // It has looked at everything once, and once more with a flood.
        bed.flood(Duration::from_secs(2));
        let before = Daemon::look(child.id())?;
        watched.push(bed.flood(time));
        let after = Daemon::look(child.id())?;
        daemons.push((before, after));
        daemon::stop(&mut child)?;
    }
    let sum = |sent: &[Sent]| sent.iter().map(|sent| sent.syns).sum::<u64>();
    println!(
        "## SYN flood\n\n| watched by | SYNs per second (median) | µs of CPU time per SYN (median) |\n|---|---|---|"
    );
    for (who, sent) in [("nothing", &alone), ("`tcpwatch run`", &watched)] {
        let (rates, costs) = sent.iter().map(|sent| (sent.rate(), sent.microseconds())).unzip();
        println!("| {who} | {:.0} | {:.3} |", median(rates), median(costs));
    }
    let added = |(alone, watched): (&Sent, &Sent)| watched.microseconds() - alone.microseconds();
    let added = median(alone.iter().zip(&watched).map(added).collect());
    println!("\nAdded in the same round: {added:+.3} µs per SYN (median of {}).\n", effort.rounds);
    let of = |value: fn(&Daemon, &Daemon) -> f64| median(daemons.iter().map(|(a, b)| value(a, b)).collect());
    println!("| the daemon under the flood of {} SYNs | |\n|---|---|", sum(&watched));
    println!("| CPU time | {:.2} % of one CPU |", of(|a, b| (b.cpu - a.cpu) / (b.at - a.at)) * 100.0);
    println!("| wakeups per second | {:.1} |", of(|a, b| (b.switches - a.switches) / (b.at - a.at)));
    println!("| resident memory before | {:.2} MiB |", of(|a, _| a.memory));
    println!("| resident memory after | {:.2} MiB |\n", of(|_, b| b.memory));
    exact(&bed, time)
}

/// What the daemon has used so far.
struct Daemon {
    at: f64,
    cpu: f64,
    switches: f64,
    memory: f64,
}

impl Daemon {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn look(pid: u32) -> Result<Self> {
        let mut cpu = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // Nanoseconds on a CPU come first.
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            cpu += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).context("its CPU time")?;
        }
        Ok(Self {
            at: clock(ClockId::Monotonic),
            cpu: cpu as f64 / 1e9,
            switches: daemon::switches(pid)? as f64,
            memory: daemon::resident(pid)?,
        })
    }
}

/// By the programs' own account what they cost, and whether the figures are the kernel's.
fn exact(bed: &Bed, time: Duration) -> Result<()> {
    let mut live = Live::open(&Options::default(), |_| ())?;
    let (mut detectors, thresholds) = (Detectors::default(), Thresholds::default());
    detectors.apply(&Arc::new(live.sample(false)?), &thresholds);
    let stats = |live: &Live| -> RunStats {
        let each = live.kernel().programs().iter().filter(|program| program.fd.is_some());
        // Those that user space calls are part of the daemon's CPU time.
        let each = each.filter(|program| program.hook.to_string().starts_with("tracepoint"));
        each.filter_map(|program| run_stats(program.fd?)).fold(RunStats::default(), |sum, one| RunStats {
            id: 0,
            runs: sum.runs + one.runs,
            nanoseconds: sum.nanoseconds + one.nanoseconds,
            missed: None,
            verified: None,
        })
    };
    let (before, cookies) = (stats(&live), bed.cookies_sent());
    let (sent, samples) = per_event::with_stats(|| {
        thread::scope(|scope| {
            let flood = scope.spawn(|| bed.flood(time.max(Duration::from_secs(3))));
            let mut samples = Vec::new();
            let mut is_told = false;
            while !flood.is_finished() {
                thread::sleep(Duration::from_millis(500));
                let started = Instant::now();
                let sample = Arc::new(live.sample(false)?);
                samples.push(started.elapsed().as_secs_f64() * 1e3);
                let found = detectors.apply(&sample, &thresholds).open;
                is_told |= found.iter().any(|found| {
                    (found.seen.kind, found.seen.verdict) == (Kind::SynFlood, Some("flood"))
                        && found.seen.subject.listener == Some(bed.address)
                });
            }
            ensure!(is_told, "the flood was not found");
            Ok((flood.join().expect("a sender does not panic"), samples))
        })
    })?;
    let after = stats(&live);
    #[expect(clippy::cast_precision_loss, reason = "ratios")]
    let per = |value: u64| value as f64 / sent.syns as f64;
    println!("| the programs while {} SYNs came | |\n|---|---|", sent.syns);
    println!("| runs for a SYN | {:.6} |", per(after.runs - before.runs));
    println!("| run time for a SYN | {:.3} ns |", per(after.nanoseconds - before.nanoseconds));
    println!("| one sample (median) | {:.1} ms |", median(samples));
    let (held, counted) = at_rest(bed, &mut live)?;
    println!("| half-open requests: tcpwatch, `/proc/net/tcp` | {held}, {counted} |");
    let now = bed.cookies_sent();
    let sample = live.sample(false)?;
    let mine = sample.namespaces.iter().find(|one| one.inode == bed.ns.inode()).context("its namespace")?;
    let ours = mine.counters.and_then(|counters| counters.ext.syncookies_sent).context("its counters")?;
    println!("| cookies sent: tcpwatch, `/proc/net/netstat` | {}, {} |\n", ours - cookies, now - cookies);
    ensure!((held, ours) == (counted, now), "the figures are not the kernel's");
    Ok(())
}

/// Half-open requests by tcpwatch and by the kernel, once they do not change.
fn at_rest(bed: &Bed, live: &mut Live) -> Result<(u64, u64)> {
    let count = || bed.ns.run(proc_states)[TcpState::SynRecv as usize];
    for _ in 0..100 {
        let before = count();
        let sample = live.sample(false)?;
        if before == count() {
            let mine = sample.listeners.iter().filter(|listener| listener.netns == bed.ns.inode());
            let held = mine.filter_map(|listener| listener.syn_queue).sum();
            return Ok((held, before));
        }
        thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("half-open requests never come to rest")
}

fn cpu_time() -> f64 {
    clock(ClockId::ThreadCPUTime)
}

#[expect(clippy::cast_precision_loss, reason = "seconds")]
fn clock(id: ClockId) -> f64 {
    let time = clock_gettime(id);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
