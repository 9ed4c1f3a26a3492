//! Boots one kernel under QEMU and waits for its end.
//!
//! Software emulation, because Debian's kernels hang under some nested KVM
//! set-ups, and with one virtual CPU, because that is the more reliable one. A
//! kernel that panics before user space all the same is booted again; whatever
//! happens after `/init` has started is a result.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::console::Console;
use crate::arch::{self, Arch};
use crate::process;

const ATTEMPTS: u32 = 3;
/// User space comes after two to four seconds; a busy machine needs more.
const BOOT_LIMIT: Duration = Duration::from_secs(90);
/// From the exit marker to the end of QEMU.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

/// What differs between the architectures.
struct Machine {
    arguments: &'static [&'static str],
    /// The kernel's name of the serial port that is QEMU's standard output.
    console: &'static str,
}

/// QEMU 7.2 gets the flags wrong when an interrupt follows `cmpxchg16b`, which the
/// kernel's allocator uses everywhere: about one boot in ten on a busy machine
/// panicked with a double fault. Without the feature the kernel does without it.
const X86_64: Machine = Machine { arguments: &["-cpu", "max,-cx16"], console: "ttyS0" };

/// Pointers are signed by an algorithm of QEMU's own, which is cheaper to emulate than the real one.
const AARCH64: Machine =
    Machine { arguments: &["-machine", "virt", "-cpu", "max,pauth-impdef=on"], console: "ttyAMA0" };

/// `quiet loglevel=4` leaves warnings and errors in the log. An oops may leave
/// the guest half dead and must not look like success, so it becomes a panic.
const KERNEL_COMMAND_LINE: &str = "quiet loglevel=4 panic=-1 oops=panic nokaslr mitigations=off";

/// How a boot ended.
#[derive(Debug)]
pub enum Ending {
    Exit(i32),
    /// The command ran longer than allowed.
    TimedOut(Duration),
    /// `/init` started, but the guest ended without an exit code.
    Crashed(String),
    /// No user space, in any of the attempts.
    NotBooted(String),
}

impl Ending {
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exit(code) => Some(*code),
            _ => None,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(0) => write!(f, "passed"),
            Self::Exit(code) => write!(f, "failed with exit code {code}"),
            Self::TimedOut(limit) => write!(f, "timed out after {} s", limit.as_secs_f64()),
            Self::Crashed(why) => write!(f, "crashed: {why}"),
            Self::NotBooted(why) => write!(f, "did not boot: {why}"),
        }
    }
}

/// Boots, up to three times when user space is not reached. `more` goes to the
/// kernel's command line, the console to `log`; `progress` gets a line for what is worth telling.
pub fn boot(
    arch: &Arch,
    vmlinuz: &Path,
    initramfs: &Path,
    more: &str,
    log: &Path,
    timeout: Duration,
    progress: impl Fn(&str),
) -> Result<Ending> {
    for attempt in 1.. {
        let (ending, console) = boot_once(arch, vmlinuz, initramfs, more, log, timeout)?;
        if let Some(modules) = console.modules {
            progress(&format!("modules {modules}"));
        }
        // The reader of the log should not have to know about our limits.
        let note = format!("\nhost: {ending}\n");
        File::options()
            .append(true)
            .open(log)
            .and_then(|mut file| file.write_all(note.as_bytes()))
            .with_context(|| format!("cannot append to {}", log.display()))?;
        if !matches!(ending, Ending::NotBooted(_)) || attempt == ATTEMPTS {
            return Ok(ending);
        }
        progress(&format!("attempt {attempt} {ending}; trying again"));
        let kept = log.with_extension(format!("attempt{attempt}.log"));
        fs::rename(log, &kept).with_context(|| format!("cannot keep {}", kept.display()))?;
    }
    unreachable!("the last attempt returns")
}

