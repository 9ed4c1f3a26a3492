//! Container engines that belong to whoever starts them: podman, and a docker daemon of our own.
//!
//! All that they keep is below one folder. Docker's daemon gets namespaces of its own for the network and for mounts, and
//! podman's containers here have the host's network or none, so the host's interfaces and firewall stay as they are.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::host;
use crate::process;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Podman,
    Docker,
}

impl Kind {
    pub fn program(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::Docker => "docker",
        }
    }

    /// The cgroup that holds those of its containers. Not the usual one, which another engine of this host may have.
    fn cgroup(self) -> &'static str {
        match self {
            Self::Podman => "tcpwatch-podman",
            Self::Docker => "tcpwatch-docker",
        }
    }
}

/// How long an engine gets for anything that it is told.
const PATIENCE: Duration = Duration::from_mins(1);

/// Hosts that may not raise limits cannot start containers with an engine's own, which are higher than those they have.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

/// A running engine. It ends, with its containers and all it had, when it is stopped or dropped.
pub struct Engine {
    kind: Kind,
    folder: PathBuf,
    daemon: Option<Child>,
}

impl Engine {
    /// Starts one that keeps everything below `folder`, which must not exist.
    pub fn start(kind: Kind, folder: &Path) -> Result<Self> {
        ensure!(process::is_root(), "{} needs root here", kind.program());
        let left = host::members(kind.cgroup());
        ensure!(
            left.is_empty(),
            "an earlier run that was killed has left containers of {}, or one is under way: kill {}",
            kind.program(),
            left.join(" ")
        );
        fs::create_dir(folder)
            .with_context(|| format!("cannot create {} (was something left behind?)", folder.display()))?;
        let mut engine = Self { kind, folder: folder.to_owned(), daemon: None };
        if kind == Kind::Docker {
            engine.daemon = Some(engine.start_daemon()?);
            engine.wait_for_daemon().with_context(|| format!("its log: {}", engine.log()))?;
        }
        Ok(engine)
    }

    fn start_daemon(&self) -> Result<Child> {
        let log = self.folder.join("log");
        let file = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut daemon = Command::new("unshare");
        daemon.args([
            "--net",
            "--mount",
            "--",
            "sh",
            "-c",
            "PATH=$PATH:/usr/sbin:/sbin; ip link set lo up && exec dockerd \"$@\"",
            "dockerd",
        ]);
        for (option, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            daemon.arg(option).arg(self.folder.join(name));
        }
        // Not that of this host's own daemon, if it has one.
        let configuration = self.folder.join("daemon.json");
        fs::write(&configuration, "{}")
            .with_context(|| format!("cannot write {}", configuration.display()))?;
        daemon.arg("--config-file").arg(configuration);
        daemon.arg(format!("--host=unix://{}", self.folder.join("sock").display()));
        daemon.args(["--storage-driver=vfs", "--bridge=none", "--ip-forward=false", "--ip-masq=false"]);
        daemon.args(["--iptables=false", "--ip6tables=false"]);
        // Below one that is called as docker's own is: it tells that a container is docker's.
        daemon.arg(format!("--cgroup-parent=/{}/docker", self.kind.cgroup()));
        let errors = file.try_clone().context("cannot share the log")?;
        daemon.stdin(Stdio::null()).stdout(file).stderr(errors);
        daemon.spawn().context("cannot start the docker daemon")
    }

    fn wait_for_daemon(&mut self) -> Result<()> {
        host::wait("the docker daemon answers", PATIENCE, || {
            if let Some(daemon) = &mut self.daemon
                && let Some(status) = daemon.try_wait().context("cannot wait for the docker daemon")?
            {
                self.daemon = None;
                bail!("the docker daemon ended with {status}");
            }
            Ok(process::output(&mut self.client(&["version"])).ok().map(drop))
        })
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("; ")
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The engine's client with these arguments.
    fn client(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.kind.program());
        match self.kind {
            Kind::Podman => {
                for (option, name) in [("--root", "data"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
                    command.arg(option).arg(self.folder.join(name));
                }
                command.args(["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none"]);
                command.args(["--runtime", "runc"]);
            }
            Kind::Docker => {
                command.arg("--host").arg(format!("unix://{}", self.folder.join("sock").display()));
            }
        }
        command.args(args).env_remove("DOCKER_CONTEXT").env_remove("DOCKER_HOST");
        command
    }

    /// What the client says to these arguments.
    pub fn tell(&self, args: &[&str]) -> Result<String> {
        process::text(&mut self.client(args))
    }

    /// Loads an archive; the image's name in this engine.
    pub fn load(&self, archive: &Path) -> Result<String> {
        let archive = archive.to_str().context("the archive's path is not UTF-8")?;
        let said = self.tell(&["load", "--input", archive])?;
        let name = said.lines().rev().find_map(|line| line.split_once("oaded image: "));
        let (_, name) = name.with_context(|| format!("{} names no image: {said}", self.kind.program()))?;
        Ok(name.trim().to_owned())
    }

    /// Builds by the folder's Containerfile; the new image's id.
    pub fn build(&self, containerfile: &Path, folder: &Path) -> Result<String> {
        let path = |path: &Path| path.to_str().map(str::to_owned).context("a path is not UTF-8");
        let (file, folder) = (path(containerfile)?, path(folder)?);
        Ok(self.tell(&["build", "--quiet", "--file", &file, &folder])?.trim().to_owned())
    }

    /// Starts a container of `image` with these options and arguments.
    pub fn run(&self, image: &str, options: &[&str], args: &[&str]) -> Result<Container<'_>> {
        let parent = format!("--cgroup-parent=/{}", self.kind.cgroup());
        // Docker's daemon knows it already.
        let parent: &[&str] = if self.kind == Kind::Podman { &[&parent] } else { &[] };
        let words = [&["run", "--detach"], &LIMITS[..], parent, options, &[image], args].concat();
        let id = self.tell(&words)?.trim().to_owned();
        ensure!(id.len() == 64, "{} tells no container's id: {id}", self.kind.program());
        Ok(Container { engine: self, id })
    }

