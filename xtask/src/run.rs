//! `cargo xtask run`: the daemon as its users start it, from the source.

use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result};

use crate::project::Project;
use crate::{build, process};

/// Becomes `tcpwatch run ARGS`; returns only when that fails.
pub fn run(project: &Project, args: &[String]) -> Result<()> {
    // Asked first: a build takes long, and its result could not be started.
    process::as_root("tcpwatch")?;
    let binary = build::build(project)?;
    let mut command = process::as_root(&binary)?;
    let error = command.arg("run").args(args).exec();
    Err(error).with_context(|| format!("cannot start `{}`", process::show(&command)))
}
