//! `cargo xtask grafana`: whether the dashboards fit the types that Grafana publishes.
//!
//! Grafana itself is not needed for it: each dashboard becomes a TypeScript file, and the compiler says what does not
//! fit. `grafana/board.ts` has the types, `grafana/refused.ts` what they must refuse. npm brings both packages in the
//! versions of `grafana/package-lock.json`, into target/grafana.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::packages::{self, Package};
use crate::process;
use crate::project::Project;

const PACKAGES: &[Package] = &[Package::new("npm", &["npm", "node"])];
const LOCK: &str = "package-lock.json";
/// A copy of the lock file beside what it installed.
const INSTALLED: &str = "installed.json";

pub fn grafana(project: &Project) -> Result<()> {
    packages::install(PACKAGES)?;
    let folder = project.target.join("grafana");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for old in files(&folder, "ts")? {
        fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    let sources = project.root.join("xtask/src/grafana");
    for source in files(&sources, "ts")?.into_iter().chain(files(&sources, "json")?) {
        let to = folder.join(source.file_name().unwrap_or_default());
        fs::copy(&source, &to).with_context(|| format!("cannot copy {}", source.display()))?;
    }
    let dashboards = files(&project.root.join("deploy/grafana"), "json")?;
    ensure!(!dashboards.is_empty(), "deploy/grafana has no dashboards");
    for dashboard in &dashboards {
        let json =
            fs::read_to_string(dashboard).with_context(|| format!("cannot read {}", dashboard.display()))?;
        let name = dashboard.file_stem().unwrap_or_default().display();
        let text = format!("import type {{ Board }} from './board';\nexport const board: Board = {json};\n");
        let to = folder.join(format!("dashboard-{name}.ts"));
        fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))?;
    }
    install(&folder)?;
    process::run(
        Command::new(folder.join("node_modules/.bin/tsc"))
            .args(["--pretty", "false", "-p", "."])
            .current_dir(&folder),
    )
    .context(
        "the lines above name dashboard-NAME.ts, which is deploy/grafana/NAME.json from its second line on",
    )?;
    println!("{} dashboards fit Grafana's types", dashboards.len());
    Ok(())
}

/// What the lock file says, unless it is there.
fn install(folder: &Path) -> Result<()> {
    let lock = process::read(&folder.join(LOCK))?;
    let installed = folder.join(INSTALLED);
    if fs::read(&installed).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    println!("grafana: installing the packages of {LOCK}");
    process::retry("npm ci", || {
        process::output(
            Command::new("npm")
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                .current_dir(folder),
        )
    })?;
    fs::write(&installed, lock).with_context(|| format!("cannot write {}", installed.display()))
}

/// Files of a folder with names that end so, in order.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<_>> { fs::read_dir(folder)?.collect() };
    let entries = read().with_context(|| format!("cannot list {}", folder.display()))?;
    let paths = entries.iter().map(fs::DirEntry::path);
    let mut paths: Vec<_> = paths.filter(|path| path.extension() == Some(OsStr::new(ending))).collect();
    paths.sort();
    Ok(paths)
}
