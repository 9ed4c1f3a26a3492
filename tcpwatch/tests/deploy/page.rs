//! The tables in `docs/alerting.md`.

use std::fmt::Write as _;

use crate::documented::Metrics;
use crate::yaml::time;
use crate::{alerts, committed, recording};

const PAGE: &str = "docs/alerting.md";

fn alerts_of(alerts: &[alerts::Alert]) -> String {
    let mut text = String::from("| alert | severity | after | meaning |\n|---|---|---|---|\n");
    for alert in alerts {
        // From docs/, where runbooks are beside the page.
        let (_, path) = alert.runbook.split_once("/blob/HEAD/docs/").expect("a document");
        let name = if path.contains('#') {
            format!("`{}`", alert.name)
        } else {
            format!("[`{}`]({path})", alert.name)
        };
        let severity = alert.severity.unwrap_or("of the finding");
        let after = if alert.hold == 0 { "at once".into() } else { time(alert.hold) };
        let todo = alert.severity.map(|_| todo(alert)).unwrap_or_default();
        let _ = writeln!(text, "| {name} | {severity} | {after} | {}{todo} |", alert.means);
    }
    text
}

/// What to do, behind what it means.
fn todo(alert: &alerts::Alert) -> String {
    let text = alert.description.template();
    let (_, todo) = text.split_once("What to do: ").expect("it says what to do");
    format!(". **To do:** {todo}")
}

#[test]
fn the_tables_are_what_the_code_says() {
    let metrics = Metrics::read();
    let [(_, findings), (_, own)] = alerts::groups(&metrics);
    committed::expect_part(PAGE, "alerts", &alerts_of(&findings));
    committed::expect_part(PAGE, "own alerts", &alerts_of(&own));
    let mut text = String::from("| recorded | is |\n|---|---|\n");
    for rule in recording::rules(&metrics) {
        let _ = writeln!(text, "| `{}` | {} |", rule.name, rule.means);
    }
    committed::expect_part(PAGE, "recorded", &text);
}
