//! A private apt root per suite, so that this machine's package lists stay as
//! they are while kernels of other Debian releases are looked up.
//!
//! Only the state, the cache and the list of sources are private: proxies,
//! timeouts, logins and trusted keys still come from the machine. So does the
//! mirror, unless `DEBIAN_MIRROR` names one (needed on hosts other than Debian).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::target::Target;
use crate::process;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const RELEASES: [&str; 10] = [
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "sid",
];

pub struct Apt {
    root: PathBuf,
    target: Target,
    mirror: String,
}

impl Apt {
    /// Writes the configuration below `root`; contacts nobody yet.
    pub fn new(root: &Path, target: &Target) -> Result<Self> {
        let mirror = mirror()?;
        for directory in ["state/lists/partial", "cache/archives/partial"] {
            let path = root.join(directory);
            fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        let signed_by =
            if Path::new(KEYRING).exists() { format!(" signed-by={KEYRING}") } else { String::new() };
        let (suite, arch) = (&target.suite, target.arch.debian);
        let source = format!("deb [arch={arch} target=Packages{signed_by}] {mirror} {suite} main\n");
        for (name, text) in
            [("sources.list", source.as_str()), ("apt.conf", &configuration(root, arch)), ("status", "")]
        {
            let path = root.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Self { root: root.to_owned(), target: target.clone(), mirror })
    }

    /// With `-c` our file is read last and wins over the machine's. It also keeps
    /// the command lines in error messages short enough to be tried by hand.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.root.join("apt.conf"));
        command
    }

    /// Fetches the package list of the suite.
    pub fn update(&self) -> Result<()> {
        let (suite, mirror) = (&self.target, &self.mirror);
        process::retry(&format!("{suite}: apt-get update"), || {
            process::output(self.command("apt-get").args(["-q", "update"]))
        })
        .with_context(|| {
            format!(
                "cannot read the package list of {suite} from {mirror}: check the network, and \
                 whether that mirror (still) carries {suite}; DEBIAN_MIRROR=<address> takes another"
            )
        })?;
        Ok(())
    }

    /// All records of a package; empty when the suite does not have it.
    pub fn show(&self, package: &str) -> Result<String> {
        // `apt-cache show` fails for unknown packages as it does for real errors,
        // so ask first whether the name is known.
        let known = process::text(self.command("apt-cache").args(["pkgnames", package]))?;
        if !known.lines().any(|name| name == package) {
            return Ok(String::new());
        }
        // A name that other packages only mention is known, too, without a record.
        Ok(process::text(self.command("apt-cache").args(["show", package])).unwrap_or_default())
    }

    /// Downloads packages and all that they need; where apt has put them.
    pub fn download_all(&self, packages: &[&str]) -> Result<PathBuf> {
        let names = packages.join(" ");
        process::retry(&format!("{}: apt-get --download-only install", self.target), || {
            // What was there before is no longer needed, and would be unpacked, too.
            process::output(self.command("apt-get").arg("clean"))?;
            let mut install = self.command("apt-get");
            install.args(["-q", "-y", "--no-install-recommends", "--download-only", "install"]);
            process::output(install.args(packages))
        })
        .with_context(|| format!("cannot download {names} from {}", self.mirror))?;
        Ok(self.root.join("cache/archives"))
    }

    /// Downloads packages into `directory`; apt checks their hashes.
    pub fn download(&self, packages: &[String], directory: &Path) -> Result<()> {
        let names = packages.join(" ");
        process::retry(&format!("{}: apt-get download", self.target), || {
            process::output(
                self.command("apt-get").args(["-q", "download"]).args(packages).current_dir(directory),
            )
        })
        .with_context(|| format!("cannot download {names} from {}", self.mirror))?;
        Ok(())
    }
}

fn configuration(root: &Path, arch: &str) -> String {
    let root = root.display();
    format!(
        r#"Dir::State "{root}/state";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "{arch}";
APT::Architectures {{ "{arch}"; }};
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
"#
    )
}

/// The Debian mirror this machine is set up with.
pub fn mirror() -> Result<String> {
    if let Ok(address) = std::env::var("DEBIAN_MIRROR")
        && !address.is_empty()
    {
        return Ok(address);
    }
    // apt reads both formats of its sources itself; without ReleaseInfo it also
    // lists those that were never fetched, as in a fresh container.
    let targets = process::text(Command::new("apt-get").args([
        "indextargets",
        "-o",
        "APT::Get::IndexTargets::ReleaseInfo=false",
        "--format",
        "$(TARGET_OF) $(CREATED_BY) $(COMPONENT) $(RELEASE) $(SITE)",
    ]))
    .context("cannot ask apt for the sources of this machine: is this a Debian system?")?;
    match choose(&targets) {
        Some(address) => Ok(address.to_owned()),
        None => bail!(
            "apt on this machine has no source with Debian's component main: add one, or set DEBIAN_MIRROR=<address>"
        ),
    }
}

/// Prefers a plain release (no `-security`) on a site that looks like the
/// archive over other parties' repositories, which may also call theirs `main`.
fn choose(targets: &str) -> Option<&str> {
    let mains: Vec<(&str, &str)> = targets
        .lines()
        .filter_map(|line| line.strip_prefix("deb Packages main "))
        .filter_map(|rest| rest.split_once(' '))
        .filter(|(release, _)| RELEASES.contains(release))
        .collect();
    let archive = mains.iter().find(|(_, site)| site.trim_end_matches('/').ends_with("/debian"));
    archive.or(mains.first()).map(|(_, site)| *site)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_the_archive() {
        let targets = "deb-src Sources main bookworm http://a.example/debian\n\
            deb Packages main bookworm http://tools.example/apt\n\
            deb Packages main bookworm-security http://a.example/debian-security\n\
            deb Packages contrib bookworm http://b.example/debian\n\
            deb Packages main bookworm http://a.example/debian\n";
        assert_eq!(choose(targets), Some("http://a.example/debian"));
    }

    #[test]
    fn takes_mirrors_with_other_paths() {
        let targets = "deb Packages main cloud http://x.example/debian\n\
            deb Packages main trixie mirror+file:/etc/apt/mirrors/list\n";
        assert_eq!(choose(targets), Some("mirror+file:/etc/apt/mirrors/list"));
        assert_eq!(choose("deb Packages main jammy http://u.example/ubuntu\n"), None);
    }
}
