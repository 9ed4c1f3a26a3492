//! The TCP state machine with the sockets in each state and the transitions per second between them.

use ratatui::layout::Rect;
use tcpwatch_common::TcpState as S;

use super::paper::{Ink, Paper, count, fit, left, rate, right, short};
use crate::top::App;
use crate::top::data::{Flow, Snapshot};
use crate::top::pane::Pane;
use crate::top::subject::states_of;

/// Columns of a state.
const NODE: u16 = 11;
/// Columns from one state to the next.
const STEP: u16 = 17;
/// The whole picture.
const WIDTH: u16 = NODE + 4 * STEP;
const ROWS: u16 = 7;

/// Where each state is: column and row.
const PLACES: [(S, u16, u16); 11] = [
    (S::Close, 0, 0),
    (S::SynSent, 1, 0),
    (S::Listen, 0, 4),
    (S::SynRecv, 1, 4),
    (S::Established, 2, 2),
    (S::FinWait1, 3, 0),
    (S::FinWait2, 4, 0),
    (S::Closing, 3, 2),
    (S::TimeWait, 4, 2),
    (S::CloseWait, 3, 4),
    (S::LastAck, 4, 4),
];

/// Arrows that are drawn: from, to, column after which, row. Linux hands a socket in TIME_WAIT over to a mini-socket,
/// which its tracepoint tells as its end.
const ARROWS: [(S, S, u16, u16); 8] = [
    (S::Close, S::SynSent, 0, 0),
    (S::Listen, S::SynRecv, 0, 4),
    (S::SynSent, S::Established, 1, 0),
    (S::SynRecv, S::Established, 1, 4),
    (S::Established, S::FinWait1, 2, 0),
    (S::Established, S::CloseWait, 2, 4),
    (S::FinWait1, S::FinWait2, 3, 0),
    (S::CloseWait, S::LastAck, 3, 4),
];

pub(super) fn draw(app: &App, snapshot: &Snapshot, paper: &mut Paper<'_>, area: Rect) {
    let has_focus = app.focus == Pane::States && app.detail.is_none();
    let mut title = format!(
        "2 States, transitions per second{}",
        if snapshot.flows.is_some() { "" } else { ": not known without eBPF" }
    );
    if !snapshot.is_complete {
        title += ", sockets older than the daemon are not all counted yet";
    }
    paper.title(area, &title, if has_focus { Ink::Focus } else { Ink::Title });
    if area.height < ROWS + 1 || area.width < WIDTH {
        list(app, snapshot, paper, area, has_focus);
        return;
    }
    let top = area.y + 1;
    for (state, column, row) in PLACES {
        let x = area.x + column * STEP;
        let ink = ink(snapshot, state);
        let mut number = count(snapshot.count(state));
        if number.len() > usize::from(NODE) {
            number = snapshot.count(state).map_or_else(|| "?".into(), short);
        }
        let mark = if ink == Ink::Plain { " " } else { "!" };
        let ink = if is_chosen(app, state) { Ink::Chosen } else { ink };
        paper.put(x, top + row, &left(state.name(), NODE.into()), ink);
        paper.put(x, top + row + 1, &format!("{number:>10}{mark}"), ink);
    }
    for (from, to, column, row) in ARROWS {
        let per_second = snapshot.rate(from, to);
        paper.put(area.x + column * STEP + NODE, top + row, &arrow(per_second), flow_ink(per_second));
    }
    // Ends of sockets that were closed at both sides at once, and of those that wait.
    let (closing, waiting) = (snapshot.rate(S::Closing, S::Close), snapshot.rate(S::FinWait2, S::Close));
    paper.put(area.x + 3 * STEP + NODE, top + 2, &arrow(closing), flow_ink(closing));
    if waiting.is_some_and(|number| number > 0.0) {
        // Down from fin_wait2 to time_wait.
        let down = format!("{} v", right(&rate(waiting), 4));
        paper.put(area.x + 3 * STEP + NODE, top + 1, &down, flow_ink(waiting));
    }
    let has_table = area.width >= WIDTH + 50;
    let room = if has_table { WIDTH } else { area.width };
    paper.put(area.x, top + 6, &fit(&others(snapshot), room.into()), Ink::Plain);
    if has_table {
        table(
            snapshot,
            paper,
            Rect { x: area.x + WIDTH + 5, y: top, width: area.width - WIDTH - 5, height: ROWS },
        );
    }
}

