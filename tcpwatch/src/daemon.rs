//! Wires the daemon: a listener, a source, a thread that samples on its tick, and the server that shows it.
//!
//! Signals come first, so that none ends the daemon half-way with something left behind; then the listener, so that a
//! taken port is found out before anything is attached. Privileges go as soon as everything is attached, the directory
//! of recordings is there, and before any other thread starts. Between the programs, of which some take a second to load, signals are looked for.

mod inform;
mod local;
mod notify;
mod recording;
mod reload;
mod room;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tcpwatch_common::event::{Event, Kind};

use crate::causes::causes;
use crate::config::Config;
use crate::detect::{self, Detectors, Findings};
use crate::feed::{Feed, Publisher, Wake, feed};
use crate::finding::Finding;
use crate::host::{caps, owner, process};
use crate::kernel::{LoadError, Options};
use crate::model::Model;
use crate::pods;
use crate::roster::Roster;
use crate::serve::{self, Own, SelfUsage};
use crate::source::{self, Fallback, Live, Source, SourceError};
pub use local::DEFAULT_SOCKET;
use local::Local;
use notify::Manager;
pub(crate) use recording::start;
use recording::{RareFacts, Recording};

/// How long signals are looked for between two programs.
const MOMENT: Duration = Duration::from_millis(1);

/// What the daemon is asked to do.
#[derive(Debug)]
pub struct Settings {
    pub listen: SocketAddr,
    pub socket: Socket,
    pub tick: Duration,
    pub kernel: Options,
    /// Do not even try eBPF.
    pub netlink_only: bool,
    /// Record nothing, whatever the configuration says.
    pub no_record: bool,
    /// Record there, whatever the configuration says.
    pub record_directory: Option<PathBuf>,
    /// The cluster that is asked for the pods of this node, if one is.
    pub pods: Option<pods::Options>,
    /// Read again at SIGHUP.
    pub config: Arc<Config>,
    /// Read it again when it has changed, too.
    pub watch_config: bool,
}

/// Whether the daemon has a Unix socket, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socket {
    /// At [`DEFAULT_SOCKET`] if one can be made there.
    Default,
    At(PathBuf),
    Off,
}

/// Runs until what `stop` gives completes. `stop` is called first, inside the runtime.
pub fn run<S>(settings: &Settings, stop: impl FnOnce() -> Result<S>) -> Result<()>
where
    S: Future<Output = ()> + Send + 'static,
{
    // It has no thread but this one, which does not run it before everything is attached, but to look for signals.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the asynchronous runtime")?;
    let manager = Arc::new(Manager::of_environment(settings.tick));
    let mut shutdown = {
        let _inside = runtime.enter();
        reload::follow(&settings.config, &manager, settings.watch_config)?;
        Box::pin(stop()?)
    };
    let mut stopped =
        || runtime.block_on(async { tokio::time::timeout(MOMENT, shutdown.as_mut()).await.is_ok() });
    let listener = bind(settings.listen)?;
    let address = listener.local_addr().context("read the address that was bound")?;
    let (local, _file) = bind_local(&settings.socket)?.map(Local::into_parts).unzip();
    let started = Instant::now();
    let rare = RareFacts::default();
    manager.status("loading the eBPF programs");
    let Some((mut source, by)) = open(settings, &rare, &mut stopped)? else { return Ok(()) };
    log::info!("ready after {:.1} s, listening on http://{address}", started.elapsed().as_secs_f64());
    let recording = Recording::new(settings, rare);
    recording.prepare(&settings.config.values());
    drop_privileges();
    let roster = settings.pods.clone().map(|options| {
        let roster = Roster::default();
        source.processes().follow(roster.clone());
        // It waits with all else that is asynchronous until this thread serves.
        runtime.spawn(pods::follow(options, roster.clone()));
        roster
    });
    let (publisher, feed) = feed();
    let (tick, config) = (settings.tick, Arc::clone(&settings.config));
    let own = Own { usage: self_usage, settings: source::settings, roster, config: Arc::clone(&config) };
    let sampler = std::thread::Builder::new()
        .name("sampler".into())
        .spawn(move || sample(source, &publisher, tick, &config, recording))
        .context("start the sampling thread")?;
    let watching = format!("watching through {by}, listening on http://{address}");
    let config = Arc::clone(&settings.config);
    runtime.spawn(inform::inform(Arc::clone(&manager), feed.clone(), config, watching));
    let served = runtime.block_on(serve_until(listener, local, feed.clone(), own, shutdown));
    manager.stopping();
    feed.stop();
    // A panic there has been reported by its own thread.
    let sampled = sampler.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the sampling thread panicked")));
    served.and(sampled)
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!(
            "listen on {address} (is another tcpwatch running there? choose another with --listen ADDR:PORT)"
        )
    })?;
    listener.set_nonblocking(true).context("make the listening socket non-blocking")?;
    Ok(listener)
}

/// A second daemon does without the default socket, as its user did not ask for one.
fn bind_local(socket: &Socket) -> Result<Option<Local>> {
    match socket {
        Socket::Off => Ok(None),
        Socket::At(path) => Ok(Some(Local::bind(path)?)),
        Socket::Default => Ok(Local::bind(Path::new(DEFAULT_SOCKET))
            .inspect_err(|error| log::warn!("no local socket: {error}"))
            .ok()),
    }
}

