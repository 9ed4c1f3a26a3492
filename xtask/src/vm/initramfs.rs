//! Builds the guest: an initramfs with busybox, modules and the caller's files.
//!
//! It stays uncompressed: writing it takes milliseconds here, while software
//! emulation would spend seconds on decompressing it.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::Payload;
use super::cpio::Archive;
use super::kernels::Kernel;
use super::target::Target;
use crate::{elf, process};

const INIT: &str = include_str!("init.sh");

/// Directories `/init` and programs expect to find.
const DIRECTORIES: [&str; 9] = ["/bin", "/dev", "/etc", "/modules", "/proc", "/root", "/run", "/sys", "/tmp"];

/// Enough for programs that look up `localhost` or `root`.
const FILES: [(&str, &str); 4] = [
    ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("/etc/hostname", "guest\n"),
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    ("/etc/group", "root:x:0:\n"),
];

/// Writes the archive for one kernel and one payload to `image`.
pub fn write(image: &Path, target: &Target, kernel: &Kernel, payload: &Payload<'_>) -> Result<()> {
    let file = File::create(image).with_context(|| format!("cannot create {}", image.display()))?;
    fill(BufWriter::new(file), target, kernel, payload)
        .with_context(|| format!("cannot build the initramfs {}", image.display()))
}

fn fill(out: impl Write, target: &Target, kernel: &Kernel, payload: &Payload<'_>) -> Result<()> {
    let mut archive = Archive::new(out);
    for directory in DIRECTORIES {
        archive.directory(directory)?;
    }
    // The kernel opens the console for /init before devtmpfs is mounted.
    archive.device("/dev/console", 0o600, 5, 1)?;
    archive.file("/init", 0o755, INIT.as_bytes())?;
    archive.file("/bin/busybox", 0o755, &process::read(&kernel.busybox()?)?)?;
    for (path, text) in FILES {
        archive.file(path, 0o644, text.as_bytes())?;
    }

    let mut order = String::new();
    for module in kernel.modules()? {
        let name = module.file_stem().unwrap_or_default().to_string_lossy();
        archive.file(&format!("/modules/{name}.ko"), 0o644, &process::read(&module)?)?;
        order.push_str(&name);
        order.push('\n');
    }
    archive.file("/modules/order", 0o644, order.as_bytes())?;

    for (_, host, guest) in payload.files.iter().filter(|(arch, ..)| *arch == target.arch) {
        add(&mut archive, host, guest, payload)?;
    }
    let command = format!("{}\n", (payload.command)(target));
    archive.file("/command", 0o644, command.as_bytes())?;
    archive.finish()?;
    Ok(())
}

/// Adds one file of the caller, with the permissions it has here.
fn add(archive: &mut Archive<impl Write>, host: &Path, guest: &str, payload: &Payload<'_>) -> Result<()> {
    if !guest.starts_with('/') || guest.ends_with('/') || guest.split('/').any(|part| part == "..") {
        bail!("{guest:?} is no absolute path of a file in the guest");
    }
    let metadata = fs::metadata(host)
        .with_context(|| format!("cannot find {} for the guest: build it first", host.display()))?;
    if let Some(loader) = elf::interpreter(host)?
        && !payload.files.iter().any(|(_, _, path)| *path == loader)
    {
        bail!(
            "{} is dynamically linked and needs {loader}, which the guest does not have: build it for a musl target",
            host.display()
        );
    }
    archive.file(guest, metadata.permissions().mode(), &process::read(host)?)
}
