//! How what is replayed is shown.

use std::io::Write;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use serde_json::{Value, json};
use tcpwatch_common::TcpState;

use crate::finding::Finding;
use crate::record::{Item, Rare};
use crate::replay::{Moment, Step};
use crate::view::{findings, states, timestamp};

/// Shows steps as they come.
pub(super) struct Printer {
    every: Duration,
    from: SystemTime,
    is_json: bool,
    /// States instead of findings.
    is_states: bool,
    /// When states were shown last.
    shown: Option<SystemTime>,
    samples: u64,
    opened: u64,
    last: Option<SystemTime>,
    /// Findings that are open at the last sample.
    open: Vec<Finding>,
}

impl Printer {
    pub(super) fn new(every: Duration, from: SystemTime, is_json: bool, is_states: bool) -> Self {
        Self {
            every,
            from,
            is_json,
            is_states,
            shown: None,
            samples: 0,
            opened: 0,
            last: None,
            open: Vec::new(),
        }
    }

    /// A moment before the first that is shown.
    pub(super) fn look(&mut self, moment: &Moment) {
        self.open.clone_from(&moment.findings.open);
    }

    pub(super) fn step(&mut self, out: &mut impl Write, at: SystemTime, step: &Step) -> Result<()> {
        match step {
            Step::Moment(moment) => self.moment(out, moment),
            _ if self.is_states => Ok(()),
            _ if self.is_json => Ok(json_step(at, step).map_or(Ok(()), |line| writeln!(out, "{line}"))?),
            Step::Start(start) => {
                let host = start.host.as_deref().unwrap_or("an unnamed host");
                let redacted = if start.redacted { ", addresses are not the real ones" } else { "" };
                Ok(writeln!(out, "{}  tcpwatch {} starts on {host}{redacted}", timestamp(at), start.version)?)
            }
            Step::Item(Item::Rare(rare)) => Ok(writeln!(out, "{}  {}", timestamp(at), rare_text(rare))?),
            _ => Ok(()),
        }
    }

    fn moment(&mut self, out: &mut impl Write, moment: &Moment) -> Result<()> {
        let at = moment.report.sample.at;
        if self.samples == 0 && !self.is_states && !self.is_json {
            for finding in self.open.iter().filter(|finding| finding.since < self.from) {
                writeln!(out, "{}  open since {}", timestamp(at), timestamp(finding.since))?;
                told(out, finding)?;
            }
        }
        self.samples += 1;
        self.opened += moment.findings.opened_now.len() as u64;
        self.last = Some(at);
        self.open.clone_from(&moment.findings.open);
        if !self.is_states {
            for finding in &moment.findings.opened_now {
                if self.is_json {
                    writeln!(out, "{}", json_change("opened", at, finding)?)?;
                } else {
                    writeln!(out, "{}  opened", timestamp(at))?;
                    told(out, finding)?;
                }
            }
            for finding in &moment.findings.closed_now {
                if self.is_json {
                    writeln!(out, "{}", json_change("closed", at, finding)?)?;
                } else {
                    let lasted = at.duration_since(finding.since).unwrap_or_default().as_secs();
                    writeln!(out, "{}  closed after {lasted} s: {}", timestamp(at), finding.id)?;
                }
            }
        }
        let is_due =
            self.shown.is_none_or(|shown| at.duration_since(shown).map_or(true, |age| age >= self.every));
        if (self.is_states || self.is_json) && is_due {
            self.shown = Some(at);
            if self.is_json {
                writeln!(out, "{}", moment_json(moment))?;
            } else {
                states(out, moment)?;
            }
        }
        Ok(())
    }

    pub(super) fn end(self, out: &mut impl Write) -> Result<()> {
        if self.is_states || self.is_json {
            return Ok(());
        }
        let end = self.last.map_or_else(|| "no sample".into(), timestamp);
        let Self { samples, opened, .. } = self;
        writeln!(
            out,
            "{end}  the end: {samples} samples, {opened} findings opened, {} still open",
            self.open.len()
        )?;
        for finding in &self.open {
            writeln!(out, "  {} since {}", finding.id, timestamp(finding.since))?;
        }
        Ok(())
    }
}

