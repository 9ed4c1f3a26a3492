//! `cargo xtask build`: one binary that runs on any Linux of its architecture.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::arch::Arch;
use crate::project::Project;
use crate::{elf, process, setup};

/// Builds and returns the path of the static release binary for this machine.
pub fn build(project: &Project) -> Result<PathBuf> {
    build_for(project, project.host)
}

/// Like `build`, for an architecture.
pub fn build_for(project: &Project, arch: &Arch) -> Result<PathBuf> {
    setup::target(project, arch)?;
    process::run(&mut project.cargo_static(arch, &["build", "--release", "--package", "tcpwatch"])?)?;

    let built = project.built(arch);
    if let Some(loader) = elf::interpreter(&built)? {
        bail!("{} is not static, it asks for {loader}: is a dynamic library linked?", built.display());
    }
    let dist = project.target.join("dist");
    // In a directory of its own, so that it is not taken for this machine's, and that deploy/Containerfile finds it there.
    let binary = if arch.is_host() { dist.join("tcpwatch") } else { dist.join(arch.name).join("tcpwatch") };
    publish(&built, &binary).with_context(|| format!("cannot put the binary to {}", binary.display()))?;
    let size = fs::metadata(&binary).with_context(|| format!("cannot find {}", binary.display()))?.len();
    println!(
        "{}: {arch}, static, {}.{} MB",
        project.relative(&binary).display(),
        size / 1_000_000,
        size / 100_000 % 10
    );
    Ok(binary)
}

fn publish(built: &Path, binary: &Path) -> Result<()> {
    let fresh = binary.with_extension("new");
    fs::create_dir_all(binary.with_file_name(""))?;
    fs::copy(built, &fresh)?;
    // Renamed into place: one that runs right now cannot be written to.
    fs::rename(&fresh, binary)?;
    Ok(())
}
