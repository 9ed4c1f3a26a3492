//! What both ways of the demonstration share: the clock, Prometheus and Alertmanager with the project's files, who is on
//! call, and questions to the daemon.

use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::cast::Part;
use super::{place, webhook};
use crate::project::Project;
use crate::{interrupt, process};

pub const DAEMON: u16 = 9717;
pub const PROMETHEUS: u16 = 9090;
const ALERTMANAGER: u16 = 9093;
const WEBHOOK: u16 = 9095;

/// By default a leak is one when it is a minute old, and its alert waits for half a minute more. Nobody wants to watch
/// that.
pub const CONFIG: &str = "[close_wait_buildup]\nage = \"5s\"\n\n[findings]\nclose_after = \"3s\"\n";
const SCRAPE: &[(&str, &str)] = &[("scrape_interval: ", "1s"), ("evaluation_interval: ", "1s")];
const ALERTS: &[(&str, &str)] = &[("for: ", "5s"), ("keep_firing_for: ", "5s")];
const ROUTES: &[(&str, &str)] = &[("group_wait: ", "1s"), ("group_interval: ", "1s")];

/// How often it is looked whether somebody has had enough.
const MOMENT: Duration = Duration::from_millis(200);

pub struct Stage<'a> {
    pub project: &'a Project,
    pub folder: PathBuf,
    pub binary: PathBuf,
    alerts: Receiver<Value>,
    begin: Instant,
}

impl<'a> Stage<'a> {
    pub fn new(project: &'a Project) -> Result<Self> {
        // Everything is cleared away, whoever ends it.
        interrupt::catch()?;
        place::raise_loopback()?;
        Ok(Self {
            project,
            folder: place::folder(project)?,
            binary: project.target.join("dist/tcpwatch"),
            alerts: webhook::listen(WEBHOOK)?,
            begin: Instant::now(),
        })
    }

    pub fn tell(&self, what: &str) {
        println!("{:>5.1} s  {what}", self.begin.elapsed().as_secs_f64());
    }

    /// The next alert that is delivered, if one is within this time.
    pub fn alert(&self, within: Duration) -> Result<Option<Value>> {
        let begin = Instant::now();
        while let Some(left) = within.checked_sub(begin.elapsed()) {
            interrupt::check()?;
            match self.alerts.recv_timeout(left.min(MOMENT)) {
                Ok(alert) => return Ok(Some(alert)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(None)
    }

    pub fn alertmanager(&self) -> Result<Part> {
        place::adapt(self.project, &self.folder, "alertmanager.yml", ROUTES)?;
        let config = format!("--config.file={}", self.folder.join("alertmanager.yml").display());
        let data = format!("--storage.path={}", self.folder.join("alertmanager").display());
        let listen = format!("--web.listen-address=127.0.0.1:{ALERTMANAGER}");
        let args = [config.as_str(), &data, &listen, "--cluster.listen-address="];
        let part = self.start("prometheus-alertmanager", &args)?.ready(ALERTMANAGER, "/-/ready")?;
        self.tell("Alertmanager is ready, and who is on call listens");
        Ok(part)
    }

    pub fn prometheus(&self) -> Result<Part> {
        place::adapt(self.project, &self.folder, "scrape.yml", SCRAPE)?;
        place::adapt(self.project, &self.folder, "alerts.yml", ALERTS)?;
        place::adapt(self.project, &self.folder, "recording.yml", &[])?;
        let config = format!("--config.file={}", self.folder.join("scrape.yml").display());
        let data = format!("--storage.tsdb.path={}", self.folder.join("prometheus").display());
        let listen = format!("--web.listen-address=127.0.0.1:{PROMETHEUS}");
        let part = self.start("prometheus", &[&config, &data, &listen])?.ready(PROMETHEUS, "/-/ready")?;
        self.tell("Prometheus scrapes it and has the rules");
        Ok(part)
    }

    fn start(&self, name: &str, args: &[&str]) -> Result<Part> {
        let program = process::find(name).with_context(|| format!("{name} is not installed"))?;
        Part::start(&self.folder, name, &program, args)
    }

    /// Shows what a command of tcpwatch says of this host.
    pub fn ask(&self, what: &str, args: &[&str]) -> Result<()> {
        let remote = format!("127.0.0.1:{DAEMON}");
        let mut command = Command::new(&self.binary);
        command.args(args).args(["--remote", &remote]);
        let out = command.output().with_context(|| format!("cannot start `{}`", process::show(&command)))?;
        // One says that something was found.
        let is_told = matches!(out.status.code(), Some(0 | 1)) && !out.stdout.is_empty();
        ensure!(is_told, "`{}` failed: {}", process::show(&command), String::from_utf8_lossy(&out.stderr));
        println!("\n--- {what}: tcpwatch {}\n", args.join(" "));
        print!("{}", String::from_utf8_lossy(&out.stdout));
        Ok(())
    }
}