/// A finding with its explanation, short.
fn told(out: &mut impl Write, finding: &Finding) -> Result<()> {
    let seen = &finding.seen;
    let owner = seen.subject.owner.as_ref();
    let owner = owner.map_or_else(|| "an unknown process".into(), ToString::to_string);
    writeln!(out, "  {} {} of {owner}", seen.severity.name(), finding.id)?;
    writeln!(out, "    {}", seen.summary)?;
    writeln!(out, "    {}", seen.meaning)?;
    if let Some(advice) = seen.advice.first() {
        writeln!(out, "    Do: {advice}")?;
    }
    Ok(())
}

/// The findings that are open at a moment.
pub(super) fn open(out: &mut impl Write, moment: &Moment) -> Result<()> {
    let at = timestamp(moment.report.sample.at);
    writeln!(out, "{at}  {} findings open", moment.findings.open.len())?;
    for finding in &moment.findings.open {
        told(out, finding)?;
        writeln!(out, "    Open since {}", timestamp(finding.since))?;
    }
    Ok(())
}

pub(super) fn states_head(out: &mut impl Write) -> Result<()> {
    write!(out, "{:<24}", "time")?;
    for state in TcpState::RFC {
        write!(out, " {:>11}", state.name())?;
    }
    Ok(writeln!(out)?)
}

pub(super) fn states(out: &mut impl Write, moment: &Moment) -> Result<()> {
    let view = states::states(&moment.report, None);
    write!(out, "{:<24}", view.at)?;
    for state in TcpState::RFC {
        let count = view.states.get(state.name()).and_then(Value::as_u64);
        write!(out, " {:>11}", count.map_or_else(|| "?".into(), |count| count.to_string()))?;
    }
    Ok(writeln!(out)?)
}

pub(super) fn moment_json(moment: &Moment) -> Value {
    let at = moment.report.sample.at;
    let states = states::states(&moment.report, None);
    let open = findings::findings(&moment.findings, at, findings::Choice::default());
    json!({
        "type": "moment", "at": timestamp(at), "states": states.states, "detail": states.detail,
        "netns": states.netns, "findings": open.findings,
    })
}

fn json_change(what: &str, at: SystemTime, finding: &Finding) -> Result<Value> {
    let finding = serde_json::to_value(findings::Finding::from(finding))?;
    Ok(json!({"type": what, "at": timestamp(at), "finding": finding}))
}

fn json_step(at: SystemTime, step: &Step) -> Option<Value> {
    let at = timestamp(at);
    Some(match step {
        Step::Start(start) => json!({
            "type": "start", "at": at, "version": start.version, "host": start.host, "kernel": start.kernel,
            "tick": start.tick.as_secs_f64(), "redacted": start.redacted,
        }),
        Step::Item(Item::Rare(rare)) => json!({
            "type": if rare.is_gap { "gap" } else { "illegal" }, "at": at, "netns": rare.netns,
            "from": state(rare.old), "to": state(rare.new),
            "expected": rare.is_gap.then(|| state(rare.expected)).flatten(),
            "local": rare.local.to_string(), "remote": rare.remote.to_string(), "pid": rare.pid,
        }),
        Step::Item(Item::Lost(count)) => json!({"type": "lost", "at": at, "samples": count}),
        Step::Damage(damage) => json!({"type": "damage", "at": at, "message": damage.to_string()}),
        _ => return None,
    })
}

fn state(raw: u8) -> Option<&'static str> {
    TcpState::from_kernel(raw.into()).map(TcpState::name)
}

fn rare_text(rare: &Rare) -> String {
    let name = |raw| state(raw).map_or_else(|| format!("state {raw}"), str::to_owned);
    let Rare { local, remote, netns, .. } = rare;
    let what = if rare.is_gap {
        format!("gap: {} where {} was known", name(rare.old), name(rare.expected))
    } else {
        format!("illegal transition {} > {}", name(rare.old), name(rare.new))
    };
    format!("{what}, {local} {remote} in network namespace {netns}")
}
