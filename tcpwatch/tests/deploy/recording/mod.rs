//! `deploy/prometheus/recording.yml` and `node-names.yml`, and their tests for `promtool test rules`.

mod rules;

use std::fmt::Write as _;

use crate::documented::Metrics;
use crate::yaml::scalar;
use crate::{committed, promql};
use rules::node_names;
pub use rules::rules;

const HEAD: &str = "Made by the test target `deploy`: change tcpwatch/tests/deploy, not this file.";

/// A recording rule, and a test of it.
pub struct Rule {
    pub name: &'static str,
    pub expr: String,
    pub means: &'static str,
    /// Series with their values at steps of 15 s, and what is recorded from them after ten minutes.
    series: Vec<(&'static str, &'static str)>,
    recorded: Vec<(&'static str, &'static str)>,
}

fn file(about: &str, group: &str, rules: &[Rule]) -> String {
    let mut text = format!("# {about}\n# {HEAD}\ngroups:\n  - name: {group}\n    rules:\n");
    for rule in rules {
        let _ = write!(text, "      - record: {}\n        expr: {}\n", rule.name, scalar(&rule.expr, 10));
    }
    text
}

fn tests(file: &str, rules: &[Rule]) -> String {
    let mut text = format!(
        "# For `promtool test rules`. {HEAD}\nrule_files:\n  - ../{file}\nevaluation_interval: 15s\ntests:\n"
    );
    for rule in rules {
        let _ = write!(text, "  - name: {}\n    interval: 15s\n    input_series:\n", rule.name);
        for (series, values) in &rule.series {
            let (series, values) = (scalar(series, 0), scalar(values, 0));
            let _ = write!(text, "      - series: {series}\n        values: {values}\n");
        }
        let _ = write!(
            text,
            "    promql_expr_test:\n      - expr: {}\n        eval_time: 10m\n        exp_samples:\n",
            scalar(rule.name, 0)
        );
        for (labels, value) in &rule.recorded {
            let labels = scalar(&format!("{}{labels}", rule.name), 0);
            let _ = write!(text, "          - labels: {labels}\n            value: {value}\n");
        }
    }
    text
}

#[test]
fn the_files_are_what_the_code_says() {
    let metrics = Metrics::read();
    let (rules, names) = (rules(&metrics), node_names(&metrics));
    let folder = "deploy/prometheus";
    let about = "What dashboards ask for again and again, computed once: docs/alerting.md.";
    committed::expect(&format!("{folder}/recording.yml"), &file(about, "tcpwatch", &rules));
    committed::expect(&format!("{folder}/tests/recording.yml"), &tests("recording.yml", &rules));
    let about = "tcpwatch's figures under node_exporter's names, for its dashboards. Of all network namespaces.\n\
        # Only where node_exporter's own are not scraped: both together would be counted twice.";
    committed::expect(&format!("{folder}/node-names.yml"), &file(about, "tcpwatch-node-names", &names));
    committed::expect(&format!("{folder}/tests/node-names.yml"), &tests("node-names.yml", &names));
}

#[test]
fn rules_name_only_what_exists() {
    let metrics = Metrics::read();
    for rule in rules(&metrics).into_iter().chain(node_names(&metrics)) {
        assert_eq!(promql::faults(&rule.expr, &metrics, &[]), [""; 0], "{}", rule.name);
        for (series, _) in &rule.series {
            let faults = promql::faults(series, &metrics, &[]);
            // A reason is the kernel's, and a cluster's service discovery adds tcpwatch's own pod.
            let added = ["namespace", "pod", "container"].map(|label| format!("has no label {label}"));
            let is_fine = |fault: &&String| {
                fault.contains("tells of no") || added.iter().any(|end| fault.ends_with(end))
            };
            let unknown: Vec<_> = faults.iter().filter(|fault| !is_fine(fault)).collect();
            assert!(unknown.is_empty() || series.contains("le="), "{}: {unknown:?}", rule.name);
        }
    }
}
