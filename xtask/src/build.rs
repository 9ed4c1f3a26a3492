//! `cargo xtask build`: one binary that runs on any Linux of this architecture.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::project::Project;
use crate::{elf, process, setup};

/// Builds and returns the path of the static release binary.
pub fn build(project: &Project) -> Result<PathBuf> {
    setup::setup(project)?;
    process::run(&mut project.cargo_static(&["build", "--release", "--package", "tcpwatch"])?)?;

    let built = project.built();
    if let Some(loader) = elf::interpreter(&built)? {
        bail!("{} is not static, it asks for {loader}: is a dynamic library linked?", built.display());
    }
    let binary = project.target.join("dist/tcpwatch");
    publish(&built, &binary).with_context(|| format!("cannot put the binary to {}", binary.display()))?;
    let size = fs::metadata(&binary).with_context(|| format!("cannot find {}", binary.display()))?.len();
    println!(
        "{}: static, {}.{} MB",
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
