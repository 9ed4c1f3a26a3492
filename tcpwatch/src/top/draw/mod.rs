//! The screen, as text in a buffer.
//!
//! Only plain characters, and nothing is told by colour alone: terminals without colours, without Unicode and far away
//! show as much.

mod about;
mod detail;
mod health;
mod help;
mod lines;
mod machine;
mod panes;
mod paper;
mod timeline;

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::App;
use super::data::Snapshot;
use super::pane::Pane;
use paper::{Ink, Paper, age, fit};

/// A screen must have so much room.
const NARROWEST: u16 = 40;
const LOWEST: u16 = 10;

/// All panes fit from here on; below there is one beside the findings.
const ROOMY: (u16, u16) = (76, 22);

/// Rows of the state machine with its heading.
const MACHINE: u16 = 8;

/// Rows that listeners, owners and remote ends have at least.
const OTHERS: u16 = 8;

pub use lines::plain;

/// Draws everything.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let paper = &mut Paper::new(buffer, area, app.options.has_colours);
    if area.width < NARROWEST || area.height < LOWEST {
        paper.put(0, 0, &format!("{NARROWEST}x{LOWEST} or more is needed, q quits"), Ink::Plain);
        return;
    }
    if app.has_help {
        help::draw(app, paper);
        return;
    }
    header(app, paper);
    let bottom = bottom(app);
    let body = Rect { y: 1, height: area.height - 1 - bottom, x: 0, width: area.width };
    match (&app.detail, app.shown()) {
        (Some(detail), Some(snapshot)) => detail::draw(app, detail, snapshot, paper, body),
        (_, Some(snapshot)) => overview(app, snapshot, paper, body),
        (_, None) => {
            paper.put(1, 3, "waiting for the first figures", Ink::Plain);
            let trouble = app.trouble.as_ref().map(|trouble| format!("trying again: {trouble}"));
            for (row, line) in (5..).zip(paper::wrap(&trouble.unwrap_or_default(), area.width - 2)) {
                paper.put(1, row, &line, Ink::Alarm);
            }
        }
    }
    footer(app, paper, area.height - bottom);
}

/// How far one can scroll what is looked into.
pub(super) fn most_scroll(app: &App) -> usize {
    let height = app.size.1.saturating_sub(1 + bottom(app));
    detail::most_scroll(app, app.size.0, height)
}

/// Rows below the panes.
fn bottom(app: &App) -> u16 {
    if app.timeline.is_some() { 4 } else { 2 }
}

fn header(app: &App, paper: &mut Paper<'_>) {
    let mut left = String::from("tcpwatch top");
    if let Some(snapshot) = app.shown() {
        let host = snapshot.host.as_deref().unwrap_or("unnamed host");
        _ = write!(left, "  {host}  {}", paper::clock(snapshot.at));
        if paper.width() >= 100 {
            _ = write!(left, "  from {}", app.options.source);
            if let Some(uptime) = snapshot.uptime {
                _ = write!(left, "  up {}", age(uptime));
            }
            _ = write!(left, "  {} network namespaces", snapshot.namespaces.len());
        }
    }
    let (state, ink) = match (&app.timeline, app.stale(), app.is_paused) {
        (Some(timeline), ..) if timeline.is_playing => (format!("PLAYING {}x", timeline.speed), Ink::Header),
        (Some(_), ..) => ("RECORDING".into(), Ink::Header),
        (None, Some(stale), _) => (format!("NO NEW DATA FOR {}", age(stale)), Ink::Alarm),
        (None, None, true) => ("PAUSED, space goes on".into(), Ink::Alarm),
        _ => (String::new(), Ink::Header),
    };
    paper.fill(0, 0, paper.width(), Ink::Header);
    let room = usize::from(paper.width()).saturating_sub(state.len() + 1);
    paper.put(0, 0, &fit(&left, room), Ink::Header);
    let start = paper.width().saturating_sub(u16::try_from(state.len()).unwrap_or(0));
    paper.put(start, 0, &state, ink);
}

