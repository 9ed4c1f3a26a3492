//! One thing looked into.

use std::fmt::Write as _;

use ratatui::layout::Rect;

use super::about::{self, Lines};
use super::health::health;
use super::paper::{Ink, Paper, age, count, fit, left, short, wrap};
use crate::top::App;
use crate::top::data::{Snapshot, Socket};
use crate::top::detail::{Detail, SORTS, Tab};

pub(super) fn draw(app: &App, detail: &Detail, snapshot: &Snapshot, paper: &mut Paper<'_>, area: Rect) {
    let gone = if detail.is_gone { ", over: this is how it was" } else { "" };
    paper.title(Rect { height: 1, ..area }, &format!("{}{gone}", detail.subject.title()), Ink::Focus);
    let mut x = area.x;
    for tab in &detail.tabs {
        let text = format!("[{}]", tab.name());
        paper.put(x, area.y + 1, &text, if *tab == detail.tab() { Ink::Chosen } else { Ink::Dim });
        x += u16::try_from(text.len()).unwrap_or(0) + 1;
    }
    let area = Rect { y: area.y + 2, height: area.height.saturating_sub(2), ..area };
    if detail.tab() == Tab::Sockets {
        sockets(app, detail, paper, area);
    } else {
        let lines = lines(detail, snapshot, area);
        show(&lines, detail.scroll, paper, area);
    }
}

/// How far one can scroll.
pub(super) fn most_scroll(app: &App, width: u16, height: u16) -> usize {
    let (Some(detail), Some(snapshot)) = (&app.detail, app.shown()) else { return 0 };
    let area = Rect { x: 0, y: 0, width, height: height.saturating_sub(2) };
    match detail.tab() {
        // Two rows above them.
        Tab::Sockets => {
            detail.sockets.rows().len().saturating_sub(usize::from(area.height.saturating_sub(2)))
        }
        _ => lines(detail, snapshot, area).len().saturating_sub(area.height.into()),
    }
}

fn lines(detail: &Detail, snapshot: &Snapshot, area: Rect) -> Lines {
    if detail.tab() == Tab::About {
        return about::lines(&detail.subject, snapshot, area);
    }
    match &detail.page.text {
        None => vec![("waiting for the page".into(), Ink::Dim)],
        Some(Err(error)) => wrap(error, area.width).into_iter().map(|line| (line, Ink::Alarm)).collect(),
        Some(Ok(text)) => text.lines().flat_map(|line| page_line(line, area.width)).collect(),
    }
}

/// Pages are laid out for 80 columns; a terminal that has fewer shows longer lines on two.
fn page_line(line: &str, width: u16) -> Lines {
    if line.chars().count() <= usize::from(width) {
        return vec![(line.to_owned(), Ink::Plain)];
    }
    wrap(line, width).into_iter().map(|line| (line, Ink::Plain)).collect()
}

fn show(lines: &Lines, scroll: usize, paper: &mut Paper<'_>, area: Rect) {
    for (row, (text, ink)) in (area.y..area.y + area.height).zip(lines.iter().skip(scroll)) {
        paper.put(area.x, row, text, *ink);
    }
    let below = lines.len().saturating_sub(scroll + usize::from(area.height));
    if below > 0 && area.width > 20 {
        let more = format!(" {below} more lines ");
        let x = area.width.saturating_sub(u16::try_from(more.len()).unwrap_or(0));
        paper.put(x, area.y + area.height - 1, &more, Ink::Chosen);
    }
}

fn sockets(app: &App, detail: &Detail, paper: &mut Paper<'_>, area: Rect) {
    let view = &detail.sockets;
    let width = usize::from(area.width);
    let rows = view.rows();
    let filter = if view.filter.is_empty() { "all sockets" } else { &view.filter };
    let shown = match (&view.answer, &view.error) {
        _ if app.timeline.is_some() => "a recording has no single sockets".into(),
        (_, Some(error)) => error.clone(),
        (None, None) => "waiting for the sockets".into(),
        (Some(answer), None) => {
            let problems = if answer.problems.is_empty() { "" } else { ", not all could be looked at" };
            let all = answer.total;
            if rows.len() as u64 == all {
                format!("{all} by {}{problems}", SORTS[view.sort])
            } else {
                format!("the {} oldest of {all} by {}{problems}", rows.len(), SORTS[view.sort])
            }
        }
    };
    let ink = if view.error.is_some() { Ink::Alarm } else { Ink::Strong };
    paper.put(area.x, area.y, &fit(&format!("{filter}: {shown}"), width), ink);
    if app.timeline.is_some() || area.height < 3 {
        return;
    }
    let head = line(&HEAD.map(String::from), width).remove(0);
    paper.put(area.x, area.y + 1, &fit(&head, width), Ink::Dim);
    let lines = rows.into_iter().skip(detail.scroll).flat_map(|socket| line(&cells(socket), width));
    for (row, text) in (area.y + 2..area.y + area.height).zip(lines) {
        paper.put(area.x, row, &fit(&text, width), Ink::Plain);
    }
}

const HEAD: [&str; 9] = ["state", "age", "local", "remote", "unread", "unsent", "resent", "rtt", "owner"];

fn cells(one: &Socket) -> [String; 9] {
    let number = |number: Option<u64>| number.map_or_else(|| count(None), short);
    [
        one.state.clone(),
        one.age.map_or_else(|| "?".into(), age),
        one.local.clone(),
        one.remote.clone().unwrap_or_else(|| "*".into()),
        number(one.recv_queue),
        number(one.send_queue),
        number(one.retransmits),
        one.rtt.map_or_else(|| "?".into(), |rtt| format!("{:.1}ms", rtt.as_secs_f64() * 1000.0)),
        owner(one),
    ]
}

/// The owner, and behind it what keeps the connection from going on.
fn owner(one: &Socket) -> String {
    let (owner, health) = (one.owner.long_name(), health(&one.vitals));
    if health.is_empty() { owner } else { format!("{owner}: {health}") }
}

/// Columns that there is room for. Addresses are what a socket is known by: where two do not fit side by side, the
/// second is on a line of its own.
fn line(cells: &[String; 9], width: usize) -> Vec<String> {
    let address = if width >= 150 { 47 } else { 21 };
    let [state, age, local, remote, unread, unsent, resent, rtt, owner] = cells;
    let ends = local.chars().count().max(address) + remote.chars().count().max(address);
    let begin = format!("{} {age:>6}", left(state, 11));
    let mut rest = format!("{remote:<address$} {unread:>6} {unsent:>6}");
    if width >= 110 {
        _ = write!(rest, " {resent:>6} {rtt:>8} {owner}");
    }
    if ends + 34 > width {
        return vec![format!("{begin} {local}"), format!("{:>18} {rest}", "to")];
    }
    vec![format!("{begin} {local:<address$} {rest}")]
}
