//! Proves on the running kernel that tcpwatch counts what happens: `tcpwatch doctor --prove`.
//!
//! In a network namespace of its own it makes sockets take every way that it can, and holds some in each state. What
//! must come of it is known by what was done, and the kernel's own list (netlink) and counters are asked as well. Then
//! tcpwatch's figures have to be the same. The namespace belongs to one thread and has no name: it is gone with the
//! thread and its sockets, however that ends.

mod compare;
mod crossing;
mod hold;
mod known;
mod ledger;
mod loopback;
mod measure;
mod stage;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CapabilitySet;

use crate::host::{caps, kernel_release};
use crate::kernel::{self, enter_new_network};
use crate::lab::link;
use crate::lab::tun::Tun;
use crate::source::{Live, SourceError};
use crate::view::proof::Proof;
use compare::Tally;
use known::Needs;
use measure::{Measure, listed};
use stage::{Stage, Trouble};

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Sockets that are held in each state, for each of IPv4 and IPv6.
    pub held: usize,
    /// When nothing is begun any more that is not in the minimum.
    pub enough: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { held: 150, enough: Duration::from_secs(9) }
    }
}

/// Why nothing could be proven.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    #[error(
        "cannot prove anything: this needs CAP_SYS_ADMIN (create a network namespace, load programs) and CAP_NET_ADMIN \
         (bring up loopback). Missing: {0}. Run it as root"
    )]
    Privileges(String),
    #[error(
        "cannot make a network namespace to prove something in: {0}. It takes CAP_SYS_ADMIN, \
         a kernel with CONFIG_NET_NS, and in a container a filter of system calls that lets unshare through"
    )]
    Namespace(io::Error),
    #[error("cannot use the new network namespace: {0}")]
    Loopback(io::Error),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("cannot count the sockets of the new network namespace: {0}")]
    Count(String),
    #[error(
        "the programs count nothing for the new network namespace: more namespaces exist on this host than they have \
         rows for"
    )]
    NoRow,
}

/// One thing that is made to happen to some sockets.
struct Scene {
    name: &'static str,
    play: fn(&mut Stage<'_>) -> Result<(), Trouble>,
}

/// Sockets that do the same in a scene that is not about holding them.
const TIMES: usize = 16;

/// Proves what it can.
pub fn prove(options: &Options) -> Result<Proof, ProveError> {
    if let Ok(had) = caps::effective() {
        let missing = (CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN) - had;
        if !missing.is_empty() {
            return Err(ProveError::Privileges(caps::names(missing).join(" and ")));
        }
    }
    thread::scope(|scope| {
        let proof = scope.spawn(|| prove_here(options));
        proof.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// The same on the calling thread, which is left in a namespace that nobody else is in.
fn prove_here(options: &Options) -> Result<Proof, ProveError> {
    let started = Instant::now();
    enter_new_network().map_err(ProveError::Namespace)?;
    link::up("lo").map_err(ProveError::Loopback)?;
    // Sockets older than the programs are of no interest here.
    let kernel = kernel::Options { sockets: 1 << 14, adopt: false, ..kernel::Options::default() };
    let mut measure = Measure::new(Live::open(&kernel, |_| {})?);
    let tun = Tun::new("proof0").map_err(|error| error.to_string());
    let mut tally = Tally::default();
    let mut kept = Vec::new();
    let families = families(&mut tally);
    let held = room_for(options.held, &mut tally);
    let mut run = Run { measure: &mut measure, tun: &tun, kept: &mut kept, started, enough: options.enough };
    for &family in &families {
        run.scenes(family, TIMES, loopback::SCENES, Needs::Loopback, &mut tally)?;
        run.scenes(family, TIMES, crossing::SCENES, Needs::Tun, &mut tally)?;
        run.scenes(family, TIMES, &[loopback::DESTROY], Needs::Destroy, &mut tally)?;
    }
    tally.begin_to_hold(&listed()?);
    for &family in &families {
        run.scenes(family, held, hold::SCENES, Needs::Loopback, &mut tally)?;
    }
    let end = measure.end(&tally)?;
    drop(kept);
    let mut proof = compare::judge(&tally, &end);
    proof.kernel = kernel_release();
    proof.architecture = std::env::consts::ARCH;
    proof.seconds = started.elapsed().as_secs_f64();
    Ok(proof)
}

/// The loopback addresses there are.
fn families(tally: &mut Tally) -> Vec<IpAddr> {
    let mut families = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => families.push(Ipv6Addr::LOCALHOST.into()),
        Err(error) => tally.cannot("IPv6", &format!("no socket can be bound to ::1: {error}")),
    }
    families
}

/// How many sockets of each kind this process may hold.
fn room_for(wanted: usize, tally: &mut Tally) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // The soft limit is 1024 as a rule.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).is_ok();
    let allowed = if raised { limit.maximum } else { limit.current };
    // Some are open already, for the programs and their maps.
    let free = allowed.unwrap_or(u64::MAX).saturating_sub(256);
    let room = usize::try_from(free).unwrap_or(usize::MAX) / (2 * hold::DESCRIPTORS);
    if room < wanted {
        let why = format!("this process may open only {} files", allowed.unwrap_or(u64::MAX));
        tally.cannot(&format!("holding more than {room} sockets in each state"), &why);
    }
    wanted.min(room).max(1)
}

struct Run<'a> {
    measure: &'a mut Measure,
    tun: &'a Result<Tun, String>,
    kept: &'a mut Vec<std::os::fd::OwnedFd>,
    started: Instant,
    enough: Duration,
}

impl Run<'_> {
    /// Plays scenes one after the other, and counts after each.
    fn scenes(
        &mut self,
        family: IpAddr,
        times: usize,
        scenes: &[Scene],
        needs: Needs,
        tally: &mut Tally,
    ) -> Result<(), ProveError> {
        let version = if family.is_ipv4() { "IPv4" } else { "IPv6" };
        let is_minimum = family.is_ipv4() && needs == Needs::Loopback;
        for (number, scene) in scenes.iter().enumerate() {
            let name = format!("{version}, {}", scene.name);
            if !is_minimum && self.started.elapsed() > self.enough {
                tally.cannot(&name, "no time was left");
                continue;
            }
            let tun = match (needs, self.tun) {
                (Needs::Tun, Err(error)) => {
                    tally.cannot(&name, error);
                    continue;
                }
                (_, tun) => tun.as_ref().ok(),
            };
            let before = self.measure.cells()?;
            let trouble = |trouble: Trouble| trouble.to_string();
            let played =
                Stage::new(address(family, number), times, tun).map_err(trouble).and_then(|mut stage| {
                    let played = (scene.play)(&mut stage).map_err(trouble);
                    self.kept.append(&mut stage.kept);
                    played.map(|()| stage)
                });
            match played {
                Ok(stage) => {
                    let counted = self.measure.counted_since(&before, &stage.ledger.edges)?;
                    tally.played(&stage, &counted);
                }
                Err(why) => {
                    // What was left open is closed by now; its last segments may still be under way.
                    thread::sleep(Duration::from_millis(200));
                    tally.failed(&name, &why, is_minimum, &listed()?);
                }
            }
        }
        Ok(())
    }
}

/// Another address for each scene, so that no connection meets an earlier one of the same addresses and ports.
fn address(family: IpAddr, number: usize) -> IpAddr {
    match (family, u8::try_from(number + 1)) {
        (IpAddr::V4(_), Ok(last)) => Ipv4Addr::new(127, 0, 0, last).into(),
        (family, _) => family,
    }
}
