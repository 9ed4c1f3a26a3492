//! tcpwatch in a container, with no more rights than it needs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::engine::{Container, Engine};
use super::host;

/// What `docs/containers.md` tells people to start it with, beside what is mounted and its capabilities.
pub const OPTIONS: [&str; 5] =
    ["--pid=host", "--network=host", "--cap-drop=all", "--read-only", "--security-opt=no-new-privileges"];

/// The capabilities that it gets, by their numbers, and how. `SYS_ADMIN` holds `BPF` and `PERFMON`, which old engines do
/// not know.
pub const CAPABILITIES: [(u32, &str); 3] =
    [(21, "--cap-add=SYS_ADMIN"), (19, "--cap-add=SYS_PTRACE"), (2, "--cap-add=DAC_READ_SEARCH")];

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
        for mounted in ["run", "state", "etc"] {
            let mounted = folder.join(mounted);
            fs::create_dir_all(&mounted).with_context(|| format!("cannot create {}", mounted.display()))?;
        }
        let file = folder.join("etc/tcpwatch.toml");
        fs::write(&file, configuration).with_context(|| format!("cannot write {}", file.display()))?;
        let mounts = [("run", "/run/tcpwatch"), ("state", "/var/lib/tcpwatch"), ("etc", "/etc/tcpwatch:ro")]
            .map(|(from, to)| format!("--volume={}:{to}", folder.join(from).display()));
        let capabilities = CAPABILITIES.map(|(_, option)| option);
        let options = [&OPTIONS[..], &capabilities, &mounts.each_ref().map(String::as_str)].concat();
        let args = [&["run", "--config", "/etc/tcpwatch/tcpwatch.toml"], args].concat();
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
        // A socket's path may have a hundred bytes, and the project be anywhere.
        let folder = self.socket.parent().unwrap_or(&self.socket);
        let folder = fs::File::open(folder).with_context(what)?;
        let short = format!("/proc/self/fd/{}/tcpwatch.sock", folder.as_raw_fd());
        let mut stream = UnixStream::connect(short).with_context(what)?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).with_context(what)?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").with_context(what)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).with_context(what)?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(what)?;
        ensure!(head.split(' ').nth(1) == Some("200"), "{}: {head}: {body}", what());
        Ok(body.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Project;

    #[test]
    fn people_are_told_to_do_what_is_tested() {
        let text = fs::read_to_string(Project::find().expect("a project").root.join("docs/containers.md"))
            .expect("the documentation");
        for option in OPTIONS.iter().chain(CAPABILITIES.iter().map(|(_, option)| option)) {
            assert!(text.contains(option), "{option}");
        }
        assert_eq!(text.matches("--cap-add=").count(), CAPABILITIES.len() + 1, "no other capability");
    }
}
