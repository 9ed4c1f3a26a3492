//! Findings as they open and close.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::alone::Alone;
use super::{Client, FindingsArgs, chosen, markdown, path, show};
use crate::causes::causes;
use crate::cli::Outcome;

const EVERY: Duration = Duration::from_secs(2);

/// Goes on until it is ended, or nobody reads any more.
pub(super) fn watch(args: &FindingsArgs) -> Result<Outcome> {
    let mut out = io::stdout().lock();
    let mut known = Known::default();
    let Some(client) = Client::find(&args.remote) else {
        let mut alone = Alone::open()?;
        loop {
            tell(&mut out, args, &mut known, alone.tick(args)?)?;
        }
    };
    // What is wrong with the question is wrong at once.
    tell(&mut out, args, &mut known, client.json(&path(args))?)?;
    let mut is_gone = false;
    loop {
        thread::sleep(EVERY);
        match client.json(&path(args)) {
            Ok(answer) => {
                if std::mem::take(&mut is_gone) {
                    log::warn!("the daemon at {} answers again", client.address());
                }
                tell(&mut out, args, &mut known, answer)?;
            }
            Err(error) => {
                if !std::mem::replace(&mut is_gone, true) {
                    log::warn!("{}; trying again every {} s", causes(&error), EVERY.as_secs());
                }
            }
        }
    }
}

/// Prints what has changed.
fn tell(out: &mut impl Write, args: &FindingsArgs, known: &mut Known, answer: Value) -> Result<()> {
    let answer = chosen(args, answer)?;
    let is_first = !std::mem::replace(&mut known.has_begun, true);
    let changes = known.changes(&answer);
    if args.json {
        for (change, finding) in changes {
            writeln!(out, "{}", json!({"at": answer["at"], "change": change.name(), "finding": finding}))?;
        }
    } else {
        if is_first && changes.is_empty() {
            writeln!(out, "no findings yet")?;
        }
        let colours = markdown::has_colours();
        for (change, finding) in changes {
            writeln!(out, "{}", show::change(change, &finding, &answer["at"], args.long, colours))?;
        }
    }
    Ok(out.flush()?)
}

/// What happened to a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    /// It is more severe than before, or less.
    Severity,
    Closed,
}

impl Change {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Severity => "severity",
            Self::Closed => "closed",
        }
    }
}

/// The findings that were open at the last look.
#[derive(Debug, Default)]
struct Known {
    has_begun: bool,
    open: BTreeMap<String, Value>,
}

impl Known {
    /// What is different, the closed ones first.
    fn changes(&mut self, answer: &Value) -> Vec<(Change, Value)> {
        let list = answer["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut now = BTreeMap::new();
        let mut changes = Vec::new();
        for finding in list.iter().filter(|finding| finding["closed"].is_null()) {
            let id = finding["id"].as_str().unwrap_or_default().to_owned();
            match self.open.remove(&id) {
                None => changes.push((Change::Opened, finding.clone())),
                Some(before) if before["severity"] != finding["severity"] => {
                    changes.push((Change::Severity, finding.clone()));
                }
                Some(_) => {}
            }
            now.insert(id, finding.clone());
        }
        let over = std::mem::replace(&mut self.open, now);
        let closed = over.into_values().map(|mut finding| {
            finding["closed"] = answer["at"].clone();
            (Change::Closed, finding)
        });
        closed.chain(changes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_told() {
        let one = |id: &str, severity: &str| json!({"id": id, "severity": severity, "closed": null});
        let mut known = Known::default();
        let mut changes = |findings: &[Value]| -> Vec<(Change, String)> {
            let answer = json!({"at": "2026-01-01T00:00:09Z", "findings": findings});
            let changes = known.changes(&answer).into_iter();
            changes
                .map(|(change, finding)| {
                    assert_eq!(finding["closed"].is_null(), change != Change::Closed);
                    (change, finding["id"].as_str().expect("an id").to_owned())
                })
                .collect()
        };
        let (a, b) = (String::from("a"), String::from("b"));
        assert_eq!(changes(&[]), []);
        assert_eq!(changes(&[one("a", "warning")]), [(Change::Opened, a.clone())]);
        assert_eq!(changes(&[one("a", "warning")]), []);
        assert_eq!(
            changes(&[one("a", "critical"), one("b", "warning")]),
            [(Change::Severity, a.clone()), (Change::Opened, b.clone())]
        );
        assert_eq!(changes(&[one("b", "warning")]), [(Change::Closed, a)]);
        assert_eq!(changes(&[]), [(Change::Closed, b)]);
        assert_eq!(changes(&[]), []);
    }
}
