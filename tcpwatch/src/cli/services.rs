//! `tcpwatch services`: figures of ended connections by service.

use std::cmp::Ordering;
use std::io::{self, Write};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{Outcome, Remote, client, place};

const EXAMPLES: &str = "\
Examples:
  tcpwatch services                           services by the connections that ended in the last minute
  tcpwatch services --sort retransmits        where most is sent again
  tcpwatch services --sort rtt --limit 10     whose peers are the farthest away
  tcpwatch services --total                   all that was counted since the daemon runs
  tcpwatch services --netns 4026531840        of one network namespace
  tcpwatch services --json | jq -c '.services[] | [.port, .recent.retransmit_ratio]'

A connection is counted when it ends: one that is still open is in no figure here.

Exit codes: 0 fine, 2 it could not be done (there is no daemon), 64 wrong usage.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServicesArgs {
    /// What was counted since the daemon runs, instead of the last minute.
    #[arg(long)]
    total: bool,
    /// What comes first: the most connections, bytes both ways or segments sent again, or the longest round-trip time.
    #[arg(long, value_name = "WHAT", default_value = "connections")]
    sort: Sort,
    /// Show so many.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Only those of this network namespace, by inode number (see `lsns -t net`).
    #[arg(long, value_name = "INODE")]
    netns: Option<u64>,
    /// One JSON object, as the API has it: all services, in the order of the API.
    #[arg(long, conflicts_with_all = ["total", "sort", "limit"])]
    json: bool,
    /// Ask the daemon at `http://HOST:PORT[/PREFIX]`, `HOST:PORT` or `unix:/PATH`. Without it the daemon of this host is
    /// asked, if one runs: at /run/tcpwatch/tcpwatch.sock, else at 127.0.0.1:9717.
    #[arg(long, value_name = "URL")]
    remote: Option<client::Address>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sort {
    Connections,
    Bytes,
    Retransmits,
    Rtt,
}

pub(super) fn services(args: &ServicesArgs) -> Result<Outcome> {
    let path = match args.netns {
        Some(netns) => format!("/api/v1/services?netns={netns}"),
        None => "/api/v1/services".into(),
    };
    let remote = Remote { remote: args.remote.clone(), alone: false };
    let Some(answer) = client::get(&remote, &path)? else {
        bail!(
            "no daemon runs on this host, and connections are counted when they end, while one runs: start \
             `tcpwatch run`, or name another daemon by --remote"
        );
    };
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{answer}")?;
    } else {
        print(&mut out, &answer, args)?;
    }
    Ok(Outcome::Fine)
}

