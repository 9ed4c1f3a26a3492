//! Where the project is, and how cargo is called in it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::arch::{self, Arch};
use crate::process;

pub struct Project {
    /// The directory of the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// Where cargo builds.
    pub target: PathBuf,
    /// The architecture of this machine.
    pub host: &'static Arch,
}

impl Project {
    pub fn find() -> Result<Self> {
        // Asked at run time: a binary in a shared target directory may have been built in another copy.
        let xtask = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let xtask = PathBuf::from(xtask);
        let root = xtask.parent().unwrap_or(&xtask).to_owned();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            // Relative to where the user stands, while our children run in the root.
            Some(directory) => env::current_dir().unwrap_or_else(|_| root.clone()).join(directory),
            None => root.join("target"),
        };
        Ok(Self { root, target, host: arch::host()? })
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

    /// Cargo for a static binary: what it builds names no folder of this machine, so that it comes out the same,
    /// byte by byte, wherever it is built with the same compiler.
    pub fn cargo_static(&self, arch: &Arch, args: &[&str]) -> Result<Command> {
        let mut command = self.cargo(args);
        let sysroot =
            process::text(Command::new("rustc").args(["--print", "sysroot"]).current_dir(&self.root))?;
        let home = |variable, folder: &str| {
            let home = env::var_os(variable).map(PathBuf::from);
            home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(folder)))
        };
        // Of several that fit, the compiler takes the last; the target folder may be in the root.
        let mut names = Vec::new();
        names.extend(home("CARGO_HOME", ".cargo").map(|path| (path, "/cargo")));
        names.push((PathBuf::from(sysroot.trim_end()), "/toolchain"));
        names.push((self.root.clone(), "/tcpwatch"));
        names.push((self.target.clone(), "/target"));
        let flags = names.iter().map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display()));
        // Of all ways to give flags, this one allows for spaces.
        command.args(["--target", &arch.musl()]).envs(arch.variables());
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.collect::<Vec<_>>().join("\x1f"));
        Ok(command)
    }

    /// Where that puts the binary.
    pub fn built(&self, arch: &Arch) -> PathBuf {
        self.target.join(arch.musl()).join("release/tcpwatch")
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