    /// Ends these containers at once, and removes them.
    fn remove(&self, ids: &[&str]) -> Result<()> {
        // Podman would first ask them to end, and wait.
        let now: &[&str] = if self.kind == Kind::Podman { &["--time=0"] } else { &[] };
        self.tell(&[&["rm", "--force"], now, ids].concat()).map(drop)
    }

    /// Ends it, and looks for what it may have left.
    pub fn stop(mut self) -> Result<()> {
        self.end()?;
        let left = host::mounts_below(&self.folder)?;
        ensure!(left.is_empty(), "{} left mounts behind: {}", self.kind.program(), left.join(" "));
        ensure!(!self.folder.exists(), "{} is still there", self.folder.display());
        let groups = host::cgroups(self.kind.cgroup());
        ensure!(groups.is_empty(), "{} left cgroups behind: {groups:?}", self.kind.program());
        Ok(())
    }

    /// Does all of it, whatever fails; the first failure is told.
    fn end(&mut self) -> Result<()> {
        if !self.folder.exists() {
            return Ok(());
        }
        let removed = self.remove_all();
        let ended = self.daemon.take().map_or(Ok(()), end_daemon);
        removed.and(ended)?;
        host::unmount_below(&self.folder)?;
        fs::remove_dir_all(&self.folder)
            .with_context(|| format!("cannot remove {}", self.folder.display()))?;
        host::remove_cgroups(self.kind.cgroup())
    }

    fn remove_all(&self) -> Result<()> {
        if self.kind == Kind::Docker && self.daemon.is_none() {
            return Ok(());
        }
        let containers = self.tell(&["ps", "--all", "--quiet", "--no-trunc"])?;
        let ids: Vec<&str> = containers.split_whitespace().collect();
        if ids.is_empty() { Ok(()) } else { self.remove(&ids) }
    }
}

fn end_daemon(mut daemon: Child) -> Result<()> {
    host::terminate(&daemon)?;
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if daemon.try_wait().context("cannot wait for the docker daemon")?.is_some() {
            return Ok(());
        }
        sleep(Duration::from_millis(100));
    }
    daemon.kill().context("cannot kill the docker daemon")?;
    daemon.wait().map(drop).context("cannot wait for the docker daemon")
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            println!("{} was not stopped well: {error:#}", self.kind.program());
        }
    }
}

/// A container, removed when it is dropped.
pub struct Container<'a> {
    engine: &'a Engine,
    pub id: String,
}

impl Container<'_> {
    /// What people call it: what `docker ps` shows.
    pub fn short(&self) -> &str {
        &self.id[..12]
    }

    /// Runs a program in it to its end, as people do; what it printed.
    pub fn exec(&self, args: &[&str]) -> Result<String> {
        self.engine.tell(&[&["exec", &self.id], args].concat())
    }

    /// What `inspect` tells of it in this format.
    pub fn inspect(&self, format: &str) -> Result<String> {
        Ok(self.engine.tell(&["inspect", "--format", format, &self.id])?.trim().to_owned())
    }

    /// The number of its first process.
    pub fn pid(&self) -> Result<u32> {
        let pid = self.inspect("{{.State.Pid}}")?;
        pid.parse().with_context(|| format!("{pid:?} is no process"))
    }

    /// Waits until it ends by itself; its exit code.
    pub fn wait(&self) -> Result<String> {
        Ok(self.engine.tell(&["wait", &self.id])?.trim().to_owned())
    }

    /// All that it wrote.
    pub fn log(&self) -> Result<String> {
        let mut command = self.engine.client(&["logs", &self.id]);
        let output = command.stdin(Stdio::null()).output().context("cannot ask for a container's log")?;
        let [out, err] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        Ok(out + &err)
    }

    /// Asks it to end, as everybody stops containers, and fails unless it does so well.
    pub fn stop(self) -> Result<()> {
        self.engine.tell(&["stop", "--time", "20", &self.id])?;
        let code = self.inspect("{{.State.ExitCode}}")?;
        if code != "0" {
            bail!("the container ended with {code}: {}", self.log()?);
        }
        Ok(())
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.engine.remove(&[&self.id]) {
            println!("a container was not removed: {error:#}");
        }
    }
}
