//! Where a demonstration takes place: a network namespace and a folder of its own.
//!
//! The namespace has no name and goes with the last process in it, so nothing is left behind however the demonstration
//! ends, and every part can have its default port.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use anyhow::{Context as _, Result, ensure};

use crate::container::host;
use crate::process;
use crate::project::Project;

/// Says to this program that it is in the namespace.
const INSIDE: &str = "TCPWATCH_DEMO_INSIDE";

pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs this program with these arguments in a new network namespace, as root.
///
/// Not with its own ones: the gate plays demonstrations too, and would begin anew.
pub fn enter(project: &Project, args: &[&str]) -> Result<ExitStatus> {
    let own = env::current_exe().context("cannot find this program's own file")?;
    let mut command = process::as_root("env")?;
    command.arg(format!("{INSIDE}=1"));
    // What sudo does not hand on.
    command.arg(format!("CARGO_MANIFEST_DIR={}", project.root.join("xtask").display()));
    if env::var_os("CARGO_TARGET_DIR").is_some() {
        command.arg(format!("CARGO_TARGET_DIR={}", project.target.display()));
    }
    command.args(["unshare", "--net", "--"]).arg(own).args(args);
    let line = process::show(&command);
    command.status().with_context(|| format!("cannot start `{line}`"))
}

/// Makes the loopback of a new namespace usable.
pub fn raise_loopback() -> Result<()> {
    process::output(Command::new("ip").args(["link", "set", "lo", "up"])).map(drop)
}

/// The folder for what the parts write. It is emptied at the start and stays, for whoever wants to look at logs.
pub fn folder(project: &Project) -> Result<PathBuf> {
    let folder = project.target.join("demo");
    if folder.exists() {
        // One that was killed leaves the storage of its containers mounted.
        host::unmount_below(&folder)?;
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Copies a file of `deploy/prometheus` with other values at lines that begin with these keys; each has to be there.
pub fn adapt(
    project: &Project,
    folder: &std::path::Path,
    name: &str,
    changes: &[(&str, &str)],
) -> Result<()> {
    let path = project.root.join("deploy/prometheus").join(name);
    let text = String::from_utf8_lossy(&process::read(&path)?).into_owned();
    let text = changed(&text, changes).with_context(|| format!("cannot adapt {}", path.display()))?;
    let to = folder.join(name);
    fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))
}

fn changed(text: &str, changes: &[(&str, &str)]) -> Result<String> {
    for (key, _) in changes {
        let is_there = text.lines().any(|line| line.trim_start().starts_with(key));
        ensure!(is_there, "there is no line that begins with {key:?}");
    }
    let line = |line: &str| {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        match changes.iter().find(|(key, _)| rest.starts_with(key)) {
            Some((key, value)) => format!("{indent}{key}{value}\n"),
            None => format!("{line}\n"),
        }
    };
    Ok(text.lines().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_get_other_values() {
        let text = "groups:\n  - for: 30s\n    keep: 5m\n    for: 1m\n";
        let found = changed(text, &[("for: ", "1s"), ("keep: ", "2s")]).expect("both are there");
        assert_eq!(found, "groups:\n  - for: 30s\n    keep: 2s\n    for: 1s\n");
        assert!(changed(text, &[("group_wait: ", "1s")]).is_err());
    }
}
