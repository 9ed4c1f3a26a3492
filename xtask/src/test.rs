//! `cargo xtask test`: all tests, on the running kernel.
//!
//! Tests make network namespaces and load eBPF programs, so they run as root. The live tests watch the whole machine,
//! so one of them runs at a time.

use std::ffi::OsStr;
use std::fs;

use anyhow::{Context as _, Result};

use crate::project::Project;
use crate::{packages, process, setup};

/// The target that loads the programs into the kernel: `tcpwatch/tests/live/main.rs`.
pub const LIVE: &str = "live";

/// Runs the tests whose names contain one of `filter`, or all.
pub fn test(project: &Project, filter: &[String]) -> Result<()> {
    setup::setup(project)?;
    packages::install(packages::TEST)?;

    // Always the whole workspace: a selection of packages would have dependencies built anew with other features.
    let mut quick = project.cargo_as_root(&["test", "--workspace", "--lib", "--bins"])?;
    for target in quick_targets(project)? {
        quick.args(["--test", &target]);
    }
    process::run(quick.arg("--").args(filter))?;
    process::run(project.cargo_as_root(&["test", "--workspace", "--doc", "--"])?.args(filter))?;
    let live = &["test", "--workspace", "--test", LIVE, "--", "--test-threads=1"];
    process::run(project.cargo_as_root(live)?.args(filter))
}

/// Integration tests that are no live tests. Cargo can only be told which to run, not which to leave out.
fn quick_targets(project: &Project) -> Result<Vec<String>> {
    let directory = project.root.join("tcpwatch/tests");
    let read = || -> std::io::Result<Vec<_>> { fs::read_dir(&directory)?.collect() };
    let entries = read().with_context(|| format!("cannot list {}", directory.display()))?;
    let mut targets: Vec<String> = entries
        .iter()
        .map(fs::DirEntry::path)
        .filter(|path| path.extension() == Some(OsStr::new("rs")) || path.join("main.rs").is_file())
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|name| name != LIVE)
        .collect();
    targets.sort();
    Ok(targets)
}
