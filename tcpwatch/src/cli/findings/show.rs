//! Findings as text. What they say comes from elsewhere (names of processes): nothing of it may steer a terminal.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use super::watch::Change;
use crate::cli::place;
use crate::host::terminal::clean;

/// Prose is laid out for this many columns.
const WIDTH: usize = 80;

/// An answer of `/api/v1/findings`.
pub(super) fn list(answer: &Value, long: bool, colours: bool) -> String {
    let list = answer["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = String::new();
    for finding in list {
        text += &block(finding, &answer["at"], long, colours);
        text.push('\n');
    }
    text += &totals(list, long);
    text.push('\n');
    for note in texts(&answer["notes"]) {
        text.push('\n');
        text += &wrap(&note, "", "");
    }
    text
}

fn totals(list: &[Value], long: bool) -> String {
    let open: Vec<&Value> = list.iter().filter(|finding| finding["closed"].is_null()).collect();
    if open.is_empty() {
        return if list.is_empty() { "no findings".into() } else { "no open findings".into() };
    }
    let critical = open.iter().filter(|finding| finding["severity"] == "critical").count();
    let more = if long { "" } else { "; --long says more" };
    format!("{}{more}", counted(critical, open.len() - critical))
}

/// `1 critical and 2 warning findings`.
pub(in crate::cli) fn counted(critical: usize, warning: usize) -> String {
    let plural = if critical + warning == 1 { "" } else { "s" };
    match (critical, warning) {
        (0, 0) => "no findings".into(),
        (critical, 0) => format!("{critical} critical finding{plural}"),
        (0, warning) => format!("{warning} warning finding{plural}"),
        (critical, warning) => format!("{critical} critical and {warning} warning findings"),
    }
}

/// What has happened to one, at a time.
pub(super) fn change(change: Change, finding: &Value, at: &Value, long: bool, colours: bool) -> String {
    let time = at.as_str().and_then(|at| at.get(11..19)).unwrap_or("unknown");
    let what = match change {
        Change::Opened => "open",
        Change::Severity => "now",
        Change::Closed => "over",
    };
    if long && change != Change::Closed {
        return format!("{time} {what}\n{}", block(finding, at, true, colours));
    }
    let lasted = if change == Change::Closed { format!(", {}", history(finding, at)) } else { String::new() };
    format!("{time} {what:<4} {}{lasted}", line(finding, colours))
}

/// A finding in one line.
pub(in crate::cli) fn line(finding: &Value, colours: bool) -> String {
    let subject = subject(&finding["subject"]);
    let (severity, kind) = (severity(finding, colours), text(&finding["kind"]));
    format!("{severity} {kind} ({subject}): {}", text(&finding["summary"]))
}

/// A finding in a paragraph, or all of it.
fn block(finding: &Value, at: &Value, long: bool, colours: bool) -> String {
    let (severity, kind) = (severity(finding, colours), text(&finding["kind"]));
    let verdict = finding["verdict"].as_str().map(|verdict| format!(" ({})", clean(verdict)));
    let mut out = format!("{severity} {kind}{}, {}\n", verdict.unwrap_or_default(), history(finding, at));
    out += &wrap(&subject(&finding["subject"]), "  ", "  ");
    out += &wrap(&text(&finding["summary"]), "  ", "  ");
    let advice = || texts(&finding["advice"]);
    if !long {
        out += &advice().next().map(|first| wrap(&first, "  > ", "    ")).unwrap_or_default();
        return out;
    }
    out += "\n  Meaning\n";
    out += &wrap(&text(&finding["meaning"]), "    ", "    ");
    out += "\n  Evidence\n";
    for (name, value) in finding["evidence"].as_object().into_iter().flatten() {
        // Writing to memory cannot fail, here and below.
        let _ = writeln!(out, "    {:<32} {}", clean(name), figure(value));
    }
    if let Some(confidence) = finding["confidence"].as_f64() {
        let _ = writeln!(out, "    {:<32} {confidence:.2}", "confidence (0 to 1)");
    }
    out += "\n  What to do\n";
    advice().for_each(|advice| out += &wrap(&advice, "    - ", "      "));
    out += "\n  Verify with other tools\n";
    // Commands are to be copied: they stay in one piece.
    texts(&finding["verify"]).for_each(|command| _ = writeln!(out, "    {command}"));
    let _ = writeln!(out, "\n  More: tcpwatch explain {kind}");
    out
}

/// Since when, for how long, until when.
fn history(finding: &Value, at: &Value) -> String {
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let between = |from: Option<Timestamp>, to: Option<Timestamp>| {
        from.zip(to).map_or_else(|| "unknown".into(), |(from, to)| span((to - from).get_seconds()))
    };
    let (since, closed, now) = (time(&finding["since"]), time(&finding["closed"]), time(at));
    if finding["closed"].is_null() {
        let long_ago = since.zip(now).is_some_and(|(since, now)| (now - since).get_seconds() >= 86_400);
        let when = text(&finding["since"]);
        // Of a day the time is enough: the heading has to fit.
        let when = if long_ago { when.get(5..16) } else { when.get(11..19) }
            .map_or_else(|| "unknown".into(), |when| format!("{}Z", when.replace('T', " ")));
        return format!("for {} (since {when})", between(since, now));
    }
    format!("lasted {}, ended {} ago", between(since, closed), between(closed, now))
}

/// `5s`, `3m 12s`, `2h 5m`, `3d 4h`.
fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// Whom it concerns; a process that is not known is said to be so.
fn subject(subject: &Value) -> String {
    let parts = [("listener", "listener"), ("destination", "to"), ("remote", "remote")];
    let mut all: Vec<String> = parts
        .iter()
        .filter_map(|(name, word)| subject[name].as_str().map(|value| format!("{word} {}", clean(value))))
        .collect();
    all.push(owner(&subject["owner"]));
    all.extend(subject["netns"].as_u64().map(|netns| format!("netns {netns}")));
    all.join(", ")
}

fn owner(owner: &Value) -> String {
    if owner["kernel"] == true {
        return "the kernel itself".into();
    }
    let Some(pid) = owner["pid"].as_u64() else { return "owner unknown".into() };
    let process = owner["process"].as_str().map(clean).unwrap_or_default();
    let mut text = format!("{process}[{pid}]");
    if let Some(container) = place::container(owner) {
        let _ = write!(text, " in {}", clean(&container));
    } else if let Some(unit) = owner["unit"].as_str() {
        let _ = write!(text, " of {}", clean(unit));
    }
    if owner["exited"] == Value::Bool(true) {
        text += ", which has ended";
    }
    text
}

fn severity(finding: &Value, colours: bool) -> String {
    let name = text(&finding["severity"]).to_uppercase();
    let colour = if name == "CRITICAL" { "1;31" } else { "1;33" };
    if colours { format!("\x1b[{colour}m{name}\x1b[0m") } else { name }
}

fn figure(value: &Value) -> String {
    match value {
        Value::Null => "unknown".into(),
        Value::String(text) => clean(text),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(number) if number.fract() == 0.0 => format!("{number:.0}"),
            Some(number) => format!("{number:.3}"),
            None => number.to_string(),
        },
        other => clean(&other.to_string()),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| "unknown".into(), clean)
}

fn texts(value: &Value) -> impl Iterator<Item = String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(clean)
}

/// Lines of whole words; a longer word has a line of its own.
fn wrap(text: &str, first: &str, rest: &str) -> String {
    let (mut out, mut line) = (String::new(), String::from(first));
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            out = out + &line + "\n";
            line = rest.into();
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line += word;
        is_empty = false;
    }
    out + &line + "\n"
}

#[cfg(test)]
mod tests;
