//! The thread that samples: it opens the source, then samples on its tick and whenever somebody asks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tcpwatch_common::event::{Event, Kind};

use super::recording::{RareFacts, Recording};
use super::{Settings, drop_privileges, problems, room};
use crate::causes::causes;
use crate::config::Config;
use crate::detect::{self, Detectors, Findings};
use crate::feed::{Publisher, Wake};
use crate::finding::Finding;
use crate::host::owner;
use crate::kernel::{LoadError, Stage};
use crate::model::Model;
use crate::roster::Roster;
use crate::source::{Fallback, Live, Source, SourceError};

pub(super) struct Sampler {
    pub(super) settings: Settings,
    pub(super) publisher: Publisher,
    pub(super) roster: Option<Roster>,
    /// The daemon is to end.
    pub(super) stopping: Arc<AtomicBool>,
}

impl Sampler {
    /// Until the daemon is to end.
    pub(super) fn run(self, address: SocketAddr) -> Result<()> {
        let Self { settings, publisher, roster, stopping } = self;
        let started = Instant::now();
        let rare = RareFacts::default();
        let mut stopped = |stage: Stage| {
            publisher.doing(format!("{}, {} % done", stage.what, stage.done * 100 / stage.of.max(1)));
            stopping.load(Ordering::Relaxed)
        };
        let Some((mut source, by)) = open(&settings, &rare, &mut stopped)? else { return Ok(()) };
        log::info!("ready after {:.1} s, listening on http://{address}", started.elapsed().as_secs_f64());
        publisher.doing(format!("watching through {by}"));
        let recording = Recording::new(&settings, rare);
        recording.prepare(&settings.config.values());
        drop_privileges(log::Level::Info);
        if let Some(roster) = roster {
            source.processes().follow(roster);
        }
        sample(source, &publisher, settings.tick, &settings.config, recording)
    }
}

/// The live kernel, or the best that can be had instead, loudly; and by what it watches. `None` if it was stopped.
fn open(
    settings: &Settings,
    rare: &RareFacts,
    stopped: &mut dyn FnMut(Stage) -> bool,
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
    let mut problems = problems::Log::default();
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
                problems.tell(&report.sample.problems);
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