/// `-12->`, or a mere line where nothing moves.
fn arrow(per_second: Option<f64>) -> String {
    match per_second {
        Some(number) if number <= 0.0 => " - - >".into(),
        _ => format!("{:-^5}>", rate(per_second)),
    }
}

fn flow_ink(per_second: Option<f64>) -> Ink {
    if per_second.is_some_and(|number| number > 0.0) { Ink::Good } else { Ink::Dim }
}

fn is_chosen(app: &App, state: S) -> bool {
    let chosen = S::RFC.get(app.view(Pane::States).cursor.index);
    app.focus == Pane::States && chosen == Some(&state)
}

/// A state in which a finding shows is marked.
fn ink(snapshot: &Snapshot, state: S) -> Ink {
    let findings = snapshot.findings.iter().flatten().filter(|one| states_of(&one.kind).contains(&state));
    match findings.map(|one| one.is_critical).max() {
        Some(true) => Ink::Critical,
        Some(false) => Ink::Warning,
        None => Ink::Plain,
    }
}

/// Transitions that the picture has no arrow for, the most frequent first; and what the numbers hide.
fn others(snapshot: &Snapshot) -> String {
    let mut parts = Vec::new();
    if let Some(half_open) = snapshot.half_open.filter(|count| *count > 0) {
        parts.push(format!("{half_open} half-open"));
    }
    if let Some(orphans) = snapshot.orphans.filter(|count| *count > 0) {
        parts.push(format!("{orphans} orphans in fin_wait2"));
    }
    let is_drawn = |flow: &&Flow| {
        let arrows = ARROWS.iter().any(|(from, to, ..)| (*from, *to) == (flow.from, flow.to));
        arrows || (flow.to == S::Close && matches!(flow.from, S::Closing | S::FinWait2 | S::LastAck))
    };
    for flow in moving(snapshot).into_iter().filter(|flow| !is_drawn(flow)).take(4) {
        let verdict = if flow.verdict == "illegal" { " ILLEGAL" } else { "" };
        parts.push(format!("{}>{} {}/s{verdict}", flow.from.name(), flow.to.name(), rate(flow.rate)));
    }
    if parts.is_empty() { String::new() } else { format!("also: {}", parts.join(", ")) }
}

/// Illegal ones first, then the most frequent.
fn moving(snapshot: &Snapshot) -> Vec<&Flow> {
    let mut flows: Vec<&Flow> =
        snapshot.flows.iter().flatten().filter(|flow| flow.rate.is_some_and(|rate| rate > 0.0)).collect();
    let of = |flow: &Flow| (flow.verdict != "illegal", -flow.rate.unwrap_or(0.0));
    flows.sort_by(|a, b| {
        let (a, b) = (of(a), of(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    flows
}

/// Transitions as a list, where there is room.
fn table(snapshot: &Snapshot, paper: &mut Paper<'_>, area: Rect) {
    let head = format!("{:>6} {:>12}  {:<30} {}", "per s", "since start", "transition", "verdict");
    paper.put(area.x, area.y, &head, Ink::Dim);
    for (row, flow) in (area.y + 1..area.y + area.height).zip(moving(snapshot)) {
        let pair = format!("{} > {}", flow.from.name(), flow.to.name());
        let line = format!("{:>6} {:>12}  {pair:<30} {}", rate(flow.rate), flow.count, flow.verdict);
        let ink = if flow.verdict == "illegal" { Ink::Critical } else { Ink::Plain };
        paper.put(area.x, row, &line, ink);
    }
}

/// Where the picture has no room.
fn list(app: &App, snapshot: &Snapshot, paper: &mut Paper<'_>, area: Rect, has_focus: bool) {
    let rows = usize::from(area.height.saturating_sub(1));
    let chosen = app.view(Pane::States).cursor.index;
    let first = if has_focus { (chosen + 1).saturating_sub(rows) } else { 0 };
    for (row, state) in (area.y + 1..area.y + area.height).zip(S::RFC.iter().skip(first)) {
        let ink = ink(snapshot, *state);
        let mark = if ink == Ink::Plain { "" } else { " !" };
        let line = format!("{:<12}{:>10}{mark}", state.name(), count(snapshot.count(*state)));
        paper.put(area.x, row, &line, if has_focus && is_chosen(app, *state) { Ink::Chosen } else { ink });
    }
}
