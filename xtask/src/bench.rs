//! `cargo xtask bench`: what watching costs a machine, on this kernel.

use anyhow::Result;

use crate::project::Project;
use crate::{packages, process, setup};

pub fn bench(project: &Project, args: &[String]) -> Result<()> {
    setup::setup(project)?;
    packages::install(packages::TEST)?;
    let mut cargo = project.cargo_as_root(&["bench", "--package", "tcpwatch", "--bench", "cost", "--"])?;
    process::run(cargo.args(args))
}
