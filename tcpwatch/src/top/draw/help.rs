//! What keys do, for people.

use super::paper::{Ink, Paper};
use crate::top::App;

const LIVE: &[(&str, &str)] = &[
    ("q, Ctrl-C", "quit"),
    ("?", "this help; any key leads back"),
    ("Tab, 1 to 5", "another pane: findings, states, listeners, owners, remotes"),
    ("arrows, j k, PgUp", "another row"),
    ("Enter", "look into a row: figures, sockets, explanation"),
    ("Tab", "there: the next of these"),
    ("Esc", "back"),
    ("z", "the pane alone, on all of the screen; again for all panes"),
    ("s, S", "sort by something else"),
    ("/", "rows with a text; sockets by a filter: port=80 older-than=5m"),
    ("space, p", "stop the picture, and let it go on"),
    ("r", "load the explanation anew, with the values of now"),
    ("Ctrl-L, Ctrl-Z", "draw the screen anew; to the shell for a while (fg)"),
];

const RECORDED: &[(&str, &str)] = &[
    ("space, p", "play, and stop"),
    ("+ -", "play faster, slower"),
    (", .", "one sample back, forward"),
    ("left, right", "10 seconds back, forward"),
    ("[ ]", "5 minutes back, forward"),
    ("n N", "to the next finding that was opened, to the one before"),
    ("g", "go to 03:12, 2026-01-31T03:12:00Z, or -10m before the end"),
    ("< >", "to the beginning, to the end"),
];

pub(super) fn draw(app: &App, paper: &mut Paper<'_>) {
    paper.fill(0, 0, paper.width(), Ink::Header);
    paper.put(0, 0, "tcpwatch top: help", Ink::Header);
    let live = LIVE.iter().filter(|(key, _)| app.timeline.is_none() || *key != "space, p");
    let recorded = RECORDED.iter().filter(|_| app.timeline.is_some());
    let mut row = 1;
    for (key, text) in live.chain(recorded) {
        paper.put(1, row, key, Ink::Strong);
        paper.put(20, row, &super::fit(text, usize::from(paper.width().saturating_sub(20))), Ink::Plain);
        row += 1;
    }
    let notes = [
        "! beside a state: a finding shows in it. A listener's drops: all, + those of the last 10 s.",
        "Findings are explained by `tcpwatch findings --long`, everything by `tcpwatch explain`.",
    ];
    row += 1;
    for note in notes {
        for line in super::paper::wrap(note, paper.width().saturating_sub(2)) {
            if row < paper.height() {
                paper.put(1, row, &line, Ink::Dim);
            }
            row += 1;
        }
    }
}
