//! `tcpwatch check`: one line, figures for graphs, and the exit code of a monitoring plugin.
//!
//! It ends as monitoring systems expect of plugins (see the Monitoring Plugins Development Guidelines): also wrong
//! usage is UNKNOWN here.

mod range;
mod verdict;

use std::ffi::OsString;
use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::Value;

use super::Outcome;
use super::client::{Address, Client, ClientError};
use super::findings::{Choice, limits};
use crate::causes::causes;
use range::Limit;
use verdict::{Answers, Level, Verdict};

const EXAMPLES: &str = "\
Examples:
  tcpwatch check                                        findings of the daemon on this host
  tcpwatch check --remote http://db1:9717 --timeout 5   of another host
  tcpwatch check --kind syn_flood --kind accept_queue_overflow
  tcpwatch check --warning close_wait=100 --critical close_wait=1000 --critical established=1:

Figures: the eleven states (established, close_wait, …), findings_critical, findings_warning, drops (of listeners,
since the daemon started). A range is as plugins have it: 10 is 0 to 10, 10: at least 10, ~:10 at most 10, 10:20
between them, @10:20 not between them. What is outside raises the alarm.

Exit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (no answer from the daemon, wrong usage, or nothing found while there
was more to watch than the daemon has room for).";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// WARNING if a figure is outside a range, such as `close_wait=100`; may be given several times.
    #[arg(short, long, value_name = "FIGURE=RANGE")]
    warning: Vec<Limit>,
    /// CRITICAL if a figure is outside a range; may be given several times.
    #[arg(short, long, value_name = "FIGURE=RANGE")]
    critical: Vec<Limit>,
    #[command(flatten)]
    choice: Choice,
    /// Ask the daemon at `http://HOST:PORT[/PREFIX]`, `HOST:PORT` or `unix:/PATH`; by default the daemon of this host.
    #[arg(long, value_name = "URL")]
    remote: Option<Address>,
    /// Seconds for each answer of the daemon.
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

pub(super) fn check(args: &CheckArgs) -> Result<Outcome> {
    let verdict = match verdict(args) {
        Ok(verdict) => verdict,
        Err(error) => Verdict::unknown(&causes(error.as_ref())),
    };
    // A monitoring system that does not read on still wants the code.
    match io::stdout().lock().write_all(verdict.text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Outcome::Code(verdict.level.code())),
    }
}

fn verdict(args: &CheckArgs) -> Result<Verdict> {
    let client = match &args.remote {
        Some(address) => Some(Client::new(address.clone())),
        None => Client::of_this_host(),
    };
    let Some(mut client) = client else {
        bail!("no daemon runs on this host: `tcpwatch run` starts it, --remote asks another host");
    };
    client.within = Duration::from_secs(args.timeout);
    let answers = ask(&client, args)?;
    Ok(Verdict::of(&answers, &args.warning, &args.critical))
}

fn ask(client: &Client, args: &CheckArgs) -> Result<Answers> {
    // Answers are of the latest sample, however old; this one fails if that is too old.
    client.bytes("/healthz")?;
    let query = args.choice.netns.map(|netns| format!("?netns={netns}")).unwrap_or_default();
    let get = |path: &str| -> Result<Value, ClientError> { client.json(&format!("/api/v1/{path}{query}")) };
    let mut findings = get("findings")?;
    args.choice.retain(&mut findings)?;
    let notes = limits(&client.json("/api/v1/status")?)?;
    Ok(Answers { findings, states: get("states")?, listeners: get("listeners")?, notes })
}

/// Whether these arguments of tcpwatch ask for a check, right or wrong.
pub(super) fn is_asked(mut args: impl Iterator<Item = OsString>) -> bool {
    args.next();
    args.find(|arg| !arg.to_string_lossy().starts_with('-')).is_some_and(|command| command == "check")
}

/// Tells a monitoring system, which does not read standard error, and gives the exit code.
pub(super) fn wrong_usage() -> u8 {
    let verdict = Verdict::unknown("wrong usage of `tcpwatch check`; standard error has the reason");
    // The code says it as well.
    let _ = io::stdout().lock().write_all(verdict.text.as_bytes());
    Level::Unknown.code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_the_first_word() {
        for (args, expected) in [
            (&["tcpwatch", "check", "--x"][..], true),
            (&["tcpwatch", "-v", "check"], true),
            (&["tcpwatch", "netstat", "check"], false),
            (&["check"], false),
        ] {
            assert_eq!(is_asked(args.iter().map(OsString::from)), expected, "{args:?}");
        }
    }
}
