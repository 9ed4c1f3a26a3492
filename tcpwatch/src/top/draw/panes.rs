//! The panes that are lists: findings, listeners, owners, remote ends.

use std::fmt::Write as _;

use ratatui::layout::Rect;

use super::paper::{Ink, Paper, age, count, fit, left, place, right, short, wrap};
use crate::top::App;
use crate::top::data::{Finding, Listener, Owner, Process, Remote, Snapshot};
use crate::top::pane::Pane;
use crate::top::recent::WITHIN;
use crate::view::bar::bar;

/// A row of a list, and what stands below it.
struct Line {
    text: String,
    below: String,
    ink: Ink,
}

impl Line {
    fn new(text: String, ink: Ink) -> Self {
        Self { text, below: String::new(), ink }
    }
}

/// From this width on there is room for all.
const WIDE: usize = 110;

/// Below this width a pane stands beside another one.
const WHOLE: usize = 60;

pub(super) fn draw(app: &App, snapshot: &Snapshot, paper: &mut Paper<'_>, pane: Pane, area: Rect) {
    let has_focus = app.focus == pane && app.detail.is_none();
    let is_critical = pane == Pane::Findings && snapshot.findings.iter().flatten().any(|one| one.is_critical);
    let ink = match (has_focus, is_critical) {
        (true, true) => Ink::Alarm,
        (true, false) => Ink::Focus,
        (false, true) => Ink::Critical,
        (false, false) => Ink::Title,
    };
    paper.title(area, &title(app, snapshot, pane, area.width), ink);
    if area.height < 2 {
        return;
    }
    let mut area = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let width = usize::from(area.width);
    let (head, lines): (Option<String>, Vec<Line>) = match pane {
        Pane::Findings => {
            let findings = app.findings();
            let is_double = findings.len() * 2 <= usize::from(area.height);
            (None, findings.into_iter().map(|one| finding(snapshot, one, width, is_double)).collect())
        }
        Pane::Listeners => {
            let lines = app.listeners().into_iter().map(|one| listener(app, snapshot, one, width)).collect();
            (Some(listener_head(width)), lines)
        }
        Pane::Owners => (None, app.owners().into_iter().map(|one| owner(one, width)).collect()),
        Pane::Remotes | Pane::States => {
            (None, app.remotes().into_iter().map(|one| remote(one, width)).collect())
        }
    };
    // With three rows each is worth more than a heading.
    if let Some(head) = head.filter(|_| area.height >= 5) {
        paper.put(area.x, area.y, &fit(&head, width), Ink::Dim);
        area = Rect { y: area.y + 1, height: area.height - 1, ..area };
    }
    if lines.is_empty() {
        let (text, ink) = nothing(app, snapshot, pane);
        paper.put(area.x, area.y, &fit(text, width), ink);
        return;
    }
    // Findings have two rows each, if there is room for all of them.
    let each = if lines.iter().any(|line| !line.below.is_empty()) { 2 } else { 1 };
    let rows = usize::from(area.height / each);
    let chosen = app.view(pane).cursor.index;
    let first = (chosen + 1).saturating_sub(rows);
    let places = (area.y..area.y + area.height).step_by(each.into());
    for (row, (place, line)) in places.zip(lines.iter().enumerate().skip(first)) {
        if has_focus && place == chosen {
            paper.put(area.x, row, &left(&line.text, width), Ink::Chosen);
        } else {
            paper.put(area.x, row, &fit(&line.text, width), line.ink);
        }
        if row + 1 < area.y + area.height {
            paper.put(area.x, row + 1, &fit(&line.below, width), Ink::Plain);
        }
    }
}

