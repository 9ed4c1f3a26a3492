//! `cargo xtask demo`: from nothing to an alert, on this machine, with everything real.
//!
//! tcpwatch, Prometheus with the project's rules, Alertmanager, and a server that leaks connections, all in a network
//! namespace of their own; with `container`, tcpwatch and the server are in a container each. It shows what who is on
//! call gets to see, and fails if the alert does not come in time.

mod actor;
mod cast;
mod dashboards;
mod http;
mod place;
mod stage;
mod webhook;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::container::engine::{Engine, Kind};
use crate::container::leak;
use crate::packages::{CONTAINER, TEST, install};
use crate::project::Project;
use crate::{build, image};
use stage::Stage;

/// The alert that has to come, and how soon after the server began to leak.
const ALERT: &str = "TcpwatchCloseWaitBuildup";
const KIND: &str = "close_wait_buildup";
const LIMIT: Duration = Duration::from_mins(1);

/// Builds what is needed, as who one is, and plays it as root.
pub fn demo(project: &Project, in_containers: bool) -> Result<()> {
    if place::is_inside() {
        return play(project, in_containers);
    }
    install(TEST)?;
    if in_containers {
        install(CONTAINER)?;
        image::build_local(project)?;
    } else {
        build::build(project)?;
    }
    leak::build(project)?;
    let again: &[&str] = if in_containers { &["demo", "container"] } else { &["demo"] };
    let status = place::enter(project, again)?;
    ensure!(status.success(), "the demonstration failed: {status}");
    Ok(())
}

fn play(project: &Project, in_containers: bool) -> Result<()> {
    let stage = Stage::new(project)?;
    println!("\nA leak, from the first connection to the alert. Logs are in {}.\n", stage.folder.display());
    let engine =
        in_containers.then(|| Engine::start(Kind::Podman, &stage.folder.join("podman"))).transpose()?;
    let daemon = match &engine {
        Some(engine) => actor::daemon_in_container(&stage, engine)?,
        None => actor::daemon(&stage)?,
    };
    stage.tell(&format!("tcpwatch, {}, watches this host", daemon.what()?));
    let others = [stage.alertmanager()?, stage.prometheus()?];
    let server = match &engine {
        Some(engine) => actor::server_in_container(&stage, engine)?,
        None => actor::server(&stage)?,
    };
    let leaking = Instant::now();
    stage.tell(&format!("a server, {}, has {} clients and closes none of them", server.what()?, leak::COUNT));

    let logs = || [daemon.log(), others[0].said(), others[1].said()].join("\n");
    let alert = wait(&stage, "firing", leaking).with_context(logs)?;
    stage.tell(&format!("the alert has arrived, {:.1} s later", leaking.elapsed().as_secs_f64()));
    let (label, owner) = server.label();
    ensure!(alert["labels"][label] == owner, "the alert does not name the {label} {owner}: {alert}");
    show(&alert);
    stage.ask("what tcpwatch found", &["findings", "--kind", KIND, "--long"])?;
    stage.ask("what that means", &["explain", KIND])?;
    dashboards::show(project, stage::PROMETHEUS)?;

    println!();
    server.end()?;
    stage.tell("the server was stopped, which closes what it had forgotten");
    wait(&stage, "resolved", Instant::now()).with_context(logs)?;
    stage.tell("the alert is resolved");
    drop(others);
    daemon.end()?;
    engine.map_or(Ok(()), Engine::stop)?;
    stage.tell("all have ended, and their network namespace ends with this line");
    Ok(())
}

/// Waits for the alert about the leak with this status, which is news since `begin`.
fn wait(stage: &Stage<'_>, status: &str, begin: Instant) -> Result<Value> {
    while let Some(left) = LIMIT.checked_sub(begin.elapsed()) {
        let Some(alert) = stage.alert(left)? else { break };
        let name = alert["labels"]["alertname"].as_str().unwrap_or_default();
        let at = alert["labels"]["listen_addr"].as_str().unwrap_or_default();
        if name == ALERT && at.ends_with(&format!(":{}", leak::PORT)) && alert["status"] == status {
            return Ok(alert);
        }
        stage.tell(&format!("another alert came: {name} at {at:?} is {}", alert["status"]));
    }
    let told = |port, path| http::get(port, path).unwrap_or_else(|error| format!("{error:#}"));
    let findings = told(stage::DAEMON, "/api/v1/findings");
    let alerts = told(stage::PROMETHEUS, "/api/v1/alerts");
    anyhow::bail!("{ALERT} was not {status} within {LIMIT:?}\nfindings: {findings}\nalerts: {alerts}")
}

/// As it came to who is on call.
fn show(alert: &Value) {
    println!("\n--- the alert, as it was delivered\n");
    let pairs = |of: &str| alert[of].as_object().cloned().unwrap_or_default();
    for (name, value) in pairs("labels") {
        println!("{name:<12} {}", value.as_str().unwrap_or_default());
    }
    for (name, value) in pairs("annotations") {
        println!("\n{name}:\n{}", value.as_str().unwrap_or_default().trim_end());
    }
}
