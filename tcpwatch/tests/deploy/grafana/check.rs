//! The files are what the code says, and name nothing that does not exist.

use std::collections::BTreeSet;
use std::fs;

use super::board::Board;
use super::panel::View;
use super::{boards, json, table};
use crate::documented::Metrics;
use crate::{committed, promql, recording};

#[test]
fn the_files_are_what_the_code_says() {
    let boards = boards();
    for board in &boards {
        let text = serde_json::to_string_pretty(&json::dashboard(board)).expect("JSON");
        committed::expect(&board.path(), &format!("{text}\n"));
    }
    let listed = fs::read_dir(committed::root().join("deploy/grafana")).expect("list the dashboards");
    let listed = listed.map(|file| file.expect("a file").path());
    let files: BTreeSet<String> = listed
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| format!("deploy/grafana/{}", path.file_name().expect("a name").display()))
        .collect();
    assert_eq!(files, boards.iter().map(Board::path).collect(), "and there is no other");
}

/// What stands between `{{` and `}}`.
fn placeholders(legend: &str) -> Vec<&str> {
    legend.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(label, _)| label).collect()
}

/// Variables that an expression names, but those of Grafana itself.
fn variables(expr: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = expr.split('$').skip(1).map(|rest| rest.split(|c| !is_part(c)).next().unwrap_or_default());
    names.filter(|name| !name.starts_with("__")).collect()
}

/// What is wrong with an expression of a dashboard and the labels that are to be shown of it.
fn faults(board: &Board, expr: &str, shown: &[&str], metrics: &Metrics) -> Vec<String> {
    let recorded: Vec<&str> = recording::rules(metrics).iter().map(|rule| rule.name).collect();
    let mut faults = promql::faults(expr, metrics, &recorded);
    let listed = promql::named(expr).listed;
    // Only what an expression is grouped by is left of its labels.
    let is_there = |label: &&str| listed.iter().any(|one| one == *label);
    faults
        .extend(shown.iter().filter(|label| !is_there(label)).map(|label| format!("{expr} has no {label}")));
    let known = |name: &&str| board.variables.iter().any(|one| one.name == *name);
    faults
        .extend(variables(expr).iter().filter(|name| !known(name)).map(|name| format!("{expr}: no ${name}")));
    faults
}

#[test]
fn dashboards_name_only_what_exists() {
    let metrics = Metrics::read();
    let recorded: Vec<&str> = recording::rules(&metrics).iter().map(|rule| rule.name).collect();
    let mut wrong = Vec::new();
    for board in boards() {
        for variable in &board.variables {
            assert_eq!(promql::faults(&variable.series, &metrics, &recorded), [""; 0], "{}", variable.name);
            let metric = promql::named(&variable.series).selectors[0].0.clone();
            let is_label = metrics.labels(&metric).iter().any(|label| label == variable.name);
            assert!(is_label || promql::TARGET.contains(&variable.name), "{metric} has no {}", variable.name);
        }
        for panel in board.panels() {
            let labels = if panel.view == View::Table { table::labels(panel) } else { Vec::new() };
            for query in &panel.queries {
                let mut shown: Vec<&str> = labels.iter().map(String::as_str).collect();
                shown.extend(placeholders(&query.legend));
                let faults = faults(&board, &query.expr, &shown, &metrics);
                wrong
                    .extend(faults.iter().map(|fault| format!("{} / {}: {fault}", board.title, panel.title)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let board = &boards()[0];
    let shown = ["instance", "kind", "severity", "process", "listen_addr"];
    assert_eq!(faults(board, json::FINDINGS, &shown, &metrics), [""; 0], "annotations");
}

#[test]
fn what_does_not_exist_is_found() {
    let (metrics, board) = (Metrics::read(), &boards()[0]);
    let faults = |expr: &str, shown: &[&str]| faults(board, expr, shown, &metrics);
    assert_eq!(faults("sum by (state) (tcpwatch_sockets{instance=~\"$instance\"})", &["state"]), [""; 0]);
    for (expr, shown, said) in [
        ("sum by (state) (tcpwatch_sockets{instance=~\"$host\"})", &["state"][..], "no $host"),
        ("sum by (state) (tcpwatch_sockets)", &["cause"], "has no cause"),
        ("tcpwatch_sockets", &["state"], "has no state"),
        ("sum by (cause) (tcpwatch_sockets)", &["cause"], "a label cause"),
        (
            "sum by (instance) (instance:tcpwatch_nothing:rate5m)",
            &["instance"],
            "has no instance:tcpwatch_nothing",
        ),
    ] {
        let found = faults(expr, shown);
        assert!(found.len() == 1 && found[0].contains(said), "{expr}: {found:?}");
    }
}

#[test]
fn every_panel_says_what_it_shows_and_fits() {
    let mut addresses = BTreeSet::new();
    for board in boards() {
        assert!(addresses.insert(board.uid()) && board.uid().len() <= 40, "{}", board.uid());
        let mut titles = BTreeSet::new();
        for panel in board.panels() {
            let title = panel.title;
            assert!(titles.insert(title), "two panels {title}");
            assert!(panel.shows.ends_with('.'), "{title}: a sentence says what it shows");
            assert!(panel.worry.is_empty() || panel.worry.ends_with('.'), "{title}: worry");
            assert!(panel.width <= 24 && panel.height > 2, "{title}: its size");
            assert_eq!(
                panel.columns.len(),
                if panel.view == View::Table { panel.queries.len() } else { 0 },
                "{title}"
            );
            assert_eq!(panel.text.is_empty(), panel.view != View::Text, "{title}");
            assert_eq!(panel.queries.is_empty(), panel.view == View::Text, "{title}");
            if let Some(page) = &panel.page {
                let (_, path) = page.split_once("/blob/HEAD/").expect("a page of the project");
                assert!(committed::root().join(path).is_file(), "{title}: there is no {path}");
            }
        }
    }
}
