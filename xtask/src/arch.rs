//! The architectures that tcpwatch is built for, and what compilers, Debian and container images call each of them.

use std::env;
use std::fmt;

use anyhow::{Context as _, Result};

use crate::packages::Package;

#[derive(Debug, PartialEq, Eq)]
pub struct Arch {
    /// As the compiler, the kernel and QEMU say.
    pub name: &'static str,
    /// As Debian and container images say.
    pub debian: &'static str,
    /// The C compiler for it on machines of another architecture.
    compiler: &'static str,
    /// What brings that compiler, and the headers that it reads.
    pub compilers: &'static [Package],
    /// What boots a kernel of it.
    pub emulators: &'static [Package],
}

pub const X86_64: &Arch = &Arch {
    name: "x86_64",
    debian: "amd64",
    compiler: "x86_64-linux-gnu-gcc",
    compilers: &[
        Package::new("gcc-x86-64-linux-gnu", &["x86_64-linux-gnu-gcc"]),
        Package::new("libc6-dev-amd64-cross", &["/usr/x86_64-linux-gnu/include/assert.h"]),
    ],
    emulators: &[Package::new("qemu-system-x86", &["qemu-system-x86_64"])],
};

pub const AARCH64: &Arch = &Arch {
    name: "aarch64",
    debian: "arm64",
    compiler: "aarch64-linux-gnu-gcc",
    compilers: &[
        Package::new("gcc-aarch64-linux-gnu", &["aarch64-linux-gnu-gcc"]),
        Package::new("libc6-dev-arm64-cross", &["/usr/aarch64-linux-gnu/include/assert.h"]),
    ],
    emulators: &[Package::new("qemu-system-arm", &["qemu-system-aarch64"])],
};

pub const ALL: [&Arch; 2] = [X86_64, AARCH64];

/// That of this machine.
pub fn host() -> Result<&'static Arch> {
    named(env::consts::ARCH).context("this machine cannot build tcpwatch")
}

/// By either of its names.
pub fn named(name: &str) -> Result<&'static Arch> {
    let is_it = |arch: &&Arch| arch.name == name || arch.debian == name;
    ALL.into_iter().find(is_it).with_context(|| {
        let known = ALL.map(|arch| format!("{} ({})", arch.name, arch.debian)).join(" and ");
        format!("there is no tcpwatch for the architecture {name:?}, only for {known}")
    })
}

impl Arch {
    /// The compiler's name for static binaries.
    pub fn musl(&self) -> String {
        format!("{}-unknown-linux-musl", self.name)
    }

    pub fn is_host(&self) -> bool {
        self.name == env::consts::ARCH
    }

    /// What cargo has to be told to build for it on a machine of another architecture.
    pub fn variables(&self) -> Vec<(String, &'static str)> {
        if self.is_host() {
            return Vec::new();
        }
        let target = self.musl().replace('-', "_");
        vec![
            (format!("CC_{target}"), self.compiler),
            // Part of the toolchain. It links for every architecture, and a static binary needs nothing of a C compiler.
            (format!("CARGO_TARGET_{}_LINKER", target.to_uppercase()), "rust-lld"),
        ]
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_lead_to_it() {
        for name in ["aarch64", "arm64"] {
            assert_eq!(named(name).expect("known"), AARCH64);
        }
        assert_eq!(named("amd64").expect("known"), X86_64);
        let error = named("riscv64").expect_err("unknown").to_string();
        assert!(
            error.contains("\"riscv64\"") && error.contains("x86_64 (amd64) and aarch64 (arm64)"),
            "{error}"
        );
    }

    #[test]
    fn only_another_architecture_needs_another_compiler() {
        let set = |arch: &Arch| arch.variables().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        for arch in ALL {
            let target = format!("{}_unknown_linux_musl", arch.name);
            let wanted = [format!("CC_{target}"), format!("CARGO_TARGET_{}_LINKER", target.to_uppercase())];
            assert_eq!(set(arch), if arch.is_host() { vec![] } else { wanted.to_vec() });
        }
    }
}
