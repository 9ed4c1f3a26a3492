//! What `deploy/` holds, against the real tools that read it.

mod alerts;
mod asked;
mod dashboards;
mod stack;
mod tools;
mod webhook;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::daemon::process::Running;

/// The folder of the files for Prometheus.
fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus")
}

/// A program of the system, which `cargo xtask test` installs.
fn tool(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end, which has to be a good one.
#[track_caller]
fn accepted(command: &mut Command) -> Output {
    let ended = Running::spawn(command).finish();
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{command:?}: {}\n{out}\n{err}", ended.status);
    ended
}
