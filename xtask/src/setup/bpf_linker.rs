//! `bpf-linker`, which turns the compiler's output into one eBPF object.
//!
//! It is built from crates.io against the compiler's own LLVM, through links in `.tools/llvm/lib`: so both are always
//! of one version, and no LLVM of the system is needed. The binary looks for its LLVM behind these links too.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::toolchain::{Llvm, Toolchain};
use crate::process;
use crate::project::Project;

const VERSION: &str = "0.13.0";

pub fn provide(project: &Project, toolchain: &Toolchain) -> Result<()> {
    let tools = project.root.join(".tools");
    let llvm = toolchain.llvm()?;
    link(&tools.join("llvm/lib"), &llvm)
        .with_context(|| format!("cannot link {} into .tools/llvm/lib", llvm.library.display()))?;
    let binary = tools.join("bin/bpf-linker");
    if check(&binary).is_ok() {
        return Ok(());
    }
    println!("setup: building bpf-linker {VERSION}, which takes a minute or two");
    process::retry("bpf-linker", || process::run(&mut install(project, &tools, &llvm)))?;
    check(&binary).context("bpf-linker was built, but it does not work")
}

/// Points the names the linker asks for to the compiler's library, which moves with the toolchain.
fn link(directory: &Path, llvm: &Llvm) -> Result<()> {
    let links = ["libLLVM.so", &llvm.name].map(|name| directory.join(name));
    if links.iter().all(|link| fs::read_link(link).is_ok_and(|library| library == llvm.library)) {
        return Ok(());
    }
    if directory.exists() {
        // Links to another LLVM must not stay beside ours.
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    for link in links {
        symlink(&llvm.library, link)?;
    }
    Ok(())
}

/// Whether it starts, which needs its LLVM, and is the version we ask for.
fn check(binary: &Path) -> Result<()> {
    // Cargo lets its children find the compiler's libraries: without that, as anybody would start it.
    let version = process::text(Command::new(binary).arg("--version").env_remove("LD_LIBRARY_PATH"))?;
    ensure!(version.trim_end().ends_with(VERSION), "{} is {version:?}, not {VERSION}", binary.display());
    Ok(())
}

fn install(project: &Project, tools: &Path, llvm: &Llvm) -> Command {
    let feature = format!("llvm-{}", llvm.version);
    let mut cargo = project.cargo(&["install", "bpf-linker", "--version", VERSION, "--locked", "--force"]);
    cargo
        .args(["--no-default-features", "--features", &feature, "--root"])
        .arg(tools)
        .env("LLVM_PREFIX", tools.join("llvm"))
        // Or cargo would advise to put it there, which nobody has to.
        .env("PATH", format!("{}:{}", tools.join("bin").display(), env::var("PATH").unwrap_or_default()))
        // A build directory of its own, which cargo removes at the end.
        .env_remove("CARGO_TARGET_DIR");
    cargo
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process;

    use super::*;

    #[test]
    fn links_follow_the_toolchain() {
        let directory = env::temp_dir().join(format!("xtask-link-{}", process::id()));
        let llvm =
            |place: &str| Llvm { library: PathBuf::from(place), name: "libLLVM.so.22".into(), version: 22 };
        for place in ["/old/libLLVM.so.22", "/new/libLLVM.so.22", "/new/libLLVM.so.22"] {
            link(&directory, &llvm(place)).unwrap();
            for name in ["libLLVM.so", "libLLVM.so.22"] {
                assert_eq!(fs::read_link(directory.join(name)).unwrap(), Path::new(place));
            }
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}
