//! Reads which metrics, labels and values an expression names, and holds them against the documents.

use std::iter::Peekable;
use std::str::Chars;

use tcpwatch::finding::Kind;

use crate::documented::Metrics;

/// Labels that Prometheus itself puts on every series it scrapes.
pub const TARGET: [&str; 2] = ["job", "instance"];
/// Words that a list of labels follows.
const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 5] = ["and", "or", "unless", "offset", "bool"];
/// Labels of a subject: in a series of what was folded their value is this.
const SUBJECT: [&str; 3] = ["listen_addr", "process", "netns"];
const FOLDED: &str = "other";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    Text(String),
    Sign(char),
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => tokens.push(Token::Text(taken(&mut chars, |c| c != '"'))),
            // A range.
            '[' => drop(taken(&mut chars, |c| c != ']')),
            // A number or a duration.
            '0'..='9' => drop(taken(&mut chars, |c| c.is_ascii_alphanumeric() || c == '.')),
            c if c.is_whitespace() => continue,
            c if is_name(c) => {
                let rest = taken(&mut chars, is_name);
                tokens.push(Token::Name(format!("{c}{rest}")));
                continue;
            }
            c => {
                tokens.push(Token::Sign(c));
                continue;
            }
        }
        if matches!(c, '"' | '[') {
            chars.next();
        }
    }
    tokens
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

fn taken(chars: &mut Peekable<Chars<'_>>, is_part: impl Fn(char) -> bool) -> String {
    let mut text = String::new();
    while let Some(c) = chars.next_if(|c| is_part(*c)) {
        text.push(c);
    }
    text
}

/// What an expression asks for.
#[derive(Debug, Default)]
pub struct Named {
    /// Metrics, with labels and the values that these are compared with.
    pub selectors: Vec<(String, Vec<(String, String)>)>,
    /// Labels that it groups or joins by.
    pub listed: Vec<String>,
}

pub fn named(expr: &str) -> Named {
    let tokens = tokens(expr);
    let mut named = Named::default();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        let Token::Name(name) = token else { continue };
        let next = tokens.get(at);
        if LISTS.contains(&name.as_str()) {
            while let Some(token) = tokens.get(at).filter(|token| **token != Token::Sign(')')) {
                if let Token::Name(label) = token {
                    named.listed.push(label.clone());
                }
                at += 1;
            }
            continue;
        }
        let before_list = matches!(next, Some(Token::Name(next)) if LISTS[..2].contains(&next.as_str()));
        if next == Some(&Token::Sign('(')) || before_list || OPERATORS.contains(&name.as_str()) {
            continue;
        }
        let mut matchers = Vec::new();
        if next == Some(&Token::Sign('{')) {
            let mut label = String::new();
            while let Some(token) = tokens.get(at).filter(|token| **token != Token::Sign('}')) {
                match token {
                    Token::Name(name) => label.clone_from(name),
                    Token::Text(value) => matchers.push((label.clone(), value.clone())),
                    Token::Sign(_) => {}
                }
                at += 1;
            }
        }
        named.selectors.push((name.clone(), matchers));
    }
    named
}

/// What is wrong with an expression. `recorded` are the names that rules give.
pub fn faults(expr: &str, metrics: &Metrics, recorded: &[&str]) -> Vec<String> {
    let named = named(expr);
    let mut faults = Vec::new();
    let mut known: Vec<&str> = TARGET.to_vec();
    for (name, matchers) in &named.selectors {
        if name == "up" || recorded.contains(&name.as_str()) {
            continue;
        }
        let Some(metric) = metrics.get(name) else {
            faults.push(format!("docs/metrics.md has no {name}"));
            continue;
        };
        known.extend(metric.labels.iter().map(String::as_str));
        if name.ends_with("_bucket") {
            known.push("le");
        }
        for (label, values) in matchers {
            if !metric.labels.contains(label) {
                let is_target = TARGET.contains(&label.as_str());
                faults.extend((!is_target).then(|| format!("{name} has no label {label}")));
                continue;
            }
            let is_value = |value: &str| {
                let is_kind = || label == "kind" && Kind::ALL.iter().any(|kind| kind.name() == value);
                let is_folded = || value == FOLDED && SUBJECT.contains(&label.as_str());
                // A dashboard's variable, whose values Grafana takes from the series.
                let is_variable = || value.starts_with('$');
                let is_word = metric.words.contains(value) || metrics.states.contains(value);
                is_word || is_kind() || is_folded() || is_variable()
            };
            for value in values.split('|').filter(|value| !value.is_empty() && !is_value(value)) {
                faults.push(format!("docs/metrics.md tells of no {label}={value:?} of {name}"));
            }
        }
    }
    let unknown = named.listed.iter().filter(|label| !known.contains(&label.as_str()));
    faults.extend(unknown.map(|label| format!("no metric of {expr:?} has a label {label}")));
    if named.selectors.is_empty() {
        faults.push(format!("{expr:?} names no metric"));
    }
    faults
}

#[test]
fn what_does_not_exist_is_found() {
    let metrics = Metrics::read();
    let faults = |expr: &str| faults(expr, &metrics, &["instance:x:rate5m"]);
    for fine in [
        "sum without (from, to, verdict) (rate(tcpwatch_transitions_total{job=\"a\"}[5m])) > 0.5",
        "histogram_quantile(0.99, sum by (le, role) (rate(tcpwatch_handshake_seconds_bucket[5m])))",
        "tcpwatch_sockets{state=~\"close_wait|time_wait\"} / on (instance) group_left () up unless instance:x:rate5m",
        "tcpwatch_finding_active{kind=\"syn_flood\", severity=\"critical\"} > 0 and 1 < 1e3",
    ] {
        assert_eq!(faults(fine), [""; 0], "{fine}");
    }
    for (expr, said) in [
        ("rate(tcpwatch_transition_total[5m])", "has no tcpwatch_transition_total"),
        ("tcpwatch_sockets{status=\"listen\"}", "has no label status"),
        ("tcpwatch_sockets{state=\"close-wait\"}", "no state=\"close-wait\""),
        ("tcpwatch_finding_active{kind=\"sin_flood\"}", "no kind=\"sin_flood\""),
        ("sum by (cause) (tcpwatch_sockets)", "a label cause"),
        ("tcpwatch_sockets_bucket", "has no tcpwatch_sockets_bucket"),
        ("instance:y:rate5m", "has no instance:y:rate5m"),
        ("1 > 0", "names no metric"),
    ] {
        let found = faults(expr);
        assert!(found.len() == 1 && found[0].contains(said), "{expr}: {found:?}");
    }
}
