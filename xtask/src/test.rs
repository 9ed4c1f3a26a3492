//! `cargo xtask test`: all tests, on the running kernel.
//!
//! Tests make network namespaces and load eBPF programs, so they run as root. Live tests look at their own namespaces, and
//! most of them mostly wait: they run beside each other. Those that count what the whole host does, or need all of it, do not.

use std::ffi::OsStr;
use std::fs;

use anyhow::{Context as _, Result, bail, ensure};

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
    if !filter.is_empty() {
        return live(project, &["--test-threads=1".to_owned()], filter);
    }
    turns().iter().try_for_each(|args| live(project, args, &[]))
}

/// Runs live tests. One that fails is run anew only if the host is proven to have kept from the programs what they were
/// to see (the known limits in ARCHITECTURE.md tell of such hosts).
fn live(project: &Project, args: &[String], filter: &[String]) -> Result<()> {
    let cargo = &["test", "--workspace", "--test", LIVE, "--"];
    let run = |args: &[String], filter: &[String]| -> Result<Option<Failures>> {
        let mut failures = Failures::default();
        let passed = process::watch(project.cargo_as_root(cargo)?.args(args).args(filter), |line| {
            failures.read(line);
        })?;
        Ok((!passed).then_some(failures))
    };
    let Some(mut failures) = run(args, filter)? else { return Ok(()) };
    for _ in 0..MOST_REPEATED {
        let failed = failures.excused()?;
        println!(
            "\nrun anew, as this host kept from the programs what they were to see: {}",
            failed.join(", ")
        );
        match run(&["--test-threads=1", "--exact"].map(str::to_owned), &failed)? {
            Some(again) => failures = again,
            None => return Ok(()),
        }
    }
    bail!("live tests failed {MOST_REPEATED} times more: {}", failures.failed.join(", "))
}

const MOST_REPEATED: usize = 3;

/// What the test runner says of tests that failed.
#[derive(Default)]
struct Failures {
    failed: Vec<String>,
    /// Whose output is being read.
    current: Option<String>,
    /// Whose failure may be the host's: something was withheld from every program meanwhile.
    withheld: Vec<String>,
}

impl Failures {
    fn read(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED")) {
            self.failed.push(name.to_owned());
        }
        if let Some(name) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----")) {
            self.current = Some(name.to_owned());
        }
        if line.starts_with("withheld from every program: ") {
            self.withheld.extend(self.current.clone());
        }
    }

    /// Those that failed, if all may be run anew.
    fn excused(&self) -> Result<Vec<String>> {
        let guilty: Vec<_> =
            self.failed.iter().filter(|name| !self.withheld.contains(name)).map(String::as_str).collect();
        ensure!(guilty.is_empty(), "live tests failed: {}", guilty.join(", "));
        ensure!(!self.failed.is_empty(), "the live tests ended without a result: see above");
        Ok(self.failed.clone())
    }
}

/// The live tests in turns. First those that count what the whole host does. Then those in which this very process must be
/// who closes: a child of it, about to become another program, has its descriptors as well, so none may be started
/// meanwhile. Then those that mostly wait. Then those that need some time of a processor, and those that need the whole
/// machine.
fn turns() -> [Vec<String>; 5] {
    let turn = |threads: u32, filters: &[&str]| {
        let threads = format!("--test-threads={threads}");
        std::iter::once(threads).chain(filters.iter().map(|&filter| filter.to_owned())).collect()
    };
    let mut waiting: Vec<String> = turn(6, &[]);
    let others = [ALONE, CHILDLESS, WORKING, HEAVY].into_iter().flatten();
    waiting.extend(others.map(|other| format!("--skip={other}")));
    [turn(1, ALONE), turn(3, CHILDLESS), waiting, turn(3, WORKING), turn(1, HEAVY)]
}

const ALONE: &[&str] = &["churn::", "retire::", "held::", "a_recording_has_a_time_line"];
const CHILDLESS: &[&str] = &["transitions::", "support::"];
const WORKING: &[&str] = &["pressure::", "a_path_that_loses"];
const HEAVY: &[&str] =
    &["flooded::", "facts::crowd::", "facts::services::", "scenarios::crowded::", "daemon::room::", "heavy"];

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_host_withheld_is_run_anew() {
        let mut failures = Failures::default();
        let said = "test a::one ... FAILED\ntest a::two ... ok\n---- a::one stdout ----\nwithheld from every program: x";
        said.lines().for_each(|line| failures.read(line));
        assert_eq!(failures.excused().expect("proven"), ["a::one"]);
        for line in ["test a::three ... FAILED", "---- a::three stdout ----", "test result: FAILED. 1 passed"]
        {
            failures.read(line);
        }
        assert_eq!(failures.excused().unwrap_err().to_string(), "live tests failed: a::three");
        assert!(Failures::default().excused().is_err(), "a run that ended by a signal");
    }
}
