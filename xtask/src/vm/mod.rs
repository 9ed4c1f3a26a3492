//! Runs a static test binary on Debian's own kernels under QEMU.
//!
//! The kernel of each suite is downloaded once into a cache directory, paired
//! with a small initramfs that holds busybox, a few modules and the caller's
//! files, and booted in software emulation: no /dev/kvm, no root file system
//! and no guest network are needed. One suite costs a few seconds.

mod apt;
pub mod command;
mod console;
mod cpio;
mod debian;
mod initramfs;
mod kernels;
mod modules;
mod qemu;
pub mod systemd;
mod target;
mod tools;
mod verified;
mod version;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

pub use apt::mirror as debian_mirror;
pub use target::Target;
pub use tools::busybox;

use crate::arch::Arch;

/// What to put into the guest and what to run there.
pub struct Payload<'a> {
    /// Files to copy: into guests of which architecture, path on this machine, absolute path in the guest.
    pub files: &'a [(&'static Arch, PathBuf, String)],
    /// Shell line for a kernel, run as a child of the guest's `/init`. The shell is
    /// busybox and prefers its own applets: name a program of yours by its full path.
    pub command: &'a (dyn Fn(&Target) -> String + Sync),
    /// How long the command may run, counted from the start of user space.
    pub timeout: Duration,
}

/// What became of one kernel.
#[derive(Debug)]
pub struct Outcome {
    pub target: Target,
    /// Kernel release, as `uname -r` prints it; empty when none could be had.
    pub kernel: String,
    /// Exit status of the command; none when it never ended (timeout, kernel
    /// panic, no kernel to boot). The log then says why in its last lines.
    pub exit_code: Option<i32>,
    /// Serial console of the guest.
    pub log: PathBuf,
    /// Wall time of the boots, without the preparation.
    pub seconds: f64,
}

/// From the oldest kernel with BTF that Debian ships to its newest. Those that have the most to do come last, as they are
/// begun with.
pub const DEFAULT: [&str; 5] = ["trixie", "bookworm", "trixie:arm64", "bullseye", "sid"];

/// Boots the kernels of `targets` and runs the payload on each.
///
/// One that cannot be prepared does not stop the others: its outcome has no
/// exit code, and its log holds the error.
pub fn run(cache: &Path, targets: &[Target], payload: &Payload<'_>) -> Result<Vec<Outcome>> {
    fs::create_dir_all(cache).with_context(|| {
        format!("cannot create the cache directory {}: choose another one", cache.display())
    })?;
    // apt and QEMU run elsewhere, so their paths must not depend on our directory.
    let cache = &fs::canonicalize(cache)
        .with_context(|| format!("cannot resolve the cache directory {}", cache.display()))?;
    let _lock = lock(cache)?;
    let logs = cache.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;

    // Preparing takes turns at apt; the guests have one processor each and run side by side, the last first.
    let guests: Vec<Guest> =
        targets.iter().map(|target| Guest::prepare(cache, target, payload, &logs)).collect();
    let waiting = Mutex::new((0..guests.len()).collect::<Vec<_>>());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || -> Result<Vec<(usize, Outcome)>> {
        std::iter::from_fn(next).map(|at| Ok((at, guests[at].run(payload.timeout)?))).collect()
    };
    let mut outcomes = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        let mut outcomes = Vec::new();
        for worker in workers {
            let done = worker.join().map_err(|_| anyhow::anyhow!("a thread that ran guests panicked"))?;
            outcomes.extend(done?);
        }
        anyhow::Ok(outcomes)
    })?;
    outcomes.sort_by_key(|(at, _)| *at);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

/// Guests that run at the same time.
const AT_ONCE: usize = 2;

/// A kernel with its image, or why there is none.
struct Guest {
    target: Target,
    log: PathBuf,
    image: Result<(kernels::Kernel, PathBuf)>,
}

impl Guest {
    fn prepare(cache: &Path, target: &Target, payload: &Payload<'_>, logs: &Path) -> Self {
        let prepare = || {
            let kernel = kernels::prepare(cache, target)?;
            let image = cache.join(format!("initramfs-{}.cpio", target.file_name()));
            initramfs::write(&image, target, &kernel, payload)?;
            Ok((kernel, image))
        };
        let log = logs.join(format!("{}.log", target.file_name()));
        Self { target: target.clone(), log, image: prepare() }
    }

    /// Boots it. A guest that cannot run is an outcome too, so that it does not stop the others.
    fn run(&self, timeout: Duration) -> Result<Outcome> {
        let Self { target, log, image } = self;
        let booted = match image {
            Ok((kernel, image)) => Self::boot(target, log, kernel, image, timeout),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        booted.or_else(|error| {
            println!("{target}: not run: {error:#}");
            fs::write(log, format!("host: not run: {error:#}\n"))
                .with_context(|| format!("cannot write {}", log.display()))?;
            let (target, log) = (target.clone(), log.clone());
            Ok(Outcome { target, kernel: String::new(), exit_code: None, log, seconds: 0.0 })
        })
    }

    fn boot(
        target: &Target,
        log: &Path,
        kernel: &kernels::Kernel,
        image: &Path,
        timeout: Duration,
    ) -> Result<Outcome> {
        println!("{target}: {}: booting", kernel.release);
        let begin = Instant::now();
        let ending = qemu::boot(target.arch, &kernel.vmlinuz(), image, "", log, timeout, |line| {
            println!("{target}: {}: {line}", kernel.release);
        })?;
        let seconds = begin.elapsed().as_secs_f64();
        println!("{target}: {}: {ending} ({seconds:.1} s), log {}", kernel.release, log.display());
        let (target, release) = (target.clone(), kernel.release.clone());
        Ok(Outcome { target, kernel: release, exit_code: ending.exit_code(), log: log.to_owned(), seconds })
    }
}

/// Two runs in one cache would overwrite each other's images and logs. The lock
/// goes away with the process, however it ends.
fn lock(cache: &Path) -> Result<File> {
    let path = cache.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    if file.try_lock().is_err() {
        println!("another run uses {}: waiting for it", cache.display());
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}
