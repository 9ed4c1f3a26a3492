//! `cargo xtask vm`: the live tests on other kernels than the running one.
//!
//! They are built into one static binary, which is all the guest needs. A suite that fails shows the end of what its
//! guest said.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::verified::Verified;
use super::{Outcome, Payload, Target};
use crate::arch::{self, Arch};
use crate::project::Project;
use crate::test::LIVE;
use crate::{packages, process, setup};

/// All tests, as they are built for another architecture, take ten minutes on an idle machine.
const TIMEOUT: Duration = Duration::from_mins(20);
/// How much of a failed guest's log is worth a screen.
const TAIL: usize = 60;

/// Runs the live tests on the kernels of `suites`, or of all.
pub fn live(project: &Project, suites: &[String]) -> Result<()> {
    if cfg!(not(target_arch = "x86_64")) {
        println!("vm: not run: it boots x86_64 kernels on x86_64 only, for now");
        return Ok(());
    }
    let are_named = !suites.is_empty();
    let suites = if are_named { suites.to_vec() } else { super::DEFAULT.map(String::from).to_vec() };
    let targets = Target::parse_all(&suites)?;
    packages::install(packages::VM)?;
    let guest = format!("/{LIVE}");
    let command = |target: &Target| {
        if are_named || matches!(&*target.to_string(), "bullseye" | "sid") {
            tests(&guest, &[], &[], &["facts::"])
        } else if target.arch.is_host() {
            tests(&guest, &[], ALIKE, DIFFERENT)
        } else {
            tests(&guest, FOREIGN, &[], FOREIGN_FACTS)
        }
    };
    let mut files = Vec::new();
    for arch in arch::ALL.into_iter().filter(|arch| targets.iter().any(|target| target.arch == *arch)) {
        packages::install(arch.emulators)?;
        setup::target(project, arch)?;
        files.push((arch, build(project, arch)?, guest.clone()));
    }
    let payload = Payload { files: &files, command: &command, timeout: TIMEOUT };
    let outcomes = super::run(&project.target.join("vm"), &targets, &payload)?;

    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.exit_code != Some(0)).collect();
    for outcome in &failed {
        let log = fs::read(&outcome.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        println!("\n--- {}: the end of {}", outcome.target, outcome.log.display());
        println!("{}", tail(&log, TAIL));
    }
    println!("\n{}", table(&outcomes));
    let names: Vec<String> = failed.iter().map(|outcome| outcome.target.to_string()).collect();
    ensure!(names.is_empty(), "the live tests failed on {}", names.join(", "));
    let mut verified = Verified::default();
    for outcome in &outcomes {
        verified.read(&String::from_utf8_lossy(&fs::read(&outcome.log).unwrap_or_default()));
    }
    verified.check(&project.root, !are_named)
}

/// Tests of limits and times of tcpwatch, which are the same on every kernel. The oldest and the newest one have to pass them
/// too, and every suite that is named; those between do not.
const ALIKE: &[&str] = &["churn::limits", "churn::sockets_are_met", "retire::"];

/// What tells kernels apart among the facts: what they drop, and when a queue is full. That is enough for those between.
const DIFFERENT: &[&str] = &["facts::drops", "facts::listeners"];

/// What a kernel of another architecture runs by default. It is of the same release as another one here, so what may
/// differ is how programs, offsets and system calls fit it: every transition from both sides, how they are counted, and a
/// listener with its half-open requests. Without optimization there each further fact takes half a minute.
const FOREIGN: &[&str] = &["transitions::"];
const FOREIGN_FACTS: &[&str] = &["facts::listeners::half_open"];

/// What the guest runs. It has one virtual processor, so one test at a time; but those that mostly wait. What it has no
/// power for is left out.
fn tests(guest: &str, only: &[&str], left_out: &[&str], facts: &[&str]) -> String {
    let skip = |names: &[&str]| names.iter().flat_map(|name| [" --skip ", name]).collect::<String>();
    format!(
        "{guest} --test-threads=1{}{} && {guest} --test-threads=3 {}{}",
        only.iter().flat_map(|name| [" ", name]).collect::<String>(),
        skip(&[&["facts::", "scenarios::"], left_out].concat()),
        facts.join(" "),
        skip(&["facts::floods", "facts::ends"]),
    )
}

