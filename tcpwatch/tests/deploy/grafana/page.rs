//! The tables in `docs/dashboards.md`.

use std::fmt::Write as _;

use super::boards;
use crate::committed;

const PAGE: &str = "docs/dashboards.md";

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[test]
fn the_tables_are_what_the_code_says() {
    let (mut overview, mut all) =
        (String::from("| dashboard | answers | panels |\n|---|---|---|\n"), String::new());
    for board in boards() {
        let panels = board.panels().count();
        let name = board.name;
        let _ = writeln!(
            overview,
            "| [{}](../deploy/grafana/{name}.json) | {} | {panels} |",
            board.title, board.answers
        );
        let _ = write!(all, "### {}\n\n| panel | shows | worry |\n|---|---|---|\n", board.title);
        for panel in board.panels() {
            let _ = writeln!(all, "| {} | {} | {} |", panel.title, cell(panel.shows), cell(panel.worry));
        }
        all.push('\n');
    }
    committed::expect_part(PAGE, "dashboards", &overview);
    committed::expect_part(PAGE, "panels", &format!("{}\n", all.trim_end()));
}
