//! Tests of alerts as promtool reads them: series, and what fires when.

use std::fmt::Write as _;

use super::Alert;
use crate::yaml::{scalar, time};

/// Seconds between two samples, and between two evaluations.
pub const STEP: u32 = 15;

type Labels = Vec<(String, String)>;

/// Name, labels and values of a series.
pub type Series = (&'static str, Labels, String);

pub struct Case {
    pub series: Vec<Series>,
    /// What has to fire, and nothing else of this alert, at a second.
    pub checks: Vec<(u32, Vec<Fired>)>,
}

/// An alert that fires.
pub struct Fired {
    labels: Labels,
    /// As texts show it.
    value: String,
}

impl Fired {
    pub fn new(labels: &Labels, value: &str) -> Self {
        Self { labels: labels.clone(), value: value.to_owned() }
    }
}

pub fn of(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A series as Prometheus writes it.
pub fn selector(name: &str, labels: &[(String, String)]) -> String {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{name}{{{}}}", labels.join(","))
}

pub fn input(series: &[Series]) -> String {
    let mut text = format!("    interval: {}\n    input_series:\n", time(STEP));
    for (name, labels, values) in series {
        let series = scalar(&selector(name, labels), 0);
        let _ = write!(text, "      - series: {series}\n        values: {}\n", scalar(values, 0));
    }
    text
}

pub fn test(alert: &Alert) -> String {
    let mut text = format!("  - name: {}\n{}", alert.name, input(&alert.case.series));
    text += "    alert_rule_test:\n";
    for (second, fired) in &alert.case.checks {
        let _ = write!(text, "      - eval_time: {}\n        alertname: {}\n", time(*second), alert.name);
        text += if fired.is_empty() { "        exp_alerts: []\n" } else { "        exp_alerts:\n" };
        for Fired { labels, value } in fired {
            text += "          - exp_labels:\n";
            let severity = alert.severity.map(|severity| ("severity".to_owned(), severity.to_owned()));
            // To Prometheus a label that is empty is none.
            let labelled = labels.iter().chain(&severity).filter(|(_, value)| !value.is_empty());
            for (name, value) in labelled {
                let _ = writeln!(text, "              {name}: {}", scalar(value, 0));
            }
            text += "            exp_annotations:\n";
            for (name, value) in [
                ("summary", alert.summary.shown(labels, value)),
                ("description", alert.description.shown(labels, value)),
                ("runbook_url", alert.runbook.clone()),
            ] {
                let _ = writeln!(text, "              {name}: {}", scalar(&value, 16));
            }
        }
    }
    text
}