fn overview(app: &App, snapshot: &Snapshot, paper: &mut Paper<'_>, body: Rect) {
    if app.is_zoomed {
        pane(app, snapshot, paper, app.focus, body);
        return;
    }
    let (width, height) = (body.width, body.height);
    let count = u16::try_from(app.findings().len()).unwrap_or(u16::MAX).clamp(1, 100);
    if width < ROOMY.0 || height + 3 < ROOMY.1 {
        let top = Rect { height: (count + 1).min(height / 3).max(2), ..body };
        let rest = Rect { y: body.y + top.height, height: height - top.height, ..body };
        let other = if app.focus == Pane::Findings { Pane::States } else { app.focus };
        pane(app, snapshot, paper, Pane::Findings, top);
        pane(app, snapshot, paper, other, rest);
        return;
    }
    let rest = height - MACHINE;
    // Each may have a second row, as long as enough is left for the others.
    let findings =
        if 2 * count + 1 + OTHERS <= rest { 2 * count + 1 } else { (count + 1).min((rest / 3).max(4)) };
    let pair = (rest - findings) / 2 + 1;
    let mut y = body.y;
    let mut take = |height: u16| {
        let area = Rect { x: 0, y, width, height };
        y += height;
        area
    };
    pane(app, snapshot, paper, Pane::Findings, take(findings));
    pane(app, snapshot, paper, Pane::States, take(MACHINE));
    pane(app, snapshot, paper, Pane::Listeners, take(rest - findings - pair));
    let pair = take(pair);
    // What owners have takes more words.
    let half = width / 2 + 4;
    pane(app, snapshot, paper, Pane::Owners, Rect { width: half - 1, ..pair });
    pane(app, snapshot, paper, Pane::Remotes, Rect { x: half, width: width - half, ..pair });
}

fn pane(app: &App, snapshot: &Snapshot, paper: &mut Paper<'_>, pane: Pane, area: Rect) {
    match pane {
        Pane::States => machine::draw(app, snapshot, paper, area),
        _ => panes::draw(app, snapshot, paper, pane, area),
    }
}

/// A message, the time line if there is one, and the keys.
fn footer(app: &App, paper: &mut Paper<'_>, y: u16) {
    let width = paper.width();
    if let Some(prompt) = &app.prompt {
        let line = format!("{}{}_", prompt.label(), prompt.text);
        // The end is where one types.
        let over = line.chars().count().saturating_sub(usize::from(width));
        paper.put(0, y + bottom(app) - 1, &line.chars().skip(over).collect::<String>(), Ink::Strong);
        let help = prompt.error.as_deref().unwrap_or("Enter: use it, Esc: leave it, Ctrl-U: empty it");
        paper.put(0, y, &fit(help, width.into()), if prompt.error.is_some() { Ink::Alarm } else { Ink::Dim });
    } else {
        let message = match (&app.trouble, &app.note, app.shown()) {
            (Some(trouble), _, Some(_)) => Some((format!("trying again: {trouble}"), Ink::Alarm)),
            (_, Some((note, _)), _) => Some((note.clone(), Ink::Strong)),
            (_, _, Some(snapshot)) => snapshot.notes.first().map(|note| (note.clone(), Ink::Dim)),
            _ => None,
        };
        if let Some((message, ink)) = message {
            paper.put(0, y, &fit(&message, width.into()), ink);
        }
        paper.put(0, y + bottom(app) - 1, &fit(keys(app), width.into()), Ink::Dim);
    }
    if let Some(timeline) = &app.timeline {
        timeline::draw(timeline, paper, y + 1);
    }
}

fn keys(app: &App) -> &'static str {
    match (&app.detail, &app.timeline) {
        (Some(detail), None) if detail.is_on_sockets() => {
            "q quit  ? help  Esc back  Tab next view  / filter  s sort  space pause"
        }
        (Some(_), None) => "q quit  ? help  Esc back  Tab next view  arrows scroll  r reload the page",
        (None, None) => "q quit  ? help  1-5 pane  Enter look into  s sort  / filter  z zoom  space pause",
        (Some(_), Some(_)) => "q quit  ? help  Esc back  Tab next view  space play  , . step  n N finding",
        (None, Some(_)) => "q quit  ? help  Enter look into  space play  , . step  n N finding  g go to time",
    }
}