fn title(app: &App, snapshot: &Snapshot, pane: Pane, width: u16) -> String {
    let number = pane.index() + 1;
    let mut title = format!("{number} {}", pane.name());
    let view = app.view(pane);
    match pane {
        Pane::Findings => {
            if let Some(all) = &snapshot.findings {
                let critical = all.iter().filter(|one| one.is_critical).count();
                _ = write!(title, ": {critical} critical, {} warning", all.len() - critical);
            }
        }
        Pane::Listeners => _ = write!(title, ": {}", snapshot.listeners_total),
        Pane::Remotes if width >= 36 => _ = write!(title, ", last {}", age(snapshot.remotes_within)),
        _ => {}
    }
    if !view.filter.is_empty() {
        _ = write!(title, ", only with {:?}", view.filter);
    }
    if view.sort > 0 || app.focus == pane {
        _ = write!(title, ", by {}", pane.sorts()[view.sort]);
    }
    title
}

/// What an empty list means.
fn nothing(app: &App, snapshot: &Snapshot, pane: Pane) -> (&'static str, Ink) {
    if !app.view(pane).filter.is_empty() {
        return ("no row has it; / changes the filter", Ink::Plain);
    }
    match pane {
        Pane::Findings if snapshot.findings.is_none() => ("cannot be found without eBPF", Ink::Warning),
        Pane::Findings => ("nothing is found to be wrong", Ink::Good),
        _ if !snapshot.is_ebpf => ("not known without eBPF", Ink::Dim),
        Pane::Listeners => ("nobody listens", Ink::Dim),
        Pane::Owners => ("no process has connections", Ink::Dim),
        Pane::Remotes | Pane::States => ("none with retransmits, resets, failures", Ink::Good),
    }
}

fn finding(snapshot: &Snapshot, one: &Finding, width: usize, is_double: bool) -> Line {
    let (severity, ink) = if one.is_critical { ("CRIT", Ink::Critical) } else { ("WARN", Ink::Warning) };
    let lasts = one.since.and_then(|since| snapshot.at.duration_since(since).ok());
    let lasts = lasts.map_or_else(|| "?".into(), age);
    let kind = if width >= 110 {
        let verdict = one.verdict.as_deref().map(|verdict| format!(" ({verdict})")).unwrap_or_default();
        left(&format!("{}{verdict}", one.kind), 36)
    } else {
        left(&one.kind, 21)
    };
    let begin = format!("{severity} {lasts:>6} {kind} ");
    if !is_double {
        return Line::new(begin + &one.summary, ink);
    }
    // Below: the rest of it, or what to do.
    let indent = begin.chars().count();
    let mut summary =
        wrap(&one.summary, u16::try_from(width.saturating_sub(indent)).unwrap_or(1)).into_iter();
    let text = begin + &summary.next().unwrap_or_default();
    let rest = summary.collect::<Vec<_>>().join(" ");
    let below = match (rest.is_empty(), one.advice.first()) {
        (true, Some(advice)) => format!("{:>10} {advice}", ">"),
        (true, None) => String::new(),
        // As much of it as can be had.
        (false, _) => format!("{:12}{rest}", ""),
    };
    Line { text, below, ink }
}

/// Columns of addresses, and of a bar.
fn listener_widths(width: usize) -> (usize, usize) {
    if width >= 130 { (47, 22) } else { (21, 19) }
}

fn listener_head(width: usize) -> String {
    let (address, queue) = listener_widths(width);
    let syn = if width >= 100 { queue } else { 9 };
    format!("{:<address$} {:<queue$} {:<syn$} {:<11} owner", "local", "accept queue", "syn queue", "drops")
}

