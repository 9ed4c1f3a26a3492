//! tcpwatch in a container, with no more rights than it needs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::engine::{Container, Engine, Kind};
use super::host;

/// What `docs/containers.md` tells people to give it.
pub fn options(kind: Kind) -> Vec<&'static str> {
    let mut options = vec!["--pid=host", "--network=host", "--read-only", "--security-opt=no-new-privileges"];
    options.push("--cap-drop=all");
    options.extend(capabilities(kind).iter().map(|(_, option)| option));
    options
}

/// The capabilities that it gets, by their numbers, and how. `SYS_ADMIN` is what entering network namespaces takes, and
/// holds `BPF` and `PERFMON`, which old engines do not know.
pub fn capabilities(kind: Kind) -> &'static [(u32, &'static str)] {
    const ALL: [(u32, &str); 5] = [
        (21, "--cap-add=SYS_ADMIN"),
        (19, "--cap-add=SYS_PTRACE"),
        (2, "--cap-add=DAC_READ_SEARCH"),
        (39, "--cap-add=BPF"),
        (38, "--cap-add=PERFMON"),
    ];
    match kind {
        Kind::Podman => &ALL,
        Kind::Docker => &ALL[..3],
    }
}

/// A daemon that is ready, and its local socket.
pub struct Watch<'a> {
    pub container: Container<'a>,
    socket: PathBuf,
}

impl<'a> Watch<'a> {
    /// Starts the image with this configuration; `folder` is where its socket and configuration are seen from outside.
    pub fn start(
        engine: &'a Engine,
        image: &str,
        folder: &Path,
        configuration: &str,
        args: &[&str],
    ) -> Result<Self> {
        fs::create_dir_all(folder.join("run"))
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let file = folder.join("tcpwatch.toml");
        fs::write(&file, configuration).with_context(|| format!("cannot write {}", file.display()))?;
        let run = format!("--volume={}:/run/tcpwatch", folder.join("run").display());
        let file = format!("--volume={}:/etc/tcpwatch.toml:ro", file.display());
        let options = [&options(engine.kind())[..], &[&run, &file]].concat();
        let args = [&["run", "--config", "/etc/tcpwatch.toml", "--no-record"], args].concat();
        let container = engine.run(image, &options, &args)?;
        let watch = Self { container, socket: folder.join("run/tcpwatch.sock") };
        let ready =
            host::wait("tcpwatch is ready", super::PATIENCE, || Ok(watch.get("/readyz").ok().map(drop)));
        ready.with_context(|| watch.container.log().unwrap_or_default())?;
        Ok(watch)
    }

    /// The body of the answer to a GET, through the socket.
    pub fn get(&self, path: &str) -> Result<String> {
        let what = || format!("cannot ask {} for {path}", self.socket.display());
        let mut stream = UnixStream::connect(&self.socket).with_context(what)?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).with_context(what)?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").with_context(what)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).with_context(what)?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(what)?;
        ensure!(head.split(' ').nth(1) == Some("200"), "{}: {head}: {body}", what());
        Ok(body.to_owned())
    }
}