fn print(out: &mut dyn Write, answer: &Value, args: &ServicesArgs) -> Result<()> {
    let figures = |counted: &Value| counted[if args.total { "total" } else { "recent" }].clone();
    let all = answer["services"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut shown: Vec<(&Value, Value)> =
        all.iter().map(|one| (one, figures(one))).filter(|(_, figures)| !figures.is_null()).collect();
    shown.sort_by(|(_, one), (_, other)| {
        rank(other, args.sort).partial_cmp(&rank(one, args.sort)).unwrap_or(Ordering::Equal)
    });
    let total = shown.len();
    let mut lines = vec![
        [
            "service",
            "ended",
            "sent",
            "received",
            "again",
            "rtt half",
            "rtt 90%",
            "limited by",
            "owner",
            "netns",
        ]
        .map(String::from),
    ];
    let shown = shown.iter().take(args.limit);
    lines.extend(shown.map(|(one, figures)| line(name(one), owner(&one["owner"]), &one["netns"], figures)));
    let other = figures(&answer["other"]);
    if other["connections"].as_u64().is_some_and(|count| count > 0) {
        lines.push(line("other".into(), "-".into(), &Value::Null, &other));
    }
    table(out, &lines)?;
    if total > args.limit {
        writeln!(out, "\n{} of {total} services are shown: --limit shows more", args.limit)?;
    }
    if lines.len() == 1 {
        let within = if args.total {
            "since the daemon runs"
        } else {
            "in the last minute: --total shows earlier ones"
        };
        writeln!(out, "no connection ended {within}")?;
    }
    Ok(())
}

fn rank(figures: &Value, sort: Sort) -> f64 {
    let number = |field: &str| figures[field].as_f64().unwrap_or(0.0);
    match sort {
        Sort::Connections => number("connections"),
        Sort::Bytes => number("bytes_out") + number("bytes_in"),
        Sort::Retransmits => number("retransmitted"),
        Sort::Rtt => number("rtt_median_below"),
    }
}

/// `:443` is here, `*:443` there.
fn name(service: &Value) -> String {
    let port = service["port"].as_u64();
    match (service["side"].as_str(), port) {
        (Some("here"), Some(port)) => format!(":{port} here"),
        (Some("there"), Some(port)) => format!("to :{port}"),
        _ => "unknown side".into(),
    }
}

fn line(name: String, owner: String, netns: &Value, figures: &Value) -> [String; 10] {
    let number = |field: &str| figures[field].as_u64();
    let seconds = |field: &str| figures[field].as_f64().map_or_else(|| "?".into(), below);
    [
        name,
        number("connections").map_or_else(|| "?".into(), |count| count.to_string()),
        bytes(number("bytes_out")),
        bytes(number("bytes_in")),
        again(figures),
        seconds("rtt_median_below"),
        seconds("rtt_p90_below"),
        limited(figures),
        owner,
        netns.as_u64().map_or_else(|| "-".into(), |netns| netns.to_string()),
    ]
}

fn bytes(count: Option<u64>) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let Some(count) = count else { return "?".into() };
    if count < 1024 {
        return format!("{count} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut size = count as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"");
    while size >= 1000.0 {
        let Some(next) = units.next() else { break };
        (size, unit) = (size / 1024.0, next);
    }
    format!("{size:.1} {unit}")
}

/// Segments sent again, and their share.
fn again(figures: &Value) -> String {
    let Some(count) = figures["retransmitted"].as_u64() else { return "?".into() };
    match figures["retransmit_ratio"].as_f64() {
        Some(ratio) if count > 0 => format!("{count} ({:.2}%)", ratio * 100.0),
        _ => count.to_string(),
    }
}

fn below(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.001 => format!("<{:.0}us", seconds * 1e6),
        seconds if seconds < 1.0 => format!("<{:.0}ms", seconds * 1e3),
        seconds => format!("<{seconds:.1}s"),
    }
}

/// What held data back for most of the time.
fn limited(figures: &Value) -> String {
    let parts = [
        ("busy_seconds", "network"),
        ("window_limited_seconds", "peer"),
        ("buffer_limited_seconds", "buffer"),
    ];
    let times = parts.map(|(field, name)| (figures[field].as_f64(), name));
    if times.iter().any(|(time, _)| time.is_none()) {
        return "?".into();
    }
    let times = times.map(|(time, name)| (time.unwrap_or(0.0), name));
    let all: f64 = times.iter().map(|(time, _)| time).sum();
    let most = times.into_iter().max_by(|(one, _), (other, _)| one.total_cmp(other));
    match most {
        Some((time, name)) if all > 0.0 => format!("{name} {:.0}% of {all:.1}s", time / all * 100.0),
        _ => "-".into(),
    }
}

fn owner(told: &Value) -> String {
    let process: String = told["process"]
        .as_str()
        .unwrap_or("-")
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    let pid = told["pid"].as_u64().map(|pid| format!("[{pid}]")).unwrap_or_default();
    let container = place::word(told).map(|word| format!(" {word}")).unwrap_or_default();
    format!("{process}{pid}{container}")
}

fn table(out: &mut dyn Write, lines: &[[String; 10]]) -> Result<()> {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0) + 2;
    let widths: [usize; 10] = std::array::from_fn(width);
    for line in lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "{}", cells.collect::<String>().trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_is_one_line() {
        let figures = json!({
            "connections": 12, "bytes_out": 1_500_000, "bytes_in": 900, "retransmitted": 5, "retransmit_ratio": 0.0125,
            "rtt_median_below": 0.000_262_144, "rtt_p90_below": 2.147, "busy_seconds": 3.0,
            "window_limited_seconds": 1.0, "buffer_limited_seconds": 0.0,
        });
        let here = json!({"side": "here", "port": 443, "netns": 7, "owner": {"process": "we\u{1b}b", "pid": 9},
            "recent": figures, "total": figures});
        let idle =
            json!({"side": "there", "port": 5432, "netns": 7, "owner": {}, "recent": null, "total": figures});
        let answer =
            json!({"services": [idle, here], "other": {"recent": null, "total": {"connections": 3}}});
        let shown = |total| {
            let args =
                ServicesArgs { total, sort: Sort::Rtt, limit: 9, netns: None, json: false, remote: None };
            let mut out = Vec::new();
            print(&mut out, &answer, &args).expect("writes to memory");
            String::from_utf8(out).expect("UTF-8")
        };
        let recent = shown(false);
        let words: Vec<&str> =
            recent.lines().nth(1).expect("a line").split("  ").filter(|word| !word.is_empty()).collect();
        let words: Vec<&str> = words.into_iter().map(str::trim).collect();
        assert_eq!(
            words,
            [
                ":443 here",
                "12",
                "1.4 MiB",
                "900 B",
                "5 (1.25%)",
                "<262us",
                "<2.1s",
                "network 75% of 4.0s",
                "we?b[9]",
                "7"
            ]
        );
        assert_eq!(recent.lines().count(), 2, "{recent}");
        let total = shown(true);
        assert!(
            total.contains("to :5432")
                && total.lines().last().is_some_and(|line| line.starts_with("other  ")),
            "{total}"
        );
        let unknown = line("x".into(), "-".into(), &Value::Null, &json!({"connections": 1}));
        assert_eq!(unknown[2..8], ["?", "?", "?", "?", "?", "?"].map(String::from));
    }
}
