//! Where the project is, and how cargo is called in it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

pub struct Project {
    /// The directory of the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// Where cargo builds.
    pub target: PathBuf,
    /// The compiler's name for static binaries on this machine.
    pub musl: String,
}

impl Project {
    pub fn find() -> Self {
        // Asked at run time: a binary in a shared target directory may have been built in another copy.
        let xtask = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let xtask = PathBuf::from(xtask);
        let root = xtask.parent().unwrap_or(&xtask).to_owned();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            // Relative to where the user stands, while our children run in the root.
            Some(directory) => env::current_dir().unwrap_or_else(|_| root.clone()).join(directory),
            None => root.join("target"),
        };
        Self { root, target, musl: format!("{}-unknown-linux-musl", env::consts::ARCH) }
    }

    /// Cargo with these arguments, in the root.
    pub fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args).current_dir(&self.root);
        if env::var_os("CARGO_TARGET_DIR").is_some() {
            command.env("CARGO_TARGET_DIR", &self.target);
        }
        command
    }

    /// Cargo for commands that start what they build, which is started as root.
    ///
    /// Cargo itself stays who it is, so that the files it builds do not become root's.
    pub fn cargo_as_root(&self, args: &[&str]) -> Result<Command> {
        let mut command = self.cargo(args);
        if !process::is_root() {
            process::as_root("env").context("what this starts loads eBPF programs")?;
            let host = process::text(Command::new("rustc").arg("-vV").current_dir(&self.root))?;
            let host = host.lines().find_map(|line| line.strip_prefix("host: "));
            let host = host.context("rustc -vV names no host")?.to_uppercase().replace('-', "_");
            command.env(format!("CARGO_TARGET_{host}_RUNNER"), "sudo -E --");
        }
        Ok(command)
    }

    /// `path` as people say it: relative to the root where it is below.
    pub fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}
