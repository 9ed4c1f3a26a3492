//! Builds the eBPF object, which `src/kernel/load.rs` embeds.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
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
    share().context("keep what the eBPF object is built from where all builds find it")?;
    let package = Package { name: "tcpwatch-ebpf", root_dir, ..Package::default() };
    aya_build::build_ebpf([package], Toolchain::Custom("1.95.0"))
}

/// Lets all builds into this target directory share what the object is built from: it is the same for tests, lints,
/// documentation and releases, and `core` alone takes longer than all of ours.
fn share() -> Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    // target/[triple/]profile/build/package/out
    let mut target = out.ancestors().nth(4).context("OUT_DIR is less deep than it was")?;
    if target.file_name() == env::var_os("TARGET").as_deref() {
        target = target.parent().context("a triple is below a target directory")?;
    }
    let (shared, link) = (target.join("ebpf"), out.join("aya-build"));
    fs::create_dir_all(&shared)?;
    if fs::read_link(&link).is_ok_and(|to| to == shared) {
        return Ok(());
    }
    if link.is_dir() {
        fs::remove_dir_all(&link)?;
    }
    Ok(symlink(shared, link)?)
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
    // What the verifiers of all kernels have read is built so, whatever becomes of the rest.
    again.env("CARGO_PROFILE_RELEASE_LTO", "thin").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
    // One object for all architectures. What of `aya-ebpf` depends on theirs is registers (`pt_regs`) and the sign of C's
    // `char`, and no program here has to do with either: the code is the same, and what kernels of one architecture have
    // verified is what those of another get.
    again.env("CARGO_CFG_TARGET_ARCH", "x86_64");
    let status = again.status()?;
    ensure!(
        status.success(),
        "the eBPF object could not be built ({status}); `cargo xtask setup` installs what it needs"
    );
    Ok(())
}
