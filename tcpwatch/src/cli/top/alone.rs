//! Figures without a daemon: the programs are loaded as long as the screen is there.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::fetch::within;
use super::{Input, Worker, line, parse, spawn};
use crate::cli::markdown;
use crate::detect::{self, Detectors, Findings, Thresholds};
use crate::explain::{self, Facts};
use crate::filter::Filter;
use crate::host;
use crate::kernel::Options;
use crate::model::{Model, Report};
use crate::question::{self, Question};
use crate::source::{self, Fallback, Live, Source};
use crate::top::{Command, Event};
use crate::view::{explain as view, overview, sockets};

/// Whom questions are sent to.
pub(super) struct Alone(Sender<Command>);

impl Worker for Alone {
    fn ask(&self, command: Command) {
        // Its thread has told why it ended.
        let _ = self.0.send(command);
    }
}

pub(super) fn start(netns: Option<u64>, every: Duration, tell: Sender<Input>) -> Alone {
    let (ask, asked) = channel();
    spawn("sampler", &tell.clone(), move || Look::open(netns, &tell)?.run(every, &asked, &tell));
    Alone(ask)
}

/// The daemon without its server.
struct Look {
    source: Box<dyn Source>,
    model: Model,
    detectors: Detectors,
    thresholds: Thresholds,
    netns: Option<u64>,
    latest: Option<(Report, Findings)>,
    note: &'static str,
}

impl Look {
    fn open(netns: Option<u64>, tell: &Sender<Input>) -> Result<Self> {
        let thresholds = Thresholds::default();
        // Nobody listens any more if it has ended already, here and below.
        let _ = tell.send(Input::Event(Event::Note("no daemon runs: loading the eBPF programs".into())));
        let (source, note): (Box<dyn Source>, _) = match Live::open(&Options::default(), |_| ()) {
            Ok(mut live) => {
                live.set_plan(detect::plan(&thresholds));
                (
                    Box::new(live),
                    "no daemon runs: how long sockets have been in their states before is not known",
                )
            }
            Err(error) => {
                let why = line(&error);
                let _ = tell.send(Input::Event(Event::Note(format!("no eBPF: {why}"))));
                (Box::new(Fallback::open().context("look at the sockets")?), "no daemon runs")
            }
        };
        let (model, detectors) = (Model::default(), Detectors::default());
        Ok(Self { source, model, detectors, thresholds, netns, latest: None, note })
    }

    fn run(mut self, every: Duration, asked: &Receiver<Command>, tell: &Sender<Input>) -> Result<()> {
        let mut next = Instant::now();
        let mut failed = 0;
        loop {
            let event = match self.sample() {
                Ok(event) => event,
                // The first figures have to come; later ones may be late.
                Err(error) if self.latest.is_none() && failed > 0 => return Err(error),
                Err(error) => {
                    failed += 1;
                    Event::Trouble(line(error.as_ref()))
                }
            };
            if tell.send(Input::Event(event)).is_err() {
                return Ok(());
            }
            next = Instant::now().max(next + every);
            loop {
                match asked.recv_timeout(next.saturating_duration_since(Instant::now())) {
                    Ok(command) => {
                        if self.answer(&command).is_some_and(|event| tell.send(Input::Event(event)).is_err())
                        {
                            return Ok(());
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
            }
        }
    }

    fn sample(&mut self) -> Result<Event> {
        let sample = self.source.sample(self.latest.is_none()).context("look at the sockets")?;
        let report = self.model.apply(sample);
        let netns = self.netns;
        if netns.is_some_and(|netns| !report.states.contains_key(&netns)) {
            return Err(anyhow!(
                "no network namespace {} was found; `lsns -t net` lists them",
                netns.unwrap_or(0)
            ));
        }
        let found = self.detectors.apply(&report.sample, &self.thresholds);
        let told = serde_json::to_value(overview::overview(&report, &found, netns, host::host_name()))?;
        self.latest = Some((report, found));
        let mut snapshot = parse::snapshot(&told).context("understand the own figures")?;
        snapshot.notes.push(self.note.into());
        Ok(Event::Snapshot(Box::new(snapshot)))
    }

    fn answer(&mut self, command: &Command) -> Option<Event> {
        match command {
            Command::Sockets { ticket, filter, limit } => {
                let answer = self.sockets(filter, *limit).map_err(|error| line(error.as_ref()));
                Some(Event::Sockets(*ticket, answer))
            }
            Command::Page { ticket, topic, netns } => {
                let latest = self.latest.as_ref().map(|(report, found)| (report, found));
                Some(Event::Page(*ticket, page(topic, netns.or(self.netns), latest, source::settings())))
            }
            _ => None,
        }
    }

    fn sockets(&mut self, filter: &str, limit: usize) -> Result<crate::top::data::Sockets> {
        let filter = match (filter.trim(), self.netns) {
            ("", None) => Filter::everything(),
            ("", Some(netns)) => Filter::parse(&format!("netns={netns}"))?,
            (filter, netns) => Filter::parse(&within(filter, netns))?,
        };
        let answers = question::answer(self.source.as_mut(), &[Question { filter, limit }])?;
        let answer = answers.first().context("the walk gave no answer")?;
        Ok(parse::sockets(&serde_json::to_value(sockets::sockets(answer))?))
    }
}

/// A page that explains, as text, filled from the latest figures.
pub(super) fn page(
    topic: &str,
    netns: Option<u64>,
    latest: Option<(&Report, &Findings)>,
    settings: explain::Settings,
) -> Result<String, String> {
    let found = explain::find(topic).map_err(|error| error.to_string())?;
    let facts = match latest {
        Some((report, findings)) => view::facts(report, netns, Some(findings.open.clone()), settings),
        None => Facts { netns, settings, ..Facts::default() },
    };
    Ok(markdown::render(&view::page(found, &facts).markdown, false))
}