fn listener(app: &App, snapshot: &Snapshot, one: &Listener, width: usize) -> Line {
    let (address, queue) = listener_widths(width);
    let accept = left(&bar(one.accept.length, one.accept.limit), queue);
    let syn = if width >= 100 {
        left(&bar(one.syn.length, one.syn.limit), queue)
    } else {
        left(&format!("{}/{}", count(one.syn.length), count(one.syn.limit)), 9)
    };
    let recent = app.recent.drops(one);
    let drops =
        if recent > 0 { format!("{} +{}", short(one.drops), short(recent)) } else { short(one.drops) };
    let mut line = format!("{} {accept} {syn} {drops:<11} {}", place(&one.local, address), one.owner.name());
    if width >= 130 {
        _ = write!(line, "  {}", namespace(snapshot, one.netns));
        if let Some(place) = &one.owner.place {
            _ = write!(line, "  {place}");
        }
        if recent > 0 {
            _ = write!(line, "  dropped {recent} in {}", age(WITHIN));
        }
    }
    let is_full = one.accept.fill() >= 1000 || one.syn.fill() >= 1000;
    let ink = match (recent > 0, is_full || one.accept.fill() >= 750 || one.syn.fill() >= 750) {
        (true, _) => Ink::Critical,
        (_, true) => Ink::Warning,
        _ => Ink::Plain,
    };
    Line::new(line, ink)
}

/// Its name, or its number.
pub(super) fn namespace(snapshot: &Snapshot, netns: u64) -> String {
    let known = snapshot.namespaces.iter().find(|(inode, _)| *inode == netns);
    match known.and_then(|(_, name)| name.as_ref()) {
        Some(name) => format!("netns {name}"),
        None => format!("netns {netns}"),
    }
}

fn owner(one: &Owner, width: usize) -> Line {
    let name = if width >= WHOLE { one.process.long_name() } else { one.process.name() };
    let room = match width {
        110.. => 44,
        WHOLE.. => 28,
        _ => 16,
    };
    let (critical, warning) = if width >= WHOLE { ("critical", "warning") } else { ("crit", "warn") };
    let mut words = Vec::new();
    let mut word = |number: u64, singular: &str, plural: &str| {
        if number > 0 {
            words.push(format!("{} {}", short(number), if number == 1 { singular } else { plural }));
        }
    };
    word(one.critical, critical, critical);
    word(one.warning, warning, warning);
    word(one.drops, "drop", "drops");
    word(one.close_wait, "close_wait", "close_wait");
    word(one.stalled, "stalled", "stalled");
    word(one.retransmits, "retransmit", "retransmits");
    word(one.connect_failures, "failed connect", "failed connects");
    word(one.resets, "reset", "resets");
    if width >= WHOLE && one.unread_bytes > 0 {
        words.push(format!("{} bytes unread", short(one.unread_bytes)));
    }
    if width >= WIDE && one.bytes() > 0 {
        words.push(format!("{} bytes of memory", short(one.bytes())));
    }
    words.push(format!("{} sockets", short(one.sockets)));
    let ink = match (one.critical, one.warning, one.trouble()) {
        (1.., ..) => Ink::Critical,
        (_, 1.., _) => Ink::Warning,
        (_, _, 0) => Ink::Dim,
        _ => Ink::Plain,
    };
    Line::new(format!("{} {}", left(&name, room), words.join(", ")), ink)
}

fn remote(one: &Remote, width: usize) -> Line {
    let address = if width >= WHOLE { 47 } else { 21 };
    let side = if one.is_client { format!("to :{}", one.port) } else { "from here".into() };
    let mut line = place(&one.name(), address);
    if width >= WHOLE {
        _ = write!(line, " {}", left(&side, 10));
    }
    let mut parts = Vec::new();
    for (number, name) in
        [(one.retransmits(), "resent"), (one.connect_failures, "failed"), (one.resets(), "reset")]
    {
        if number > 0 {
            parts.push(format!("{} {name}", short(number)));
        }
    }
    line += " ";
    line += &parts.join(if width >= WHOLE { ", " } else { " " });
    if width >= WHOLE && one.owner != Process::default() {
        _ = write!(line, "  {}", one.owner.name());
    }
    Line::new(line, Ink::Plain)
}

/// So that all that a list can say lines up.
pub(super) fn pair(name: &str, value: &str) -> String {
    format!("{} {value}", right(name, 18))
}
