//! `tcpwatch netstat -s`: sockets by state, in every network namespace.

use std::io::Write;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tcpwatch_common::TcpState;

use super::{Asked, NetstatArgs, Outcome, client};
use crate::host::netns::discover;
use crate::host::terminal::clean;
use crate::model::Model;
use crate::source::{Fallback, Source as _};
use crate::view::states;

/// Counts all sockets, by the daemon if there is one.
pub(super) fn totals(args: &NetstatArgs, asked: &Asked, out: &mut dyn Write) -> Result<Outcome> {
    let netns = match &asked.netns.0 {
        None => None,
        // Names mean something on this host only.
        Some(text) => match text.parse() {
            Ok(number) => Some(number),
            Err(_) => asked.netns.choose(&discover()?.namespaces)?.number(),
        },
    };
    let path = match netns {
        Some(netns) => format!("/api/v1/states?netns={netns}"),
        None => "/api/v1/states".into(),
    };
    let answer = match client::get(&args.remote, &path)? {
        Some(answer) => answer,
        None => look(netns)?,
    };
    if args.json {
        writeln!(out, "{answer}")?;
    } else {
        print(out, &answer)?;
    }
    Ok(Outcome::Fine)
}

/// Without a daemon, netlink tells what is asked here.
fn look(netns: Option<u64>) -> Result<Value> {
    let sample = Fallback::open().and_then(|mut source| source.sample(true)).context("count the sockets")?;
    for problem in &sample.problems {
        log::warn!("{problem}");
    }
    let report = Model::default().apply(sample);
    if let Some(netns) = netns
        && !report.states.contains_key(&netns)
    {
        bail!("no network namespace {netns} was found; `lsns -t net` lists them");
    }
    Ok(serde_json::to_value(states::states(&report, netns))?)
}

/// A column for all, and one for each namespace that has sockets.
fn print(out: &mut dyn Write, answer: &Value) -> Result<()> {
    let all: Vec<&Value> = answer["netns"].as_array().map(|all| all.iter().collect()).unwrap_or_default();
    let busy: Vec<&Value> = all.iter().copied().filter(|namespace| count(namespace) > 0).collect();
    write!(out, "{:<12} {:>10}", "state", "all")?;
    for namespace in &busy {
        write!(out, " {:>16}", title(namespace))?;
    }
    writeln!(out)?;
    for state in TcpState::RFC {
        write!(out, "{:<12} {:>10}", state.name(), cell(answer, state))?;
        for namespace in &busy {
            write!(out, " {:>16}", cell(namespace, state))?;
        }
        writeln!(out)?;
    }
    let (empty, detail) = (all.len() - busy.len(), &answer["detail"]);
    if let (Some(half_open), Some(orphans)) =
        (detail["half_open"].as_u64(), detail["fin_wait2_orphaned"].as_u64())
    {
        writeln!(
            out,
            "\nof these {half_open} half-open requests in syn_recv, {orphans} orphans in fin_wait2"
        )?;
    }
    if empty > 0 {
        writeln!(out, "\n{empty} network namespaces without sockets are not shown")?;
    }
    if detail["complete"] == Value::Bool(false) {
        writeln!(
            out,
            "\nincomplete: socket counts lack some sockets, or those of a namespace are not known"
        )?;
    }
    for problem in answer["problems"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        writeln!(out, "{}", clean(problem))?;
    }
    Ok(())
}

fn count(namespace: &Value) -> u64 {
    let states = namespace["states"].as_object();
    states.map_or(0, |states| states.values().filter_map(Value::as_u64).sum())
}

fn title(namespace: &Value) -> String {
    let number = namespace["netns"].as_u64().unwrap_or(0);
    namespace["name"].as_str().map_or_else(|| number.to_string(), clean)
}

fn cell(counts: &Value, state: TcpState) -> String {
    counts["states"][state.name()].as_u64().map_or_else(|| "?".into(), |count| count.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_is_shown_as_such_and_empty_namespaces_are_only_counted() {
        let answer = json!({
            "states": {"established": 3, "syn_recv": null},
            "detail": {"half_open": null, "complete": false},
            "netns": [
                {"netns": 7, "name": "web", "states": {"established": 3}},
                {"netns": 8, "states": {"established": 0}}
            ]
        });
        let mut out = Vec::new();
        print(&mut out, &answer).expect("writes to memory");
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(
            text.starts_with(
                "state               all              web\nestablished           3                3\n"
            ),
            "{text}"
        );
        assert!(text.contains("syn_recv              ?"), "{text}");
        assert!(text.contains("1 network namespaces without sockets"), "{text}");
        assert!(text.contains("incomplete"), "{text}");
    }
}
