//! Findings without a daemon: the programs are loaded for a few seconds, and what these show is told.

use std::io::{self, IsTerminal as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::FindingsArgs;
use crate::detect::{self, Detectors, Thresholds};
use crate::kernel::Options;
use crate::model::Model;
use crate::source::{Live, Source as _};
use crate::view::findings::{self, Choice};

const TICK: Duration = Duration::from_secs(1);

/// The daemon without its server.
pub(super) struct Alone {
    live: Live,
    model: Model,
    detectors: Detectors,
    thresholds: Thresholds,
    next: Instant,
}

impl Alone {
    pub(super) fn open() -> Result<Self> {
        let mut live = Live::open(&Options::default(), |_| ()).context(
            "no daemon runs here, and findings without one need eBPF; `tcpwatch doctor` says more",
        )?;
        let thresholds = Thresholds::default();
        live.set_plan(detect::plan(&thresholds));
        let (model, detectors) = (Model::default(), Detectors::default());
        Ok(Self { live, model, detectors, thresholds, next: Instant::now() })
    }

    /// Looks for as long as was asked for. The answer is as the API has it, and has `looked_for` in seconds.
    pub(super) fn look(mut self, args: &FindingsArgs) -> Result<Value> {
        let end = Instant::now() + args.look;
        let progress = io::stderr().is_terminal();
        loop {
            let mut answer = self.tick(args)?;
            let left = end.saturating_duration_since(Instant::now());
            if progress {
                // Who cannot be shown it does not miss it.
                let _ = write!(io::stderr(), "\rno daemon runs: looking, {} s left \x1b[K", left.as_secs());
            }
            if left.is_zero() {
                if progress {
                    let _ = write!(io::stderr(), "\r\x1b[K");
                }
                let seconds = args.look.as_secs();
                answer["looked_for"] = seconds.into();
                answer["notes"] = vec![format!(
                    "Without a daemon this looked for {seconds} s. How long sockets have been in their states before \
                     is not known, and what shows in ages or over a minute could not be seen. `tcpwatch run` watches \
                     all the time."
                )]
                .into();
                return Ok(answer);
            }
        }
    }

    /// Waits for the next tick, and says what is wrong then.
    pub(super) fn tick(&mut self, args: &FindingsArgs) -> Result<Value> {
        let now = Instant::now();
        thread::sleep(self.next.saturating_duration_since(now));
        self.next = now.max(self.next) + TICK;
        let sample = self.live.sample(false).context("look at the sockets")?;
        let report = self.model.apply(sample);
        let netns = args.choice.netns;
        if let Some(netns) = netns
            && !report.states.contains_key(&netns)
        {
            bail!("no network namespace {netns} was found; `lsns -t net` lists them");
        }
        let found = self.detectors.apply(&report.sample, &self.thresholds);
        let choice = Choice { netns, kind: None, closed: args.closed };
        Ok(serde_json::to_value(findings::findings(&found, report.sample.at, choice))?)
    }
}
