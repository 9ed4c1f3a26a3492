//! `cargo xtask demo`: from nothing to an alert, on this machine, with everything real.
//!
//! tcpwatch, Prometheus with the project's rules, Alertmanager, and a server that leaks connections, all in a network
//! namespace of their own. It shows what who is on call gets to see, and fails if the alert does not come in time.

mod cast;
mod dashboards;
mod http;
mod leak;
mod place;
mod webhook;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cast::Part;
use serde_json::Value;

use crate::project::Project;
use crate::{build, packages, process};

pub use leak::{COMMAND as SERVER, play as play_server};

const DAEMON: u16 = 9717;
const PROMETHEUS: u16 = 9090;
const ALERTMANAGER: u16 = 9093;
const WEBHOOK: u16 = 9095;

/// The alert that has to come, and how soon after the server began to leak.
const ALERT: &str = "TcpwatchCloseWaitBuildup";
const KIND: &str = "close_wait_buildup";
const LIMIT: Duration = Duration::from_mins(1);

/// By default a leak is one when it is a minute old, and its alert waits for half a minute more. Nobody wants to watch
/// that.
const CONFIG: &str = "[close_wait_buildup]\nage = \"5s\"\n\n[findings]\nclose_after = \"3s\"\n";
const SCRAPE: &[(&str, &str)] = &[("scrape_interval: ", "1s"), ("evaluation_interval: ", "1s")];
const ALERTS: &[(&str, &str)] = &[("for: ", "5s"), ("keep_firing_for: ", "5s")];
const ROUTES: &[(&str, &str)] = &[("group_wait: ", "1s"), ("group_interval: ", "1s")];

pub fn demo(project: &Project) -> Result<()> {
    if place::is_inside() {
        return Stage::new(project)?.play();
    }
    packages::install(packages::TEST)?;
    build::build(project)?;
    let status = place::enter(project)?;
    ensure!(status.success(), "the demonstration failed: {status}");
    Ok(())
}

/// Where it takes place, and since when.
struct Stage<'a> {
    project: &'a Project,
    folder: PathBuf,
    binary: PathBuf,
    begin: Instant,
}

impl<'a> Stage<'a> {
    fn new(project: &'a Project) -> Result<Self> {
        place::raise_loopback()?;
        let folder = place::folder(project)?;
        Ok(Self { project, folder, binary: project.target.join("dist/tcpwatch"), begin: Instant::now() })
    }

    fn tell(&self, what: &str) {
        println!("{:>5.1} s  {what}", self.begin.elapsed().as_secs_f64());
    }

