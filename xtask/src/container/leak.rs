//! A container that leaks: a server that never closes what its clients have closed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::engine::{Container, Engine};
use crate::image::{self, About};
use crate::process;
use crate::project::Project;

/// The port it listens on, in its own network namespace.
pub const PORT: u16 = 8080;
/// The connections that it does not close.
pub const COUNT: usize = 40;

const ABOUT: About<'_> = About {
    name: "leak",
    description: "A server that never closes, to test tcpwatch with",
    command: "",
    version: "test",
    licence: "MIT OR Apache-2.0",
    source: "",
};

/// Builds `xtask/examples/leak.rs` and an image of it; the archive.
pub fn build(project: &Project) -> Result<PathBuf> {
    let mut cargo = project.cargo_static(
        project.host,
        &["build", "--quiet", "--release", "--package", "xtask", "--example", "leak"],
    )?;
    process::run(&mut cargo)?;
    let image = image::image(&[(project.host, process::read(&binary(project))?)], &ABOUT)?;
    let archive = archive(project);
    fs::write(&archive, image.archive).with_context(|| format!("cannot write {}", archive.display()))?;
    Ok(archive)
}

/// The program that was built.
pub fn binary(project: &Project) -> PathBuf {
    project.built(project.host).with_file_name("examples/leak")
}

/// The image that was built.
pub fn archive(project: &Project) -> PathBuf {
    binary(project).with_file_name("leak-image.tar")
}

/// Starts it as a user of its own, in a network namespace of its own, and waits until it leaks.
pub fn start<'a>(engine: &'a Engine, archive: &Path) -> Result<Container<'a>> {
    let image = engine.load(archive)?;
    let options = ["--network=none", "--user=65534", "--cap-drop=all", "--read-only"];
    let container = engine.run(&image, &options, &[&PORT.to_string(), &COUNT.to_string()])?;
    super::host::wait("the leaking server leaks", super::PATIENCE, || {
        Ok(container.log()?.contains("keeps").then_some(()))
    })?;
    Ok(container)
}
