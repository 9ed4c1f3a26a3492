//! `tcpwatch replay`: what was wrong, from a recording.

mod print;

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use super::moment::{self, When};
use super::{Outcome, top};
use crate::config::Config;
use crate::record::{self, Item, Span};
use crate::replay::{Moment, Replay, Step};
use crate::serve;
use print::Printer;

const EXAMPLES: &str = "\
Examples:
  tcpwatch replay                                    findings of the last hours, from the daemon's recorder
  tcpwatch replay --from 02:00 --to 04:00            those of last night (UTC)
  tcpwatch replay --at -10m --as states              sockets by state ten minutes before the end
  tcpwatch replay incident.tcpw --at 03:12 --as metrics
  tcpwatch replay incident.tcpw --as top             a full screen with a time line
  tcpwatch replay incident.tcpw --as json --every 10s | jq .";

const MILLISECOND: Duration = Duration::from_nanos(999_999);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// What was wrong: findings as they were opened and closed.
    Findings,
    /// Sockets by state, a line every so often.
    States,
    /// The page for Prometheus, as it was at a moment.
    Metrics,
    /// A full screen with a time line, see `tcpwatch top --help`.
    Top,
    /// A JSON object per line: everything of these, and gaps and illegal transitions.
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReplayArgs {
    /// A recording: a file, or a directory of them. By default that of the daemon on this host.
    path: Option<PathBuf>,
    /// What to show.
    #[arg(long = "as", value_name = "FORM", value_enum, default_value_t = Form::Findings)]
    form: Form,
    /// At this moment only: 2026-01-31T03:00:00Z, "2026-01-31 03:00", 03:00 (UTC), or -10m before the end.
    #[arg(long, value_name = "TIME", value_parser = moment::parse, allow_hyphen_values = true,
          conflicts_with_all = ["from", "to", "every"])]
    at: Option<When>,
    /// From this time on.
    #[arg(long, value_name = "TIME", value_parser = moment::parse, allow_hyphen_values = true)]
    from: Option<When>,
    /// Up to this time.
    #[arg(long, value_name = "TIME", value_parser = moment::parse, allow_hyphen_values = true)]
    to: Option<When>,
    /// How often states are shown, such as 1s or 10m.
    #[arg(long, value_name = "TIME", value_parser = moment::duration, default_value = "10s")]
    every: Duration,
    /// Judge by this configuration instead of the one that was in effect.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn replay(args: &ReplayArgs) -> Result<Outcome> {
    let path = args.path.clone().unwrap_or_else(record::default_directory);
    let thresholds = match &args.config {
        Some(config) => Some(Config::load(Some(config))?.values().thresholds.clone()),
        None => None,
    };
    if args.form == Form::Top {
        return top::replay(&path, args.at.or(args.from), thresholds, false);
    }
    let replay = Replay::open(&path, thresholds)?;
    let span = replay.span()?;
    let resolve = |when: Option<When>| when.map(|when| when.within(span));
    // Times are shown in milliseconds: one that was shown means what was in it.
    let until = |when| resolve(when).map(|at| at.checked_add(MILLISECOND).unwrap_or(at));
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.at.is_some() || args.form == Form::Metrics {
        let at = until(args.at).or(until(args.to)).unwrap_or(span.last);
        let moment = moment_of(replay, at, span)?;
        print_moment(&mut out, &moment, args.form)?;
    } else {
        let from = resolve(args.from).unwrap_or(SystemTime::UNIX_EPOCH);
        let to = until(args.to);
        if to.is_some_and(|to| to < from) {
            bail!("--to is before --from");
        }
        all(replay, &mut out, args, from, to)?;
    }
    out.flush()?;
    Ok(Outcome::Fine)
}

/// Tells of what is missing, on standard error.
fn warn(step: &Step) {
    match step {
        Step::Damage(damage) => log::warn!("{damage}; everything else is replayed"),
        Step::Item(Item::Lost(count)) => log::warn!("{count} samples could not be recorded"),
        Step::OtherConfig(problems) => {
            log::warn!("the recorded configuration is not understood, the one before is used: {problems}");
        }
        _ => {}
    }
}

/// The last moment that is not after `at`, with everything from the beginning on taken into account.
fn moment_of(mut replay: Replay, at: SystemTime, span: Span) -> Result<Box<Moment>> {
    let mut progress = Progress::new();
    let mut latest = None;
    while let Some(step) = replay.next() {
        let step = step?;
        warn(&step);
        progress.show(&replay);
        if let Step::Moment(moment) = step {
            if moment.report.sample.at > at {
                break;
            }
            latest = Some(moment);
        }
    }
    progress.end();
    let show = crate::view::timestamp;
    let Some(moment) = latest else {
        bail!(
            "nothing was recorded up to {}: the recording is from {} to {}",
            show(at),
            show(span.first),
            show(span.last)
        );
    };
    Ok(moment)
}

fn print_moment(out: &mut impl Write, moment: &Moment, form: Form) -> Result<()> {
    match form {
        Form::Findings => print::open(out, moment)?,
        Form::States => {
            print::states_head(out)?;
            print::states(out, moment)?;
        }
        Form::Metrics => match serve::metrics_page(&moment.report, &moment.findings) {
            Ok(page) => out.write_all(page.as_bytes())?,
            Err(error) => bail!("cannot write the page of metrics: {error}"),
        },
        Form::Json | Form::Top => writeln!(out, "{}", print::moment_json(moment))?,
    }
    Ok(())
}

fn all(
    mut replay: Replay,
    out: &mut impl Write,
    args: &ReplayArgs,
    from: SystemTime,
    to: Option<SystemTime>,
) -> Result<()> {
    let mut progress = Progress::new();
    let mut printer = Printer::new(args.every, from, args.form == Form::Json, args.form == Form::States);
    if args.form == Form::States {
        print::states_head(out)?;
    }
    while let Some(step) = replay.next() {
        let step = step?;
        warn(&step);
        progress.show(&replay);
        // Before `from` everything is looked at and nothing shown.
        if to.is_some_and(|to| replay.at() > to) {
            break;
        }
        if replay.at() >= from {
            progress.end();
            printer.step(out, replay.at(), &step)?;
        } else if let Step::Moment(moment) = &step {
            printer.look(moment);
        }
    }
    progress.end();
    printer.end(out)
}

/// How far it is, for people who wait at a terminal.
struct Progress {
    /// When it was shown last; `None` where nobody waits.
    shown: Option<Instant>,
    is_visible: bool,
}

impl Progress {
    fn new() -> Self {
        Self { shown: io::stderr().is_terminal().then(Instant::now), is_visible: false }
    }

    fn show(&mut self, replay: &Replay) {
        let Some(shown) = &mut self.shown else { return };
        if shown.elapsed() >= Duration::from_millis(500) {
            *shown = Instant::now();
            self.is_visible = true;
            let (read, total) = replay.progress();
            // Nobody needs it.
            let _ = write!(io::stderr(), "\r{} % read\x1b[K", read.saturating_mul(100) / total.max(1));
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.is_visible) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
