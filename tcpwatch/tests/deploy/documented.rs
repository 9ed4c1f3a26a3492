//! The metrics as `docs/metrics.md` has them: names, types, labels, and the values that it tells of.

use std::collections::{BTreeMap, BTreeSet};

use crate::committed;

#[derive(Clone, Debug, Default)]
pub struct Metric {
    pub kind: String,
    pub labels: Vec<String>,
    /// Whatever stands between backquotes in its row.
    pub words: BTreeSet<String>,
}

#[derive(Debug)]
pub struct Metrics {
    by_name: BTreeMap<String, Metric>,
    /// The states, which rows do not repeat.
    pub states: BTreeSet<String>,
}

impl Metrics {
    pub fn read() -> Self {
        let text = committed::read("docs/metrics.md");
        let states = text.lines().find(|line| line.starts_with("States are ")).expect("the list of states");
        let by_name: BTreeMap<String, Metric> = text.lines().filter_map(row).collect();
        assert!(by_name.len() > 40, "docs/metrics.md has a table for each group: {by_name:?}");
        Self { by_name, states: words(states) }
    }

    /// A metric by the name of a series of it.
    pub fn get(&self, series: &str) -> Option<&Metric> {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| {
            self.by_name.get(series.strip_suffix(part)?).filter(|metric| metric.kind == "histogram")
        });
        self.by_name.get(series).or(of_histogram)
    }

    /// The labels of a metric that has to be there.
    pub fn labels(&self, name: &str) -> &[String] {
        &self.get(name).unwrap_or_else(|| panic!("docs/metrics.md has no {name}")).labels
    }

    /// Its labels but some, to sum over.
    pub fn labels_but(&self, name: &str, kept: &[&str]) -> String {
        let others = self.labels(name).iter().filter(|label| !kept.contains(&label.as_str()));
        others.map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

fn row(line: &str) -> Option<(String, Metric)> {
    let mut cells = line.strip_prefix("| `tcpwatch_")?.split(" | ");
    let name = cells.next()?.trim_end_matches('`');
    let kind = cells.next()?.trim().to_owned();
    let rest: Vec<&str> = cells.collect();
    // Without labels the cell is only a space, which belongs to both bars.
    let labels = rest.first().map(|cell| words(cell)).unwrap_or_default();
    let in_order = rest.first().into_iter().flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let has_labels = rest.len() > 1;
    let labels = in_order.filter(|label| has_labels && labels.contains(*label)).map(str::to_owned).collect();
    Some((format!("tcpwatch_{name}"), Metric { kind, labels, words: words(&rest.join(" ")) }))
}

/// What stands between backquotes.
fn words(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_tables_are_read() {
    let metrics = Metrics::read();
    assert_eq!(metrics.labels("tcpwatch_connection_ends_total"), ["state", "cause"]);
    assert!(metrics.labels("tcpwatch_illegal_transitions_total").is_empty());
    assert_eq!(metrics.labels_but("tcpwatch_resets_total", &["reason"]), "direction");
    assert_eq!(metrics.get("tcpwatch_handshake_seconds_bucket").expect("a part").kind, "histogram");
    assert!(metrics.get("tcpwatch_sockets_count").is_none() && metrics.get("tcpwatch_socket").is_none());
    assert!(metrics.states.len() == 11 && metrics.states.contains("fin_wait1"), "{:?}", metrics.states);
}
