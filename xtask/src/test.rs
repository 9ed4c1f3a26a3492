//! `cargo xtask test`: all tests, on the running kernel.
//!
//! Tests make network namespaces and load eBPF programs, so they run as root. Live tests that watch the whole machine, or
//! that need all of it, run one at a time; those that look at their own namespaces and mostly wait run beside each other.

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
    let live = |args: &[&str]| -> Result<()> {
        let cargo = &["test", "--workspace", "--test", LIVE, "--"];
        process::run(project.cargo_as_root(cargo)?.args(args).args(filter))
    };
    if !filter.is_empty() {
        return live(&["--test-threads=1"]);
    }
    LIVE_RUNS.iter().try_for_each(|args| live(args))
}

/// The live tests in turns: alone, beside each other, and alone with the whole machine for itself.
const LIVE_RUNS: [&[&str]; 3] = [
    &["--test-threads=1", "--skip", "facts::", "--skip", "scenarios::"],
    &[
        "--test-threads=4",
        "facts::",
        "scenarios::",
        "--skip",
        "heavy",
        "--skip",
        "pressure::",
        "--skip",
        "flooded::",
    ],
    &["--test-threads=1", "heavy", "pressure::", "flooded::"],
];

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
