//! `cargo xtask systemd`: the unit and the scripts that install it, in a guest whose first process is a real systemd.
//!
//! The guest is a small Debian in memory. Nothing of this machine is touched, and the whole script is
//! `systemd/test.sh`, which the guest's own systemd starts as a service.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::cpio::Archive;
use super::target::Target;
use super::{debian, kernels, qemu};
use crate::project::Project;
use crate::{arch, build, packages, process};

const TIMEOUT: Duration = Duration::from_mins(10);

/// Where it runs unless told otherwise: the stable release.
const SUITE: &str = "trixie";

/// Nobody logs in, and what the system logs is none of the console's.
const COMMAND_LINE: &str = "systemd.getty_auto=no systemd.show_status=no systemd.log_color=no";

/// Starts the script, and ends the guest with what became of it.
const SERVICE: &str = "\
[Service]
ExecStart=/usr/bin/bash /guest/run.sh
";

const RUN: &str = "\
exec >/dev/ttyS0 2>&1 </dev/null
printf '\\nGUEST-START %s\\n' \"$(uname -r)\"
bash /guest/test.sh
code=$?
dmesg -n 1
printf '\\nGUEST-EXIT %s\\n' $code
sleep 0.2
systemctl poweroff --force --force
";

/// Wait for devices or scripts that the guest does not have, or write what is compared.
const MASKED: [&str; 5] = [
    "ldconfig.service",
    "systemd-firstboot.service",
    "systemd-modules-load.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-done.service",
];

/// Installs, runs, upgrades and removes tcpwatch in a guest of each of `suites`.
pub fn command(project: &Project, suites: &[String]) -> Result<()> {
    if cfg!(not(target_arch = "x86_64")) {
        println!("systemd: not run: it boots x86_64 kernels on x86_64 only, for now");
        return Ok(());
    }
    let binary = build::build(project)?;
    packages::install(packages::VM)?;
    packages::install(arch::X86_64.emulators)?;
    let suites = if suites.is_empty() { vec![SUITE.to_owned()] } else { suites.to_vec() };
    let cache = project.target.join("vm");
    fs::create_dir_all(cache.join("logs")).with_context(|| format!("cannot create {}", cache.display()))?;
    let cache = fs::canonicalize(&cache).with_context(|| format!("cannot resolve {}", cache.display()))?;
    let _lock = super::lock(&cache)?;
    for suite in &suites {
        let target = Target::parse(suite)?;
        ensure!(
            target.arch.is_host(),
            "systemd runs in guests of this machine's architecture only, not in {target}"
        );
        one(project, &cache, &target, &binary)?;
    }
    Ok(())
}

fn one(project: &Project, cache: &Path, target: &Target, binary: &Path) -> Result<()> {
    let suite = &target.suite;
    let kernel = kernels::prepare(cache, target)?;
    let base = debian::prepare(cache, suite)?;
    let image = cache.join(format!("systemd-{suite}.cpio"));
    write(&image, &base, project, binary)
        .with_context(|| format!("cannot build the guest {}", image.display()))?;
    let log = cache.join("logs").join(format!("systemd-{suite}.log"));
    println!("{suite}: {}: booting systemd", kernel.release);
    let begin = Instant::now();
    let ending = qemu::boot(target.arch, &kernel.vmlinuz(), &image, COMMAND_LINE, &log, TIMEOUT, |line| {
        println!("{suite}: {}: {line}", kernel.release);
    })?;
    fs::remove_file(&image).with_context(|| format!("cannot remove {}", image.display()))?;
    let said = String::from_utf8_lossy(&process::read(&log)?).into_owned();
    said.lines().filter(|line| line.starts_with("ok ") || line.starts_with("note ")).for_each(|line| {
        println!("  {line}");
    });
    if ending.exit_code() != Some(0) {
        let lines: Vec<&str> = said.lines().collect();
        println!("\n--- {suite}: the end of {}", log.display());
        lines[lines.len().saturating_sub(80)..].iter().for_each(|line| println!("{line}"));
    }
    println!(
        "{suite}: {}: {ending} ({:.1} s), log {}",
        kernel.release,
        begin.elapsed().as_secs_f64(),
        log.display()
    );
    ensure!(ending.exit_code() == Some(0), "the unit does not do under systemd of {suite} what it should");
    Ok(())
}

/// The system, and after it what is ours: the kernel unpacks one archive after the other.
fn write(image: &Path, base: &Path, project: &Project, binary: &Path) -> Result<()> {
    let mut out = BufWriter::new(File::create(image)?);
    io::copy(&mut File::open(base)?, &mut out)?;
    let mut archive = Archive::new(out);
    archive.link("init", "usr/lib/systemd/systemd")?;
    let units = "usr/lib/systemd/system";
    archive.link(&format!("{units}/default.target"), "multi-user.target")?;
    for unit in MASKED {
        archive.link(&format!("etc/systemd/system/{unit}"), "/dev/null")?;
    }
    archive.file(&format!("{units}/guest.service"), 0o644, SERVICE.as_bytes())?;
    archive.link(&format!("{units}/multi-user.target.wants/guest.service"), "../guest.service")?;
    archive.file("guest/run.sh", 0o644, RUN.as_bytes())?;
    archive.file("guest/test.sh", 0o644, include_bytes!("systemd/test.sh"))?;
    archive.file("guest/tcpwatch", 0o755, &process::read(binary)?)?;
    for path in ["deploy/install.sh", "deploy/uninstall.sh", "deploy/systemd/tcpwatch.service"] {
        let from = project.root.join(path);
        let permissions = fs::metadata(&from).with_context(|| format!("cannot find {path}"))?.permissions();
        archive.file(&format!("guest/{path}"), permissions.mode(), &process::read(&from)?)?;
    }
    archive.finish()?.flush()?;
    Ok(())
}
