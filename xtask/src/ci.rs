//! `cargo xtask ci`: the gate. Each step is a command that can be run alone, and nothing else is checked.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::project::Project;
use crate::{container, demo, grafana, kubernetes, process, setup, test, tidy, vm};

struct Step<'a> {
    name: &'static str,
    /// What to type to run this step and no other.
    alone: String,
    run: Box<dyn FnMut() -> Result<()> + 'a>,
}

/// Runs the steps until one fails.
pub fn ci(project: &Project) -> Result<()> {
    let begin = Instant::now();
    let mut steps = steps(project);
    let count = steps.len();
    let mut done = Vec::new();
    let mut result = Ok(());
    for (index, step) in steps.iter_mut().enumerate() {
        println!("\n==> {}/{count} {}: {}", index + 1, step.name, step.alone);
        let begin = Instant::now();
        result = (step.run)()
            .with_context(|| format!("step {} failed (`{}` runs it alone)", step.name, step.alone));
        done.push((step.name, begin.elapsed(), if result.is_ok() { "ok" } else { "FAILED" }));
        if result.is_err() {
            break;
        }
    }

    println!();
    done.extend(steps.iter().skip(done.len()).map(|step| (step.name, Duration::ZERO, "not run")));
    done.push(("total", begin.elapsed(), if result.is_ok() { "ok" } else { "FAILED" }));
    for (name, time, result) in done {
        println!("{name:<14} {:>7.1} s  {result}", time.as_secs_f64());
    }
    result
}

fn steps(project: &Project) -> Vec<Step<'_>> {
    let cargo = |args: &[&str]| project.cargo(args);

    // Built apart: to other crates the allowance looks like another compiler, and they would all be built anew.
    let apart = project.target.join("clippy-bpf");
    let mut clippy_bpf = cargo(&["clippy", "-p", "tcpwatch-ebpf", "--target", "bpfel-unknown-none"]);
    clippy_bpf.args(["-Zbuild-std=core", "--target-dir"]).arg(project.relative(&apart));
    // The same allowance and the same cfg the build of the eBPF object gets, on every architecture.
    clippy_bpf.env("RUSTC_BOOTSTRAP", "1");
    clippy_bpf.env("RUSTFLAGS", "--cfg=bpf_target_arch=\"x86_64\" -Dwarnings");
    let mut doc = cargo(&["doc", "--workspace", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-Dwarnings");

    let mut steps = vec![
        task("setup", "setup", || setup::setup(project)),
        tool("format", cargo(&["fmt", "--all", "--check"])),
        task("tidy", "tidy", || tidy::tidy(project)),
        task("grafana", "grafana", || grafana::grafana(project)),
        task("kubernetes", "kubernetes", || kubernetes::check(project)),
        tool("clippy", cargo(&["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"])),
        tool("clippy-bpf", clippy_bpf),
        tool("doc", doc),
        task("test", "test", || test::test(project, &[])),
        // With the binary and the image of it.
        task("container", "container", || container::command(project)),
        task("demo", "demo", || demo::demo(project, false)),
        task("demo-container", "demo container", || demo::demo(project, true)),
    ];
    // Where it would boot nothing it is no step.
    if cfg!(target_arch = "x86_64") {
        steps.push(task("vm", "vm", || vm::command::live(project, &[])));
    }
    steps
}

fn task<'a>(name: &'static str, command: &str, run: impl FnMut() -> Result<()> + 'a) -> Step<'a> {
    Step { name, alone: format!("cargo xtask {command}"), run: Box::new(run) }
}

fn tool<'a>(name: &'static str, mut command: Command) -> Step<'a> {
    Step { name, alone: process::show(&command), run: Box::new(move || process::run(&mut command)) }
}