fn boot_once(
    arch: &Arch,
    vmlinuz: &Path,
    initramfs: &Path,
    more: &str,
    log: &Path,
    timeout: Duration,
) -> Result<(Ending, Console)> {
    let mut guest = Guest::start(arch, vmlinuz, initramfs, more, log)?;
    let mut reader = File::open(log).with_context(|| format!("cannot read {}", log.display()))?;
    let mut console = Console::default();
    let mut stage = Stage::Boot;
    let mut deadline = Instant::now() + BOOT_LIMIT;
    loop {
        // Asked before reading, so that nothing written at the end is missed.
        let status = guest.0.try_wait().context("cannot wait for QEMU")?;
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", log.display()))?;
        console.feed(&bytes);

        let next = Stage::of(&console);
        if next != stage {
            stage = next;
            deadline = Instant::now()
                + match stage {
                    Stage::Boot => BOOT_LIMIT,
                    Stage::Command => timeout,
                    Stage::PowerOff => POWER_OFF_LIMIT,
                };
        }
        if status.is_some() || Instant::now() >= deadline {
            let ended = status.map(|status| status.to_string());
            return Ok((judge(&console, ended, timeout), console));
        }
        sleep(POLL);
    }
}

#[derive(PartialEq)]
enum Stage {
    Boot,
    Command,
    PowerOff,
}

impl Stage {
    fn of(console: &Console) -> Self {
        match (console.started, console.exit_code) {
            (_, Some(_)) => Self::PowerOff,
            (true, None) => Self::Command,
            (false, None) => Self::Boot,
        }
    }
}

/// `ended` is QEMU's status, or none when it still runs past its deadline.
fn judge(console: &Console, ended: Option<String>, timeout: Duration) -> Ending {
    let panic = console.panic.clone();
    match (console.started, console.exit_code, ended) {
        (_, Some(code), _) => Ending::Exit(code),
        (true, None, None) => Ending::TimedOut(timeout),
        (true, None, Some(status)) => {
            Ending::Crashed(panic.unwrap_or_else(|| format!("QEMU ended early, {status}")))
        }
        (false, None, None) => Ending::NotBooted(format!("no user space after {} s", BOOT_LIMIT.as_secs())),
        (false, None, Some(status)) => {
            Ending::NotBooted(panic.unwrap_or_else(|| format!("QEMU ended early, {status}")))
        }
    }
}

/// A running QEMU that does not outlive us on errors.
struct Guest(Child);

impl Guest {
    fn start(arch: &Arch, vmlinuz: &Path, initramfs: &Path, more: &str, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let Machine { arguments, console } = if arch.name == arch::AARCH64.name { AARCH64 } else { X86_64 };
        let emulator = format!("qemu-system-{arch}");
        let errors = file.try_clone().with_context(|| format!("cannot share {}", log.display()))?;
        // The console is QEMU's standard output, so that its own complaints land
        // in the same log.
        let child = Command::new("setpriv")
            // Replaced by QEMU, which then dies with us, even when we are killed.
            .args(["--pdeathsig", "KILL", "--"])
            .arg(
                process::find(&emulator)
                    .with_context(|| format!("there is no {emulator}: `cargo xtask vm` installs it"))?,
            )
            .args(["-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-serial", "stdio", "-no-reboot"])
            .args(arguments)
            .args(["-accel", "tcg", "-smp", "1", "-m", "1024"])
            .arg("-kernel")
            .arg(vmlinuz)
            .arg("-initrd")
            .arg(initramfs)
            .args(["-append", &format!("console={console} {KERNEL_COMMAND_LINE} {more}")])
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .context("cannot start QEMU through setpriv: apt-get install util-linux")?;
        Ok(Self(child))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended already; there is nothing to do about either error.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str, ended: Option<&str>) -> String {
        let mut console = Console::default();
        console.feed(text.as_bytes());
        let ended = ended.map(str::to_owned);
        judge(&console, ended, Duration::from_secs(9)).to_string()
    }

    #[test]
    fn judges_endings() {
        let exit = "GUEST-START 6\nGUEST-EXIT 7\n";
        assert_eq!(judged(exit, Some("0")), "failed with exit code 7");
        // A power-off that hangs does not change the result.
        assert_eq!(judged(exit, None), "failed with exit code 7");
        assert_eq!(judged("GUEST-START 6\n", None), "timed out after 9 s");
        let panic = "Kernel panic - not syncing: x\n";
        assert_eq!(
            judged(&format!("GUEST-START 6\n{panic}"), Some("0")),
            "crashed: Kernel panic - not syncing: x"
        );
        assert_eq!(judged(panic, Some("0")), "did not boot: Kernel panic - not syncing: x");
        assert_eq!(judged("", Some("exit status: 1")), "did not boot: QEMU ended early, exit status: 1");
    }
}
