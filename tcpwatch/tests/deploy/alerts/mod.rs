//! `deploy/prometheus/alerts.yml`, and its tests for `promtool test rules`.

mod cases;
pub mod kinds;
mod own;

use std::fmt::Write as _;

use crate::documented::Metrics;
use crate::text::Text;
use crate::yaml::{scalar, time};
use crate::{committed, promql};
use cases::Case;

pub const FILE: &str = "deploy/prometheus/alerts.yml";
const TESTS: &str = "deploy/prometheus/tests/alerts.yml";

/// An alert rule.
pub struct Alert {
    pub name: String,
    pub expr: String,
    /// Seconds for which it has to be true before it fires.
    pub hold: u32,
    /// Seconds for which it goes on firing when it is no longer true.
    pub keep: u32,
    /// `None`: that of the series.
    pub severity: Option<&'static str>,
    pub summary: Text,
    pub description: Text,
    pub runbook: String,
    /// In a few words, for the table in the documents.
    pub means: String,
    case: Case,
}

/// An address of a file of the project that a browser opens.
pub fn link(path: &str) -> String {
    format!("{}/blob/HEAD/{path}", env!("CARGO_PKG_REPOSITORY"))
}

/// Names of groups, with their alerts.
pub fn groups(metrics: &Metrics) -> [(&'static str, Vec<Alert>); 2] {
    [("tcpwatch-findings", kinds::alerts(metrics)), ("tcpwatch-itself", own::alerts())]
}

fn file(metrics: &Metrics) -> String {
    let mut text = String::from(
        "# Alerts about what tcpwatch finds, one for each kind, and about tcpwatch itself: docs/alerting.md.\n\
         # Made by the test target `deploy`: change tcpwatch/tests/deploy, not this file.\n\
         # Needs Prometheus 2.42 or newer (keep_firing_for), and scraping under the job name tcpwatch.\ngroups:\n",
    );
    for (group, alerts) in groups(metrics) {
        let _ = write!(text, "  - name: {group}\n    rules:\n");
        text.extend(alerts.iter().map(rule));
    }
    text
}

fn rule(alert: &Alert) -> String {
    let mut text = format!("      - alert: {}\n        expr: {}\n", alert.name, scalar(&alert.expr, 10));
    for (name, seconds) in [("for", alert.hold), ("keep_firing_for", alert.keep)] {
        if seconds > 0 {
            let _ = writeln!(text, "        {name}: {}", time(seconds));
        }
    }
    if let Some(severity) = alert.severity {
        let _ = write!(text, "        labels:\n          severity: {severity}\n");
    }
    text += "        annotations:\n";
    for (name, value) in [
        ("summary", alert.summary.template()),
        ("description", alert.description.template()),
        ("runbook_url", alert.runbook.clone()),
    ] {
        let _ = writeln!(text, "          {name}: {}", scalar(&value, 12));
    }
    text
}

#[test]
fn the_file_is_what_the_code_says() {
    committed::expect(FILE, &file(&Metrics::read()));
}

#[test]
fn the_tests_for_promtool_are_what_the_code_says() {
    let metrics = Metrics::read();
    let alerts = groups(&metrics).into_iter().flat_map(|(_, alerts)| alerts);
    let tests: String = alerts.map(|alert| cases::test(&alert)).collect();
    let begin = "# For `promtool test rules`: series with which each alert must fire, and series with which it must not.\n\
        # Made by the test target `deploy`.\nrule_files:\n  - ../alerts.yml\nevaluation_interval: 15s\ntests:\n";
    committed::expect(TESTS, &format!("{begin}{tests}"));
}

#[test]
fn alerts_name_only_what_exists() {
    let metrics = Metrics::read();
    for alert in groups(&metrics).into_iter().flat_map(|(_, alerts)| alerts) {
        assert_eq!(promql::faults(&alert.expr, &metrics, &[]), [""; 0], "{}", alert.name);
        let named = promql::named(&alert.expr);
        for label in alert.summary.labels().chain(alert.description.labels()) {
            let mut selectors = named.selectors.iter();
            let has = selectors.any(|(metric, _)| {
                metrics.get(metric).is_some_and(|metric| metric.labels.iter().any(|own| own == label))
            });
            assert!(has || promql::TARGET.contains(&label), "{} has no label {label}", alert.name);
        }
        let path = alert.runbook.split_once("/blob/HEAD/").expect("a file of the project").1;
        let path = path.split('#').next().expect("a path");
        assert!(committed::root().join(path).is_file(), "{}: there is no {path}", alert.name);
    }
}
