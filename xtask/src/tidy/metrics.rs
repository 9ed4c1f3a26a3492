//! Metrics that documents, dashboards and alerts name are metrics that tcpwatch serves.
//!
//! A recording rule names what it records `level:metric:operation`, the metric without the `_total` of its counter.

use super::Violation;
use super::tree::{File, Tree, has_extension};
use super::words::has_word;

const PREFIX: &str = "tcpwatch_";
/// Names of crates, which look the same.
const CRATES: [&str; 2] = ["tcpwatch_common", "tcpwatch_ebpf"];
/// What Prometheus appends to the name of a histogram.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

pub fn check(tree: &Tree) -> Vec<Violation> {
    let in_serve = |file: &&File| file.path.starts_with("tcpwatch/src/serve");
    let served: Vec<&str> = tree.files.iter().filter(in_serve).map(|file| file.text.as_str()).collect();
    if served.is_empty() {
        return Vec::new();
    }
    let served = served.join("\n");
    let mut violations = Vec::new();
    for file in tree.files.iter().filter(|file| names_metrics(&file.path)) {
        for (index, line) in file.text.lines().enumerate() {
            let recorded =
                |name: &str| is_recorded(line, name) && has_word(&served, &format!("{name}_total"));
            for name in names(line).filter(|name| !is_served(&served, name) && !recorded(name)) {
                violations.push(Violation {
                    path: file.path.clone(),
                    line: index + 1,
                    rule: "metric",
                    message: format!("{name} is not served: there is no such name in tcpwatch/src/serve"),
                });
            }
        }
    }
    violations
}

fn names_metrics(path: &str) -> bool {
    path.starts_with("deploy/") || (path.starts_with("docs/") && has_extension(path, "md"))
}

fn names(line: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices(PREFIX).filter_map(move |(at, _)| {
        let rest = &line[at..];
        let (name, after) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
        // `tcpwatch_overview.json` is a file.
        let is_file = after.strip_prefix('.').is_some_and(|after| after.starts_with(is_name));
        (!line[..at].ends_with(is_name) && !is_file && !CRATES.contains(&name)).then_some(name)
    })
}

fn is_served(served: &str, name: &str) -> bool {
    // `tcpwatch_host_*` stands for all that begin so.
    let group = name.ends_with('_') && served.contains(name);
    let mut bases = PARTS.iter().filter_map(|part| name.strip_suffix(part));
    group || has_word(served, name) || bases.any(|base| has_word(served, base))
}

/// Whether it is the middle of `level:metric:operation`.
fn is_recorded(line: &str, name: &str) -> bool {
    line.contains(&format!(":{name}:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(path: &str, text: &str) -> Vec<usize> {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let served = "\"tcpwatch_sockets\" \"tcpwatch_rtt_seconds\" \"tcpwatch_drops_total\"";
        let served = file("tcpwatch/src/serve/metrics.rs", served);
        let tree = Tree { root: "/nowhere".into(), files: vec![served, file(path, text)] };
        check(&tree).into_iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn only_served_metrics_are_named() {
        let text = "sum(tcpwatch_sockets)\ntcpwatch_rtt_seconds_bucket\ntcpwatch_rtt_*\n\
            tcpwatch_socket\ntcpwatch_sockets_total\ntcpwatch_no_*\ntcpwatch_sockets_bucketed\n";
        assert_eq!(unknown("docs/metrics.md", text), [4, 5, 6, 7]);
        assert_eq!(unknown("deploy/rules/alerts.yaml", text), [4, 5, 6, 7]);
        assert!(unknown("README.md", text).is_empty());
    }

    #[test]
    fn recorded_names_are_those_of_counters_that_are_served() {
        let text = "instance:tcpwatch_drops:rate5m\ninstance:tcpwatch_sockets:sum\ntcpwatch_drops\n\
            instance:tcpwatch_drop:rate5m\ninstance:tcpwatch_drops\n";
        assert_eq!(unknown("docs/alerting.md", text), [3, 4, 5]);
    }

    #[test]
    fn other_names_are_left_alone() {
        let text = "tcpwatch_common and tcpwatch_ebpf\ndeploy/tcpwatch_overview.json\nmy_tcpwatch_thing\n";
        assert!(unknown("docs/metrics.md", text).is_empty());
    }

    #[test]
    fn nothing_is_said_before_metrics_exist() {
        let file = File { path: "docs/metrics.md".into(), text: "tcpwatch_sockets".into() };
        assert!(check(&Tree { root: "/nowhere".into(), files: vec![file] }).is_empty());
    }
}
