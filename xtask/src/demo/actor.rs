//! The two that the demonstration is about, tcpwatch and the server that leaks: each a process of this host, or in a
//! container.

use std::fs;

use anyhow::{Context as _, Result};

use super::cast::Part;
use super::stage::{CONFIG, DAEMON, Stage};
use crate::container::engine::{Container, Engine};
use crate::container::leak;
use crate::container::watch::Watch;
use crate::image;

/// As `ps` shows the server.
const SERVER: &str = "shop-backend";

pub enum Actor<'a> {
    Process(Part),
    /// It can be asked to end.
    Container(Container<'a>),
    /// It only ends by force: nothing tells the first process of a container to end that has not said what it does then.
    Stubborn(Container<'a>),
}

impl Actor<'_> {
    pub fn what(&self) -> Result<String> {
        Ok(match self {
            Self::Process(part) => format!("process {}", part.pid()),
            Self::Container(container) | Self::Stubborn(container) => {
                format!("process {} in the container {}", container.pid()?, container.short())
            }
        })
    }

    /// The label by which a metric names it, and its value.
    pub fn label(&self) -> (&'static str, String) {
        match self {
            Self::Process(part) => ("process", part.name().to_owned()),
            Self::Container(container) | Self::Stubborn(container) => {
                ("container", container.short().to_owned())
            }
        }
    }

    pub fn log(&self) -> String {
        match self {
            Self::Process(part) => part.said(),
            Self::Container(container) | Self::Stubborn(container) => {
                container.log().unwrap_or_else(|error| format!("{error:#}"))
            }
        }
    }

    pub fn end(self) -> Result<()> {
        match self {
            Self::Container(container) => container.stop(),
            Self::Process(_) | Self::Stubborn(_) => Ok(()),
        }
    }
}

pub fn daemon(stage: &Stage<'_>) -> Result<Actor<'static>> {
    let config = stage.folder.join("tcpwatch.toml");
    fs::write(&config, CONFIG).with_context(|| format!("cannot write {}", config.display()))?;
    let config = format!("--config={}", config.display());
    let args = ["run", "--no-socket", "--no-record", &config];
    let part = Part::start(&stage.folder, "tcpwatch", &stage.binary, &args)?;
    Ok(Actor::Process(part.ready(DAEMON, "/readyz")?))
}

/// As `docs/containers.md` says.
pub fn daemon_in_container<'a>(stage: &Stage<'_>, engine: &'a Engine) -> Result<Actor<'a>> {
    let image = engine.load(&image::local(stage.project))?;
    let listen = format!("127.0.0.1:{DAEMON}");
    let watch = Watch::start(engine, &image, &stage.folder.join("watch"), CONFIG, &["--listen", &listen])?;
    Ok(Actor::Container(watch.container))
}

pub fn server(stage: &Stage<'_>) -> Result<Actor<'static>> {
    let program = stage.folder.join(SERVER);
    let built = leak::binary(stage.project);
    fs::copy(&built, &program).with_context(|| format!("cannot copy {}", built.display()))?;
    let args = [leak::PORT.to_string(), leak::COUNT.to_string()];
    let part = Part::start(&stage.folder, SERVER, &program, &[&args[0], &args[1]])?;
    Ok(Actor::Process(part.says("keeps")?))
}

/// In a network namespace of its own.
pub fn server_in_container<'a>(stage: &Stage<'_>, engine: &'a Engine) -> Result<Actor<'a>> {
    Ok(Actor::Stubborn(leak::start(engine, &leak::archive(stage.project))?))
}