/// The live kernel, or the best that can be had instead, loudly; and by what it watches. `None` if it was stopped.
fn open(
    settings: &Settings,
    rare: &RareFacts,
    stopped: &mut dyn FnMut() -> bool,
) -> Result<Option<(Box<dyn Source>, &'static str)>> {
    if !settings.netlink_only {
        let rare = rare.clone();
        let on_event = move |event: &Event| {
            log_grave(event);
            rare.push(event);
        };
        match Live::open_unless(&settings.kernel, on_event, stopped) {
            Ok(live) => {
                log_losses(&live);
                return Ok(Some((Box::new(live), "eBPF")));
            }
            Err(SourceError::Load(LoadError::Stopped)) => return Ok(None),
            Err(error) => log::error!(
                "no eBPF: {}. Going on with netlink: numbers of sockets by state only, no transitions, \
                 durations, causes or owners. `tcpwatch doctor` says what would help",
                causes(&error)
            ),
        }
    }
    let fallback = Fallback::open().context("open the fallback source")?;
    Ok(Some((Box::new(fallback), "netlink, which tells little")))
}

fn log_losses(live: &Live) {
    if !owner::sees_host_pids() {
        log::warn!("{}", owner::FOREIGN_PIDS);
    }
    for program in live.kernel().programs() {
        if let (Some(error), Some(lost)) = (&program.error, program.lost) {
            log::warn!("the program {} does not run, which loses {lost}: {error}", program.name);
        }
    }
    for lost in live.kernel().lost_fields() {
        log::warn!("this kernel has no {}, which loses {}", lost.field, lost.lost);
    }
}

/// Facts that come without a subscriber are grave.
fn log_grave(event: &Event) {
    match Kind::from_raw(event.kind) {
        Some(Kind::Gap) => log::debug!("a socket was in state {}, expected {}", event.old, event.what),
        _ => log::warn!(
            "illegal transition {} to {} in network namespace {}",
            event.old,
            event.new,
            event.netns
        ),
    }
}

/// What sampling still needs: entering namespaces, opening those of other users' processes, and eBPF maps, which
/// some kernels refuse without.
fn drop_privileges() {
    match caps::drop_to(caps::sampling()) {
        Ok(dropped) => log::info!("capabilities kept: {}", dropped.effective.join(", ")),
        Err(error) => log::warn!("{error}"),
    }
}

fn sample(
    mut source: Box<dyn Source>,
    publisher: &Publisher,
    tick: Duration,
    config: &Config,
    mut recording: Recording,
) -> Result<()> {
    let mut model = Model::default();
    let mut detectors = Detectors::default();
    let mut values = config.values();
    source.set_plan(detect::plan(&values.thresholds));
    recording.follow(&values);
    let mut next = Instant::now();
    let mut census = true;
    let mut failing = false;
    let mut room = room::Log::default();
    loop {
        let latest = config.values();
        if latest != values {
            source.set_plan(detect::plan(&latest.thresholds));
            recording.follow(&latest);
            values = latest;
        }
        let began = Instant::now();
        match source.sample(census) {
            Ok(sample) => {
                let report = model.apply(sample);
                let findings = detectors.apply(&report.sample, &values.thresholds);
                log_changes(&findings);
                room.tell(&report.sample.shortages);
                recording.take(&report.sample, &findings);
                publisher.publish(report, findings, (!census).then(|| began.elapsed()));
                failing = false;
            }
            Err(error) => report_once(&error, &mut failing),
        }
        if Instant::now() >= next {
            next = Instant::now() + tick;
        }
        match wait(source.as_mut(), publisher, next) {
            None => return Ok(()),
            Some(wanted) => census = wanted,
        }
    }
}

/// Answers questions until it is time for the next sample: whether it should have a census, or `None` if there is
/// to be none.
fn wait(source: &mut dyn Source, publisher: &Publisher, next: Instant) -> Option<bool> {
    loop {
        match publisher.wait(next.saturating_duration_since(Instant::now())) {
            Wake::Stop => return None,
            Wake::Tick => return Some(false),
            Wake::Asked(mut asked) => {
                asked.answer(source);
                // Those who ask without a pause must not keep the daemon from sampling.
                if asked.report || Instant::now() >= next {
                    return Some(asked.report);
                }
            }
        }
    }
}

/// Findings that this sample opened or closed.
fn log_changes(findings: &Findings) {
    let owner = |finding: &Finding| {
        let owner = finding.seen.subject.owner.as_ref();
        owner.map_or_else(|| String::from("an unknown process"), ToString::to_string)
    };
    for finding in &findings.opened_now {
        let (severity, summary) = (finding.seen.severity.name(), &finding.seen.summary);
        log::warn!("{severity} finding {} of {}: {summary}", finding.id, owner(finding));
    }
    for finding in &findings.closed_now {
        let lasted = finding.closed.and_then(|closed| closed.duration_since(finding.since).ok());
        let lasted = lasted.map_or_else(String::new, |lasted| format!(" after {} s", lasted.as_secs()));
        log::info!("finding {} of {} is over{lasted}", finding.id, owner(finding));
    }
}

/// A source that fails once fails at every tick; `/healthz` goes on telling.
fn report_once(error: &SourceError, failing: &mut bool) {
    if !*failing {
        log::error!("cannot sample: {}; the figures stay as they were until it works again", causes(error));
    }
    *failing = true;
}

async fn serve_until(
    listener: TcpListener,
    local: Option<UnixListener>,
    feed: Feed,
    own: Own,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener).context("use the listening socket")?;
    let local = local.map(tokio::net::UnixListener::from_std).transpose();
    let local = local.context("use the local socket")?;
    serve::serve(listener, local, feed, own, shutdown).await.context("serve HTTP")
}

fn self_usage() -> SelfUsage {
    SelfUsage {
        resident_bytes: process::resident_bytes(),
        cpu_seconds: process::cpu_seconds(),
        ..SelfUsage::default()
    }
}
