//! The Helm chart in `deploy/helm` and the manifests that it renders to.
//!
//! `cargo xtask kubernetes` has Helm render the chart, and compares with what is committed. So what is said here about the
//! committed files is said about the chart, without Helm.

mod objects;
mod references;
mod schema;
mod security;
mod started;
mod values;

use crate::committed;

pub const CHART: &str = "deploy/helm/tcpwatch";

#[test]
fn the_chart_has_the_version_of_the_binary() {
    let text = committed::read(&format!("{CHART}/Chart.yaml"));
    for name in ["version", "appVersion"] {
        let line = format!("{name}: {}", env!("CARGO_PKG_VERSION"));
        assert!(text.lines().any(|known| known == line), "Chart.yaml has no line {line:?}");
    }
}

#[test]
fn the_rules_in_the_chart_are_those_for_prometheus() {
    for name in ["alerts.yml", "recording.yml"] {
        let text = committed::read(&format!("deploy/prometheus/{name}"));
        committed::expect(&format!("{CHART}/files/{name}"), &text);
    }
}
