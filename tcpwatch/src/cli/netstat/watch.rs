//! Again and again: `--watch`, and `-c` for those who know netstat.

use std::io::Write;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;

use super::NetstatArgs;
use super::asked::{Asked, Output};
use super::usage::Usage;
use crate::cli::Outcome;
use crate::view::timestamp;

/// Faster would only be in the way of others.
const SHORTEST: Duration = Duration::from_millis(100);

/// A number of seconds, such as `0.5`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seconds(Duration);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        match seconds {
            Some(seconds) if (SHORTEST..=Duration::from_hours(24)).contains(&seconds) => Ok(Self(seconds)),
            _ => Err("a number of seconds from 0.1 to 86400".into()),
        }
    }
}

/// How often, if not only once, and the words that are left for the filter: a number may follow the flag, as in
/// `netstat -c 5`.
pub(super) fn every(args: &NetstatArgs) -> Result<(Option<Duration>, &[String])> {
    let Some(Seconds(every)) = args.watch else { return Ok((None, &args.words)) };
    if args.json {
        return Err(Usage("--json is one object: take --json-lines to have it again and again".into()).into());
    }
    let words = args.words.as_slice();
    // No filter begins with a number.
    Ok(match words.first().and_then(|word| word.parse::<Seconds>().ok()) {
        Some(Seconds(every)) => (Some(every), &words[1..]),
        None => (Some(every), words),
    })
}

/// Shows it until nobody reads it any more, or it fails.
pub(super) fn watch(
    every: Duration,
    asked: &Asked,
    out: &mut dyn Write,
    mut once: impl FnMut(&mut dyn Write) -> Result<Outcome>,
) -> Result<Outcome> {
    loop {
        let began = Instant::now();
        if asked.output == Output::Table {
            if asked.width.is_some() {
                // To the top left, and nothing below.
                out.write_all(b"\x1b[H\x1b[J")?;
            }
            writeln!(out, "{}", timestamp(SystemTime::now()))?;
        }
        once(out)?;
        if asked.output == Output::Table && asked.width.is_none() {
            writeln!(out)?;
        }
        out.flush()?;
        std::thread::sleep(every.saturating_sub(began.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_bounds() {
        assert_eq!("0.5".parse::<Seconds>().map(|seconds| seconds.0), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "x", "NaN", "1e9", ""] {
            assert!(text.parse::<Seconds>().is_err(), "{text}");
        }
    }
}
