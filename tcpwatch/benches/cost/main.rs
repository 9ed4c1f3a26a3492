//! What tcpwatch costs: `cargo xtask bench`.
//!
//! Every comparison is made in one interleaved run, because machines drift: ratios are to be trusted, absolute times
//! are not. Prints Markdown; `docs/performance.md` keeps one result.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "prints its results")]

mod churn;
mod daemon;
mod listing;
mod per_event;

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask bench [--rounds N] [--seconds S]

  --rounds N    interleaved rounds of each comparison (default 7)
  --seconds S   length of one run of connection churn (default 2)
  --listing     only `netstat` against `ss`";

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    seconds: u64,
}

fn main() -> Result<()> {
    let mut effort = Effort { rounds: 7, seconds: 2 };
    let mut only_listing = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|text| text.parse::<u64>().ok());
        match arg.as_str() {
            // Cargo passes it to every benchmark.
            "--bench" => {}
            churn::WORKER => return churn::work(number().unwrap_or(1)),
            daemon::HOLDER => return daemon::hold(number().unwrap_or(0)),
            "--listing" => only_listing = true,
            "--rounds" | "--seconds" => match number() {
                Some(0) | None => bail!("{arg} takes a number above 0\n\n{USAGE}"),
                Some(rounds) if arg == "--rounds" => effort.rounds = usize::try_from(rounds)?,
                Some(seconds) => effort.seconds = seconds,
            },
            "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            other => bail!("unknown argument {other}\n\n{USAGE}"),
        }
    }
    if only_listing {
        return listing::run(effort);
    }
    per_event::run(effort)?;
    churn::run(effort)?;
    daemon::wakeups(effort)?;
    daemon::memory()?;
    listing::run(effort)
}

/// The middle of some measurements.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
