//! What the dashboards would show now: every query of every panel, asked as Grafana asks it.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::http;
use crate::process;
use crate::project::Project;

/// Dashboards that are shown whole; of the others only how many of their queries have a value.
const WHOLE: &[&str] = &["findings.json", "node.json"];

/// Series of a query that are shown.
const MOST: usize = 3;

struct Dashboard {
    file: String,
    title: String,
    queries: Vec<Query>,
}

/// A query of a panel.
struct Query {
    panel: String,
    expression: String,
}

/// Prints them with their values. It is an error if Prometheus does not take one, or if a dashboard shows nothing at all.
pub fn show(project: &Project, prometheus: u16) -> Result<()> {
    for Dashboard { file, title, queries } in dashboards(project)? {
        let is_whole = WHOLE.contains(&file.as_str());
        println!("\n--- the dashboard \"{title}\"\n");
        let mut answered = 0;
        for query in &queries {
            let series = ask(prometheus, &query.expression)
                .with_context(|| format!("the panel {:?} of {title:?}", query.panel))?;
            answered += usize::from(!series.is_empty());
            if is_whole {
                show_query(query, &series);
            }
        }
        println!("{answered} of {} queries have values now", queries.len());
        ensure!(answered > 0, "no query of {title:?} has a value");
    }
    Ok(())
}

fn show_query(query: &Query, series: &[(String, String)]) {
    println!("{}\n    {}", query.panel, query.expression);
    let number = |value: &String| value.parse::<f64>().unwrap_or_default();
    let mut series: Vec<_> = series.iter().map(|(labels, value)| (number(value), labels)).collect();
    series.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    for (value, labels) in series.iter().take(MOST) {
        println!("    = {:<8} {labels}", rounded(*value));
    }
    match series.len() {
        0 => println!("    = nothing"),
        count if count > MOST => println!("      and {} more", count - MOST),
        _ => {}
    }
}

/// Four digits behind the point at most.
fn rounded(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    text.to_owned()
}

/// In order of their files, variables replaced.
fn dashboards(project: &Project) -> Result<Vec<Dashboard>> {
    let folder = project.root.join("deploy/grafana");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    ensure!(!files.is_empty(), "{} has no dashboards", folder.display());
    let read = |file: &std::path::PathBuf| -> Result<_> {
        let dashboard: Value = serde_json::from_slice(&process::read(file)?)
            .with_context(|| format!("{} is no JSON", file.display()))?;
        let title = dashboard["title"].as_str().unwrap_or_default().to_owned();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        Ok(Dashboard { file: name.into_owned(), title, queries: queries(&dashboard) })
    };
    files.iter().map(read).collect()
}

fn queries(dashboard: &Value) -> Vec<Query> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let mut panels: Vec<&Value> = dashboard["panels"].as_array().into_iter().flatten().collect();
    panels.reverse();
    while let Some(panel) = panels.pop() {
        // Rows that are folded have their panels inside.
        panels.extend(panel["panels"].as_array().into_iter().flatten().rev());
        let title = panel["title"].as_str().unwrap_or_default();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = substituted(target["expr"].as_str().unwrap_or_default());
            if seen.insert(expression.clone()) {
                found.push(Query { panel: title.to_owned(), expression });
            }
        }
    }
    found
}

/// With every variable at "all", and times that suit a demonstration of a minute.
fn substituted(expression: &str) -> String {
    let mut text = String::new();
    let mut rest = expression;
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let (name, after) = match rest.strip_prefix('{') {
            Some(inner) => inner.split_once('}').unwrap_or((inner, "")),
            None => rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
        };
        text.push_str(match name.split(':').next().unwrap_or(name) {
            "__rate_interval" | "__interval" => "30s",
            "__range" => "1m",
            _ => ".*",
        });
        rest = after;
    }
    text + rest
}

/// The series of an instant query: labels and value.
fn ask(prometheus: u16, expression: &str) -> Result<Vec<(String, String)>> {
    let answer = http::get(prometheus, &format!("/api/v1/query?query={}", http::encode(expression)))
        .with_context(|| format!("cannot ask for {expression}"))?;
    let answer: Value = serde_json::from_str(&answer).context("Prometheus answers no JSON")?;
    let data = &answer["data"];
    let value = |series: &Value| series[1].as_str().unwrap_or_default().to_owned();
    if data["resultType"] == "scalar" {
        return Ok(vec![(String::new(), value(&data["result"]))]);
    }
    let series = data["result"].as_array().context("Prometheus answers without a result")?;
    Ok(series.iter().map(|series| (labels(&series["metric"]), value(&series["value"]))).collect())
}

/// What tells a series from others of this one host.
fn labels(metric: &Value) -> String {
    let pairs = metric.as_object().into_iter().flatten();
    let pairs = pairs.filter(|(name, _)| !matches!(name.as_str(), "__name__" | "instance" | "job"));
    pairs
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_for_all() {
        let found = substituted("rate(a{i=~\"$instance\", b=~\"${pod:regex}\"}[$__rate_interval]) > $x");
        assert_eq!(found, "rate(a{i=~\".*\", b=~\".*\"}[30s]) > .*");
        assert_eq!(substituted("up"), "up");
    }

    #[test]
    fn values_are_short() {
        let found = [0.0, 1.0, 1.07643, 1200.0, 0.00001, f64::NAN].map(rounded);
        assert_eq!(found, ["0", "1", "1.0764", "1200", "0", "NaN"]);
    }

    #[test]
    fn panels_are_found_in_rows_too() {
        let dashboard = serde_json::json!({"panels": [
            {"title": "a", "targets": [{"expr": "up"}, {"expr": "up"}]},
            {"title": "row", "panels": [{"title": "b", "targets": [{"expr": "down"}]}]},
            {"title": "c", "targets": [{"expr": "left"}]},
        ]});
        let found = queries(&dashboard);
        let found: Vec<_> = found.iter().map(|one| (one.panel.as_str(), one.expression.as_str())).collect();
        assert_eq!(found, [("a", "up"), ("b", "down"), ("c", "left")]);
    }
}
