//! `cargo xtask setup`: brings what a build needs and the machine does not have.
//!
//! The eBPF object is built by the pinned toolchain, whose parts rustup adds, and linked by `bpf-linker`, which goes
//! into `.tools/` of the project. Nothing else of the machine is touched, and nothing is said when all is there.

mod bpf_linker;
mod toolchain;

use anyhow::{Result, ensure};

use crate::arch::Arch;
use crate::project::Project;
use crate::{packages, process};
use toolchain::Toolchain;

pub fn command(project: &Project) -> Result<()> {
    setup(project)?;
    println!("setup: everything is there");
    Ok(())
}

/// What builds for an architecture, which may be another one than this machine's, need beside.
pub fn target(project: &Project, arch: &Arch) -> Result<()> {
    setup(project)?;
    if arch.is_host() {
        return Ok(());
    }
    packages::install(arch.compilers)?;
    Toolchain::find(project)?.target(arch)
}

/// What every command does first.
pub fn setup(project: &Project) -> Result<()> {
    ensure!(
        process::find("cc").is_some(),
        "there is no C compiler, which Rust programs are linked with: install gcc or clang (apt-get install gcc)"
    );
    let toolchain = Toolchain::find(project)?;
    toolchain.complete(project.host)?;
    bpf_linker::provide(project, &toolchain)
}
