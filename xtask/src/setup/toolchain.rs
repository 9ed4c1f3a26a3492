//! The pinned Rust toolchain: what of it is there, and which LLVM it brings.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::arch::Arch;
use crate::process;
use crate::project::Project;

pub struct Toolchain {
    /// The version `rust-toolchain.toml` pins.
    channel: String,
    sysroot: PathBuf,
}

impl Toolchain {
    pub fn find(project: &Project) -> Result<Self> {
        let pin = String::from_utf8(process::read(&project.root.join("rust-toolchain.toml"))?)?;
        let channel = channel(&pin).context("rust-toolchain.toml names no channel")?.to_owned();
        let sysroot =
            process::text(Command::new("rustc").args(["--print", "sysroot"]).current_dir(&project.root))?;
        Ok(Self { channel, sysroot: sysroot.trim_end().into() })
    }

    /// Adds the missing parts, and what static binaries of this machine need.
    pub fn complete(&self, host: &Arch) -> Result<()> {
        let components = [
            ("rust-src", "lib/rustlib/src/rust/library/core"),
            ("rustfmt", "bin/cargo-fmt"),
            ("clippy", "bin/cargo-clippy"),
        ];
        let missing = components.iter().filter(|(_, file)| !self.sysroot.join(file).exists());
        let missing: Vec<&str> = missing.map(|(name, _)| *name).collect();
        if !missing.is_empty() {
            self.add("component", &missing)?;
        }
        self.target(host)
    }

    /// Adds what static binaries of an architecture need.
    pub fn target(&self, arch: &Arch) -> Result<()> {
        let musl = &arch.musl();
        let there = self.sysroot.join("lib/rustlib").join(musl).join("lib").exists();
        if there { Ok(()) } else { self.add("target", &[musl]) }
    }

    fn add(&self, kind: &str, names: &[&str]) -> Result<()> {
        println!("setup: adding to Rust {}: {}", self.channel, names.join(" "));
        ensure!(
            process::find("rustup").is_some(),
            "there is no rustup, which adds parts to a toolchain: get it from https://rustup.rs"
        );
        let add = || {
            process::run(Command::new("rustup").args([kind, "add", "--toolchain", &self.channel]).args(names))
        };
        process::retry("rustup", add)
    }

    /// The LLVM library the compiler itself uses. Only the same LLVM reads all of what it writes.
    pub fn llvm(&self) -> Result<Llvm> {
        let directory = self.sysroot.join("lib");
        let entries =
            fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let found = names.filter_map(|name| Some((llvm_version(&name, &self.channel)?, name))).max();
        let (version, name) = found.with_context(|| {
            format!(
                "the compiler in {} has no libLLVM.so.*-rust-{}-stable: the pinned toolchain from rustup has one, \
                 `rustup show` tells which is in use and why",
                self.sysroot.display(),
                self.channel
            )
        })?;
        Ok(Llvm { library: directory.join(&name), name, version })
    }
}

pub struct Llvm {
    pub library: PathBuf,
    pub name: String,
    /// Major version.
    pub version: u32,
}

fn channel(pin: &str) -> Option<&str> {
    let value = pin.lines().find_map(|line| line.trim().strip_prefix("channel"))?;
    let value = value.trim_start().strip_prefix('=')?.trim();
    value.strip_prefix('"')?.strip_suffix('"')
}

/// Major version in names like `libLLVM.so.22.1-rust-1.95.0-stable`.
fn llvm_version(name: &str, channel: &str) -> Option<u32> {
    let version = name.strip_prefix("libLLVM.so.")?.strip_suffix(&format!("-rust-{channel}-stable"))?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_pin() {
        assert_eq!(channel("# why\n[toolchain]\nchannel = \"1.95.0\"\nprofile = \"x\"\n"), Some("1.95.0"));
        assert_eq!(channel("[toolchain]\n"), None);
        assert_eq!(channel("channel = 1\n"), None);
    }

    #[test]
    fn knows_the_compilers_llvm() {
        assert_eq!(llvm_version("libLLVM.so.22.1-rust-1.95.0-stable", "1.95.0"), Some(22));
        for other in
            ["libLLVM.so.22.1-rust-1.94.0-stable", "libLLVM-22-rust-1.95.0-stable.so", "libLLVM.so.22.1"]
        {
            assert_eq!(llvm_version(other, "1.95.0"), None, "{other}");
        }
    }
}
