//! `cargo xtask container`: the image under real engines, with just the rights that it needs.
//!
//! In a container it must see the sockets of the host and those of other containers, and name them. `engine`, `watch` and
//! `leak` are made to be used by themselves, too.

mod checks;
pub mod engine;
pub mod host;
pub mod leak;
pub mod watch;

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use engine::{Engine, Kind};
use watch::Watch;

use crate::project::Project;
use crate::{image, interrupt, packages, process};

/// How long anything may take: to load the programs on a busy machine takes seconds.
const PATIENCE: Duration = Duration::from_mins(1);

/// A leak is one after seconds already.
const CONFIGURATION: &str = "[close_wait_buildup]\nage = \"2s\"\n";

/// Builds what is needed, as who one is, and has it checked by root.
pub fn command(project: &Project) -> Result<()> {
    let image = image::build_local(project)?;
    let leak = leak::build(project)?;
    packages::install(packages::CONTAINER)?;
    if process::is_root() {
        return check(project, &image, &leak);
    }
    let myself = std::env::current_exe().context("find this program")?;
    let mut again = process::as_root("env")?;
    again.arg(format!("CARGO_TARGET_DIR={}", project.target.display()));
    again.arg(format!("CARGO_MANIFEST_DIR={}", project.root.join("xtask").display())).arg(myself);
    process::run(again.arg("container").args([image, leak]))
}

/// Runs what was built, under each engine.
pub fn check(project: &Project, image: &Path, leak: &Path) -> Result<()> {
    interrupt::catch()?;
    for kind in [Kind::Podman, Kind::Docker] {
        let begin = Instant::now();
        // Paths of sockets have to be short.
        let folder = std::env::temp_dir().join(format!("tcpwatch-{}-{}", kind.program(), std::process::id()));
        let engine = Engine::start(kind, &folder)?;
        let said = scenario(project, &engine, &folder, image, leak);
        let stopped = engine.stop();
        let said = said.with_context(|| format!("under {}", kind.program()))?;
        stopped?;
        println!("{}: {said}; {:.1} s", kind.program(), begin.elapsed().as_secs_f64());
    }
    Ok(())
}

fn scenario(project: &Project, engine: &Engine, folder: &Path, image: &Path, leak: &Path) -> Result<String> {
    let image = engine.load(image)?;
    if engine.kind() == Kind::Podman {
        ensure!(image.starts_with("localhost/tcpwatch:"), "the image is called {image}");
        checks::containerfile(project, engine, &image)?;
        checks::least(engine, &image)?;
    }
    let leaking = leak::start(engine, leak)?;
    let ours = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen on loopback")?;
    let address = ours.local_addr().context("ask for the port")?.to_string();
    let watch =
        Watch::start(engine, &image, &folder.join("watch"), CONFIGURATION, &["--listen", "127.0.0.1:0"])?;
    checks::rights(&watch.container)?;
    let seen = checks::seen(&watch, &leaking, &address)?;
    watch.container.stop()?;
    let recordings = folder.join("watch/state/flight");
    let count = std::fs::read_dir(&recordings).map(Iterator::count).unwrap_or_default();
    ensure!(count > 0, "there are no recordings in {}", recordings.display());
    Ok(seen)
}