/// Builds the live tests statically; the path of the binary.
///
/// As a release, like `cargo xtask build`: both share all dependencies, and the guest has little to unpack. For another
/// architecture nothing is there to share, and without optimization it takes two minutes instead of six.
fn build(project: &Project, arch: &Arch) -> Result<PathBuf> {
    let mut cargo =
        project.cargo_static(arch, &["test", "--package", "tcpwatch", "--test", LIVE, "--no-run"])?;
    if arch.is_host() {
        cargo.arg("--release");
    }
    cargo.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let line = process::show(&cargo);
    let output = cargo.output().with_context(|| format!("cannot start `{line}`"))?;
    ensure!(output.status.success(), "`{line}` failed: {}", output.status);
    let messages = String::from_utf8_lossy(&output.stdout);
    executable(&messages).map(PathBuf::from).with_context(|| format!("`{line}` names no executable"))
}

/// The file cargo's messages name as the live tests.
fn executable(messages: &str) -> Option<&str> {
    let name = format!(r#""name":"{LIVE}""#);
    messages.lines().filter(|line| line.contains(&name)).find_map(|line| {
        let (_, rest) = line.split_once(r#""executable":""#)?;
        Some(rest.split_once('"')?.0)
    })
}

fn table(outcomes: &[Outcome]) -> String {
    let row = |[suite, kernel, result, seconds]: [&str; 4]| {
        format!("{suite:<12} {kernel:<32} {result:<13} {seconds:>7}\n")
    };
    let rows = outcomes.iter().map(|outcome| {
        let result = match outcome.exit_code {
            Some(0) => "passed".into(),
            Some(code) => format!("exit code {code}"),
            None => "no result".into(),
        };
        row([&outcome.target.to_string(), &outcome.kernel, &result, &format!("{:.1}", outcome.seconds)])
    });
    row(["suite", "kernel", "result", "seconds"]) + &rows.collect::<String>()
}

fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_executable() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"tcpwatch"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"tcpwatch"},"executable":"/t/debug/tcpwatch"}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"live"},"executable":"/t/deps/live-1f"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some("/t/deps/live-1f"));
        assert_eq!(executable("{\"name\":\"live\",\"executable\":null}"), None);
    }

    #[test]
    fn tables_have_one_line_per_suite() {
        let outcome = |suite: &str, exit_code| Outcome {
            target: Target::parse(suite).expect("a target"),
            kernel: "6.1.0".into(),
            exit_code,
            log: PathBuf::new(),
            seconds: 12.34,
        };
        let text =
            table(&[outcome("sid", Some(0)), outcome("trixie:arm64", Some(101)), outcome("bookworm", None)]);
        let words: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(words[1], "sid 6.1.0 passed 12.3");
        assert_eq!(words[2], "trixie:arm64 6.1.0 exit code 101 12.3");
        assert_eq!(words[3], "bookworm 6.1.0 no result 12.3");
    }

    #[test]
    fn kernels_in_between_run_what_tells_them_apart() {
        let everything = "/live --test-threads=1 --skip facts:: --skip scenarios:: && \
                          /live --test-threads=3 facts:: --skip facts::floods --skip facts::ends";
        assert_eq!(tests("/live", &[], &[], &["facts::"]), everything);
        let some = tests("/live", &[], ALIKE, DIFFERENT);
        assert!(some.contains("--skip scenarios:: --skip churn::limits "), "{some}");
        assert!(some.contains("--test-threads=3 facts::drops facts::listeners --skip"), "{some}");
        let foreign = tests("/live", FOREIGN, &[], FOREIGN_FACTS);
        assert!(foreign.starts_with("/live --test-threads=1 transitions:: --skip facts:: "), "{foreign}");
    }

    #[test]
    fn tails() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
    }
}