    fn play(&self) -> Result<()> {
        println!(
            "\nA leak, from the first connection to the alert. Logs are in {}.\n",
            self.folder.display()
        );
        let alerts = webhook::listen(WEBHOOK)?;
        let parts = [self.daemon()?, self.alertmanager()?, self.prometheus()?];

        let server = leak::start(&self.folder)?;
        self.tell(&format!("{} (pid {}) listens on port {}", leak::NAME, server.pid(), leak::PORT));
        leak::visit(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let leaking = Instant::now();
        self.tell(&format!("{} clients came and went; it has not closed one of them", leak::CONNECTIONS));

        let alert = self.wait(&alerts, "firing", leaking).with_context(|| self.diagnose(&parts))?;
        self.tell(&format!("the alert has arrived, {:.1} s after the leak", leaking.elapsed().as_secs_f64()));
        let process = alert["labels"]["process"].as_str().unwrap_or_default();
        ensure!(process == leak::NAME, "the alert names {process:?} instead of {}: {alert}", leak::NAME);
        show_alert(&alert);
        self.ask("what tcpwatch found", &["findings", "--kind", KIND, "--long"])?;
        self.ask("what that means", &["explain", KIND])?;
        dashboards::show(self.project, PROMETHEUS)?;

        drop(server);
        println!();
        self.tell(&format!("{} was stopped, which closes what it had forgotten", leak::NAME));
        self.wait(&alerts, "resolved", Instant::now()).with_context(|| self.diagnose(&parts))?;
        self.tell("the alert is resolved");
        drop(parts);
        self.tell("all have ended, and their network namespace with them");
        Ok(())
    }

    fn daemon(&self) -> Result<Part> {
        let config = self.folder.join("tcpwatch.toml");
        fs::write(&config, CONFIG).with_context(|| format!("cannot write {}", config.display()))?;
        let config = format!("--config={}", config.display());
        let args = ["run", "--no-socket", "--no-record", &config];
        let part = Part::start(&self.folder, "tcpwatch", &self.binary, &args)?.ready(DAEMON, "/readyz")?;
        self.tell("tcpwatch watches this host");
        Ok(part)
    }

    fn alertmanager(&self) -> Result<Part> {
        place::adapt(self.project, &self.folder, "alertmanager.yml", ROUTES)?;
        let config = format!("--config.file={}", self.folder.join("alertmanager.yml").display());
        let data = format!("--storage.path={}", self.folder.join("alertmanager").display());
        let listen = format!("--web.listen-address=127.0.0.1:{ALERTMANAGER}");
        let args = [config.as_str(), &data, &listen, "--cluster.listen-address="];
        let part = self.start("prometheus-alertmanager", &args)?.ready(ALERTMANAGER, "/-/ready")?;
        self.tell("Alertmanager is ready, and who is on call listens");
        Ok(part)
    }

    fn prometheus(&self) -> Result<Part> {
        place::adapt(self.project, &self.folder, "scrape.yml", SCRAPE)?;
        place::adapt(self.project, &self.folder, "alerts.yml", ALERTS)?;
        place::adapt(self.project, &self.folder, "recording.yml", &[])?;
        let config = format!("--config.file={}", self.folder.join("scrape.yml").display());
        let data = format!("--storage.tsdb.path={}", self.folder.join("prometheus").display());
        let listen = format!("--web.listen-address=127.0.0.1:{PROMETHEUS}");
        let part = self.start("prometheus", &[&config, &data, &listen])?.ready(PROMETHEUS, "/-/ready")?;
        self.tell("Prometheus scrapes it and has its rules");
        Ok(part)
    }

    fn start(&self, name: &str, args: &[&str]) -> Result<Part> {
        let program = process::find(name).with_context(|| format!("{name} is not installed"))?;
        Part::start(&self.folder, name, &program, args)
    }

    /// Waits for the alert about the leak with this status, which is news since `begin`.
    fn wait(&self, alerts: &Receiver<Value>, status: &str, begin: Instant) -> Result<Value> {
        while let Some(left) = LIMIT.checked_sub(begin.elapsed()) {
            let Ok(alert) = alerts.recv_timeout(left) else { break };
            let name = alert["labels"]["alertname"].as_str().unwrap_or_default();
            let is_about = alert["labels"]["listen_addr"].as_str().unwrap_or_default();
            if name == ALERT && is_about.ends_with(&format!(":{}", leak::PORT)) && alert["status"] == status {
                return Ok(alert);
            }
            self.tell(&format!("another alert came: {name} {}", alert["status"]));
        }
        bail!("{ALERT} was not {status} within {} s", LIMIT.as_secs())
    }

    fn ask(&self, what: &str, args: &[&str]) -> Result<()> {
        let remote = format!("127.0.0.1:{DAEMON}");
        let mut command = Command::new(&self.binary);
        command.args(args).args(["--remote", &remote]);
        let out = command.output().with_context(|| format!("cannot start `{}`", process::show(&command)))?;
        // One says that something is found.
        let told = matches!(out.status.code(), Some(0 | 1)) && !out.stdout.is_empty();
        ensure!(told, "`{}` failed: {}", process::show(&command), String::from_utf8_lossy(&out.stderr));
        println!("\n--- {what}: tcpwatch {}\n", args.join(" "));
        print!("{}", String::from_utf8_lossy(&out.stdout));
        Ok(())
    }

    /// What might tell why no alert came.
    fn diagnose(&self, parts: &[Part]) -> String {
        let findings = http::get(DAEMON, "/api/v1/findings").unwrap_or_else(|error| format!("{error:#}"));
        let pending = http::get(PROMETHEUS, "/api/v1/alerts").unwrap_or_else(|error| format!("{error:#}"));
        let logs: Vec<String> = parts.iter().map(Part::said).collect();
        format!(
            "{}\nfindings: {}\nalerts: {}\nthe demonstration failed after {:.1} s",
            logs.join("\n"),
            findings.trim(),
            pending.trim(),
            self.begin.elapsed().as_secs_f64(),
        )
    }
}

/// As it came to who is on call.
fn show_alert(alert: &Value) {
    println!("\n--- the alert, as it was delivered");
    let pairs = |of: &str| alert[of].as_object().cloned().unwrap_or_default();
    println!();
    for (name, value) in pairs("labels") {
        println!("{name:<12} {}", value.as_str().unwrap_or_default());
    }
    for (name, value) in pairs("annotations") {
        println!("\n{name}:\n{}", value.as_str().unwrap_or_default().trim_end());
    }
}
