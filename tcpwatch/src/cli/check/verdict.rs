//! What a check comes to, from the daemon's answers.

use std::fmt::Write as _;

use serde_json::Value;
use tcpwatch_common::TcpState;

use super::range::Limit;
use crate::cli::findings::show;

/// Answers of `/api/v1/…`.
pub(super) struct Answers {
    /// Only the chosen ones.
    pub(super) findings: Value,
    pub(super) states: Value,
    pub(super) listeners: Value,
    /// What there is no room for, so that findings may be missing: then nothing is known to be fine.
    pub(super) notes: Vec<String>,
}

/// From fine to worst; what is not known is worse than fine and better than what is certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Ok,
    Unknown,
    Warning,
    Critical,
}

impl Level {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// What is printed, and how it is meant.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) level: Level,
    pub(super) text: String,
}

/// A figure; `None` if it is not known.
struct Figure {
    name: &'static str,
    value: Option<u64>,
    /// What counts up for ever is drawn in another way.
    unit: &'static str,
}

impl Verdict {
    pub(super) fn unknown(reason: &str) -> Self {
        Self { level: Level::Unknown, text: format!("TCPWATCH UNKNOWN: {}\n", plain(reason)) }
    }

    pub(super) fn of(answers: &Answers, warning: &[Limit], critical: &[Limit]) -> Self {
        let list = answers.findings["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
        let of = |severity: &'static str| list.iter().filter(move |finding| finding["severity"] == severity);
        let (critical_count, warning_count) = (of("critical").count(), of("warning").count());
        let figures = figures(answers, critical_count, warning_count);
        let mut level = match (critical_count, warning_count) {
            (0, 0) => Level::Ok,
            (0, _) => Level::Warning,
            _ => Level::Critical,
        };
        let mut alarms = Vec::new();
        if !answers.notes.is_empty() {
            level = level.max(Level::Unknown);
            alarms.push(String::from("not everything could be watched"));
        }
        for (limits, of) in [(critical, Level::Critical), (warning, Level::Warning)] {
            for limit in limits {
                if let Some((alarm, reason)) = alarm(limit, of, &figures) {
                    level = level.max(alarm);
                    alarms.push(reason);
                }
            }
        }
        let mut parts = vec![show::counted(critical_count, warning_count)];
        parts.extend(alarms);
        // The worst is the first.
        let worst =
            of("critical").chain(of("warning")).next().and_then(|finding| finding["summary"].as_str());
        // Where nothing is wrong, what is not known is what there is to tell.
        let worst = worst.or(answers.notes.first().map(String::as_str));
        let worst = worst.map(|worst| format!(": {worst}")).unwrap_or_default();
        let headline = plain(&format!("{}{worst}", parts.join(", ")));
        let perf = perf(&figures, warning, critical);
        let mut text = format!("TCPWATCH {}: {headline} | {perf}\n", level.name());
        for finding in of("critical").chain(of("warning")) {
            text += &plain(&show::line(finding, false));
            text.push('\n');
        }
        if answers.states["detail"]["complete"] == Value::Bool(false) {
            text += "incomplete: socket counts lack some sockets, or those of a namespace are not known\n";
        }
        let problems = answers.states["problems"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for problem in problems.filter(|problem| answers.notes.iter().all(|note| note != problem)) {
            text += &plain(problem);
            text.push('\n');
        }
        text.extend(answers.notes.iter().map(|note| format!("{}\n", plain(note))));
        Self { level, text }
    }
}

fn figures(answers: &Answers, critical: usize, warning: usize) -> Vec<Figure> {
    let states = TcpState::RFC.iter().map(|state| {
        let name = state.name();
        Figure { name, value: answers.states["states"][name].as_u64(), unit: "" }
    });
    // Of one that is not known the sum is not known either.
    let drops = answers.listeners["netns"]
        .as_array()
        .and_then(|all| all.iter().map(|namespace| namespace["listen_drops"].as_u64()).sum::<Option<u64>>());
    let count = |name, count: usize| Figure { name, value: u64::try_from(count).ok(), unit: "" };
    let findings = [count("findings_critical", critical), count("findings_warning", warning)];
    let drops = Figure { name: "drops", value: drops, unit: "c" };
    states.chain(findings).chain([drops]).collect()
}

/// The level that a limit raises, if any, and why.
fn alarm(limit: &Limit, level: Level, figures: &[Figure]) -> Option<(Level, String)> {
    let figure = figures.iter().find(|figure| figure.name == limit.figure)?;
    let (name, range) = (figure.name, &limit.range.text);
    match figure.value {
        None => Some((Level::Unknown, format!("{name} is unknown"))),
        #[expect(clippy::cast_precision_loss, reason = "nobody sets a limit beyond 2^53")]
        Some(value) if limit.range.is_alarm(value as f64) => {
            Some((level, format!("{name} is {value} ({} range {range})", level.name().to_lowercase())))
        }
        Some(_) => None,
    }
}

/// `label=value[unit];warning;critical`, for those who draw graphs; what is not known is `U`.
fn perf(figures: &[Figure], warning: &[Limit], critical: &[Limit]) -> String {
    let mut text = String::new();
    for Figure { name, value, unit } in figures {
        let range = |limits: &[Limit]| {
            // A graph has one line.
            let limit = limits.iter().find(|limit| limit.figure == *name);
            limit.map(|limit| limit.range.text.clone()).unwrap_or_default()
        };
        let space = if text.is_empty() { "" } else { " " };
        let value = value.map_or_else(|| "U".into(), |value| format!("{value}{unit}"));
        // Writing to memory cannot fail.
        let _ = write!(text, "{space}{name}={value};{};{}", range(warning), range(critical));
    }
    text
}

/// One line without what begins the figures.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .map(|c| if c == '|' { '/' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answers(findings: &[Value]) -> Answers {
        let mut states = json!({"states": {"close_wait": null}, "detail": {"complete": true}});
        for state in TcpState::RFC.iter().filter(|state| **state != TcpState::CloseWait) {
            states["states"][state.name()] = 3.into();
        }
        let listeners = json!({"netns": [{"listen_drops": 4}, {"listen_drops": 5}]});
        Answers { findings: json!({"findings": findings}), states, listeners, notes: Vec::new() }
    }

