//! Builds the eBPF object, which `src/kernel/load.rs` embeds.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use aya_build::{Package, Toolchain};

/// Lets the pinned stable toolchain build `core` for the BPF target.
const BOOTSTRAP: &str = "RUSTC_BOOTSTRAP";

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os(BOOTSTRAP).as_deref() != Some("1".as_ref()) {
        // Set for the eBPF build alone: other crates' build scripts would take it for a nightly compiler.
        return run_again();
    }
    let manifest = env::var("CARGO_MANIFEST_DIR").context("cargo sets CARGO_MANIFEST_DIR")?;
    let root = Path::new(&manifest).join("../tcpwatch-ebpf");
    let root_dir = root.to_str().context("the project's path is not UTF-8")?;
    let package = Package { name: "tcpwatch-ebpf", root_dir, ..Package::default() };
    aya_build::build_ebpf([package], Toolchain::Custom("1.95.0"))
}

fn run_again() -> Result<()> {
    let myself = env::current_exe().context("find this build script")?;
    let tools = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../.tools/bin");
    let mut path = tools.into_os_string();
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    let mut again = Command::new(&myself);
    again.env(BOOTSTRAP, "1").env("PATH", path);
    // The object is to be the same wherever it is built: its debug information names files as seen from their crates.
    again.env("CARGO_UNSTABLE_TRIM_PATHS", "true").env("CARGO_PROFILE_RELEASE_TRIM_PATHS", "all");
    let status = again.status()?;
    ensure!(
        status.success(),
        "the eBPF object could not be built ({status}); `cargo xtask setup` installs what it needs"
    );
    Ok(())
}
