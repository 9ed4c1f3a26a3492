//! `tcpwatch findings`: what is wrong now, whose it is, what it means and what to do.

mod alone;
pub(super) mod show;
mod watch;

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::client::{self, Client};
use super::{Outcome, Remote, markdown};
use crate::finding::{Kind, Severity};
use crate::sample::What;
use alone::Alone;

const EXAMPLES: &str = "\
Examples:
  tcpwatch findings                               what is wrong now, in short
  tcpwatch findings --long                        with meaning, evidence, all advice, commands that verify
  tcpwatch findings --severity critical --kind syn_flood --kind accept_queue_overflow
  tcpwatch findings --closed 1h                   also what was wrong within the last hour
  tcpwatch findings --watch                       tells of each one that opens and closes, until Ctrl-C
  tcpwatch findings --remote http://db1:9717      of another host
  tcpwatch findings --alone --for 10s             without a daemon
  tcpwatch findings --json | jq -r '.findings[].summary'

Exit codes: 0 no open findings, 1 open findings, 2 it could not be found out, 64 wrong usage.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct FindingsArgs {
    /// Everything that is known of each: meaning, evidence, all advice, commands that verify it.
    #[arg(short, long, conflicts_with = "json")]
    long: bool,
    #[command(flatten)]
    choice: Choice,
    /// Also those that were closed so long ago or less, such as 10m or 1h (the daemon remembers an hour).
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "watch")]
    closed: Option<Duration>,
    /// Go on, and tell of each finding that opens, changes its severity or closes.
    #[arg(short, long)]
    watch: bool,
    /// How long to look if there is no daemon.
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = parse_look)]
    look: Duration,
    /// One JSON object, as the API has it; with --watch one a line for each change.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Which findings are meant.
#[derive(Debug, Args)]
pub(super) struct Choice {
    /// Only this kind; may be given several times.
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::name)))]
    pub(super) kind: Vec<String>,
    /// Only those of this network namespace, by inode number (see `lsns -t net`).
    #[arg(long, value_name = "INODE")]
    pub(super) netns: Option<u64>,
    /// Only those at least as severe.
    #[arg(long, value_name = "SEVERITY", default_value = "warning")]
    severity: Least,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Least {
    Warning,
    Critical,
}

impl Choice {
    /// Leaves the chosen ones in an answer of `/api/v1/findings`.
    pub(super) fn retain(&self, answer: &mut Value) -> Result<()> {
        let list = answer["findings"].as_array_mut().context("the daemon's answer has no findings in it")?;
        list.retain(|finding| {
            let is = |name: &str, value: &str| finding[name] == value;
            let kind = self.kind.is_empty() || self.kind.iter().any(|kind| is("kind", kind));
            let severity =
                matches!(self.severity, Least::Warning) || is("severity", Severity::Critical.name());
            kind && severity
        });
        Ok(())
    }
}

pub(super) fn findings(args: &FindingsArgs) -> Result<Outcome> {
    if args.watch {
        return watch::watch(args);
    }
    let answer = match client::get(&args.remote, &path(args))? {
        Some(mut answer) => {
            let status = client::get(&args.remote, "/api/v1/status")?.unwrap_or_default();
            answer["notes"] = limits(&status)?.into_iter().collect();
            answer
        }
        None => Alone::open()?.look(args)?,
    };
    let answer = chosen(args, answer)?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{answer}")?;
    } else {
        write!(out, "{}", show::list(&answer, args.long, markdown::has_colours()))?;
    }
    let is_open = |finding: &Value| finding["closed"].is_null();
    let any = answer["findings"].as_array().is_some_and(|list| list.iter().any(is_open));
    Ok(if any { Outcome::Findings } else { Outcome::Fine })
}

/// What a daemon cannot find, by its `/api/v1/status`. It fails if that is everything. No finding needs services.
pub(super) fn limits(status: &Value) -> Result<Vec<String>> {
    ensure!(
        status["source"] != "netlink",
        "the daemon works without eBPF, and findings need it; `tcpwatch doctor` on its host says what would help"
    );
    let all = status["shortages"].as_array().into_iter().flatten();
    let blinding = all.filter(|one| one["what"] != What::Services.name());
    Ok(blinding.filter_map(|one| one["text"].as_str()).map(str::to_owned).collect())
}

/// Where the daemon has them.
fn path(args: &FindingsArgs) -> String {
    let netns = args.choice.netns.map(|netns| format!("netns={netns}"));
    let closed = args.closed.map(|closed| format!("closed={}", closed.as_secs()));
    let query: Vec<String> = [netns, closed].into_iter().flatten().collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/api/v1/findings{mark}{}", query.join("&"))
}

fn chosen(args: &FindingsArgs, mut answer: Value) -> Result<Value> {
    args.choice.retain(&mut answer)?;
    Ok(answer)
}

/// `90`, `90s`, `10m`, `1h`.
fn parse_time(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let seconds = factor.and_then(|factor| digits.parse::<u64>().ok()?.checked_mul(factor));
    seconds
        .map(Duration::from_secs)
        .context("a time is a whole number with s, m or h, such as 90s, 10m or 1h")
}

fn parse_look(text: &str) -> Result<Duration> {
    let time = parse_time(text)?;
    let bounds = Duration::from_secs(1)..=Duration::from_hours(1);
    ensure!(bounds.contains(&time), "between 1s and 1h");
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("10m", 600), ("1h", 3600), ("0", 0)] {
            assert_eq!(parse_time(text).ok(), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "1d", "-1s", "1.5h", "99999999999999999999h", "9999999999999999999h"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
        assert!(parse_look("0s").is_err() && parse_look("2h").is_err() && parse_look("1s").is_ok());
    }

    #[test]
    fn what_a_daemon_cannot_find_is_told() {
        let status = |source: &str, told: &[&str]| {
            let shortages: Vec<_> =
                told.iter().map(|text| json!({"what": "sockets", "text": text})).collect();
            json!({"source": source, "shortages": shortages})
        };
        for told in [&[][..], &["7 times"], &["7 times", "8 sockets"]] {
            assert_eq!(limits(&status("ebpf", told)).expect("it can"), told);
        }
        let services =
            json!({"source": "ebpf", "shortages": [{"what": "services", "text": "9 connections"}]});
        assert!(limits(&services).expect("it can").is_empty());
        assert!(limits(&status("netlink", &[])).is_err());
        assert!(limits(&json!({"source": "ebpf"})).expect("an older daemon").is_empty());
    }

    #[test]
    fn the_chosen_ones_stay() {
        let answer = json!({"findings": [
            {"kind": "syn_flood", "severity": "critical"},
            {"kind": "syn_flood", "severity": "warning"},
            {"kind": "reset_storm", "severity": "critical"},
        ]});
        let left = |kind: &[&str], severity| {
            let kind = kind.iter().map(|kind| (*kind).to_owned()).collect();
            let mut answer = answer.clone();
            Choice { kind, severity, netns: None }.retain(&mut answer).expect("a list");
            answer["findings"].as_array().expect("a list").len()
        };
        assert_eq!(left(&[], Least::Warning), 3);
        assert_eq!(left(&[], Least::Critical), 2);
        assert_eq!(left(&["syn_flood"], Least::Warning), 2);
        assert_eq!(left(&["syn_flood", "reset_storm"], Least::Critical), 2);
        assert_eq!(left(&["silent_peer"], Least::Warning), 0);
        let choice = Choice { kind: Vec::new(), severity: Least::Warning, netns: None };
        assert!(choice.retain(&mut json!({"x": 1})).is_err());
    }
}