    fn finding(severity: &str) -> Value {
        json!({"severity": severity, "kind": "syn_flood", "summary": format!("a {severity} | thing\nhere"),
            "subject": {"listener": "1.2.3.4:80", "owner": {"pid": 7, "process": "web"}, "netns": 1}})
    }

    fn limits(texts: &[&str]) -> Vec<Limit> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    }

    #[test]
    fn nothing_wrong_is_ok_with_figures() {
        let verdict = Verdict::of(&answers(&[]), &limits(&["listen=10"]), &limits(&["listen=20"]));
        assert_eq!(
            verdict.text,
            "TCPWATCH OK: no findings | established=3;; syn_sent=3;; syn_recv=3;; fin_wait1=3;; fin_wait2=3;; \
             time_wait=3;; close=3;; close_wait=U;; last_ack=3;; listen=3;10;20 closing=3;; \
             findings_critical=0;; findings_warning=0;; drops=9c;;\n"
        );
        assert_eq!(verdict.level.code(), 0);
    }

    #[test]
    fn the_worst_finding_is_told_first() {
        let verdict = Verdict::of(&answers(&[finding("warning"), finding("critical")]), &[], &[]);
        let lines: Vec<&str> = verdict.text.lines().collect();
        assert!(
            lines[0].starts_with(
                "TCPWATCH CRITICAL: 1 critical and 1 warning findings: a critical / thing here | established=3"
            ),
            "{}",
            lines[0]
        );
        assert_eq!(lines[0].matches('|').count(), 1);
        let expected = "CRITICAL syn_flood (listener 1.2.3.4:80, web[7], netns 1): a critical / thing?here";
        assert_eq!(lines[1], expected);
        assert!(lines[2].starts_with("WARNING syn_flood") && lines.len() == 3);
        assert_eq!(verdict.level.code(), 2);
        assert_eq!(Verdict::of(&answers(&[finding("warning")]), &[], &[]).level.code(), 1);
    }

    #[test]
    fn what_could_not_be_watched_is_not_ok() {
        let mut answers = answers(&[]);
        answers.notes = vec!["904 listeners | are too many".into()];
        let verdict = Verdict::of(&answers, &[], &[]);
        let start =
            "TCPWATCH UNKNOWN: no findings, not everything could be watched: 904 listeners / are too many | ";
        assert!(verdict.text.starts_with(start), "{}", verdict.text);
        assert!(verdict.text.ends_with("\n904 listeners / are too many\n"), "{}", verdict.text);
        assert_eq!(verdict.level.code(), 3);
        // What is wrong is worse than what is not known.
        answers.findings = json!({"findings": [finding("warning")]});
        let verdict = Verdict::of(&answers, &[], &[]);
        assert_eq!(verdict.level, Level::Warning);
        assert!(
            verdict.text.contains("not everything could be watched: a warning / thing"),
            "{}",
            verdict.text
        );
    }

    #[test]
    fn limits_raise_alarms() {
        let level = |warning: &[&str], critical: &[&str]| {
            let verdict = Verdict::of(&answers(&[]), &limits(warning), &limits(critical));
            (verdict.level, verdict.text)
        };
        assert_eq!(level(&["listen=3"], &["listen=4"]).0, Level::Ok);
        let (warning, text) = level(&["listen=2"], &["listen=4"]);
        assert_eq!(warning, Level::Warning);
        assert!(
            text.starts_with("TCPWATCH WARNING: no findings, listen is 3 (warning range 2) | "),
            "{text}"
        );
        assert_eq!(level(&["listen=2"], &["listen=@3:3"]).0, Level::Critical);
        assert_eq!(level(&["drops=8"], &[]).0, Level::Warning);
        // Unknown is not fine, and not as bad as what is known.
        let (unknown, text) = level(&[], &["close_wait=1"]);
        assert_eq!((unknown, unknown.code()), (Level::Unknown, 3));
        assert!(text.contains("close_wait is unknown"), "{text}");
        assert_eq!(level(&["listen=2"], &["close_wait=1"]).0, Level::Warning);
    }
}
