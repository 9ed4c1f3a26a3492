//! Which kernel is booted: that of a suite of Debian, for an architecture.

use std::fmt;

use anyhow::{Context as _, Result, bail};

use crate::arch::{self, Arch};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub suite: String,
    pub arch: &'static Arch,
}

impl Target {
    /// As people name it: `trixie`, or `trixie:arm64` as Debian names packages of another architecture.
    pub fn parse(name: &str) -> Result<Self> {
        let (suite, arch) = match name.split_once(':') {
            Some((suite, arch)) => (suite, arch::named(arch)?),
            None => (name, arch::X86_64),
        };
        // It becomes the name of files and a part of a source line.
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if suite.is_empty() || suite.starts_with('-') || !suite.chars().all(fine) {
            bail!("{suite:?} is no name of a Debian suite: use names like bookworm, sid or trixie:arm64");
        }
        Ok(Self { suite: suite.to_owned(), arch })
    }

    pub fn parse_all(names: &[String]) -> Result<Vec<Self>> {
        names.iter().map(|name| Self::parse(name).with_context(|| format!("cannot boot {name:?}"))).collect()
    }

    /// For names of files.
    pub fn file_name(&self) -> String {
        self.to_string().replace(':', "-")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { suite, arch } = self;
        if *arch == arch::X86_64 { f.write_str(suite) } else { write!(f, "{suite}:{}", arch.debian) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let parse = |name: &str| Target::parse(name).expect("a target");
        assert_eq!(parse("bookworm-backports").arch, arch::X86_64);
        assert_eq!(parse("trixie:aarch64"), parse("trixie:arm64"));
        assert_eq!(parse("trixie:arm64").to_string(), "trixie:arm64");
        assert_eq!(parse("trixie:arm64").file_name(), "trixie-arm64");
        assert_eq!(parse("sid:amd64").to_string(), "sid");
        for bad in ["", "-x", "../etc", "a b", "Sid", "sid:", ":arm64", "sid:s390x"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
