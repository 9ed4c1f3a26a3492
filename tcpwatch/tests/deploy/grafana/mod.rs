//! `deploy/grafana/`: dashboards, put together from descriptions of their panels.
//!
//! `panel.rs` and `board.rs` are the words that a dashboard is described in, `json.rs` and `table.rs` write them as
//! Grafana reads them, and there is a file for each dashboard. That every query gives data is shown by a live test,
//! that Grafana's own types fit by `cargo xtask grafana`.

mod board;
mod check;
mod findings;
mod json;
mod listeners;
mod node;
mod own;
mod owners;
mod page;
mod panel;
mod provisioning;
mod table;

use board::Board;

pub fn boards() -> Vec<Board> {
    vec![node::board(), listeners::board(), owners::board(), findings::board(), own::board()]
}
