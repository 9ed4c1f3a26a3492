//! What tcpwatch costs: `cargo xtask bench`.
//!
//! Every comparison is made in one interleaved run, because machines drift: ratios are to be trusted, absolute times
//! are not. Prints Markdown; `docs/performance.md` keeps one result.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "prints its results")]

mod churn;
mod daemon;
mod flood;
mod listing;
mod per_event;
mod scale;
mod series;
#[path = "../../tests/live/support/mod.rs"]
mod support;

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask bench [--only PART] [--rounds N] [--seconds S]

  --only PART   one of per-event, churn, wakeups, memory, flood, tick, listing, series
  --rounds N    interleaved rounds of each comparison (default 7)
  --seconds S   length of one run of connection churn or of a flood (default 2)";

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    seconds: u64,
}

fn main() -> Result<()> {
    let mut effort = Effort { rounds: 7, seconds: 2 };
    let mut only = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|text| text.parse::<u64>().ok());
        match arg.as_str() {
            // Cargo passes it to every benchmark.
            "--bench" => {}
            churn::WORKER => return churn::work(number().unwrap_or(1)),
            series::POD => return series::pod(number().unwrap_or(0)),
            daemon::HOLDER => return daemon::hold(number().unwrap_or(0)),
            "--rounds" | "--seconds" => match number() {
                Some(0) | None => bail!("{arg} takes a number above 0\n\n{USAGE}"),
                Some(rounds) if arg == "--rounds" => effort.rounds = usize::try_from(rounds)?,
                Some(seconds) => effort.seconds = seconds,
            },
            "--only" => only = args.next(),
            "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            other => bail!("unknown argument {other}\n\n{USAGE}"),
        }
    }
    let parts: [Part; 8] = [
        ("per-event", per_event::run),
        ("churn", churn::run),
        ("wakeups", daemon::wakeups),
        ("memory", |_| daemon::memory()),
        ("flood", flood::run),
        ("tick", scale::run),
        ("listing", listing::run),
        ("series", series::run),
    ];
    if let Some(name) = &only
        && !parts.iter().any(|(part, _)| part == name)
    {
        bail!("there is no part {name}\n\n{USAGE}");
    }
    parts
        .iter()
        .filter(|(part, _)| only.as_deref().is_none_or(|only| only == *part))
        .try_for_each(|(_, run)| run(effort))
}

/// A part of the benchmark by its name.
type Part = (&'static str, fn(Effort) -> Result<()>);

/// The middle of some measurements.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
