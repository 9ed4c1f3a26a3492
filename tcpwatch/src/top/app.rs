//! The state of the screen, and how it changes with what happens.

use std::time::Duration;

use super::data::Snapshot;
use super::detail::Detail;
use super::event::{Command, Event};
use super::pane::{Pane, View};
use super::prompt::Prompt;
use super::recent::Recent;
use super::timeline::Timeline;

/// What does not change.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whom the figures come from, such as `db1:9717` or `this host`.
    pub source: String,
    /// How often they are fetched.
    pub interval: Duration,
    /// Colours may be used.
    pub has_colours: bool,
    /// Of a recording.
    pub timeline: Option<Timeline>,
}

/// Everything that is shown.
#[derive(Debug)]
pub struct App {
    pub(super) options: Options,
    pub(super) size: (u16, u16),
    /// Since the start.
    pub(super) now: Duration,
    shown: Option<Snapshot>,
    /// What came while it is paused.
    waiting: Option<Box<Snapshot>>,
    pub(super) recent: Recent,
    /// When a snapshot of another instant came last.
    pub(super) renewed: Duration,
    /// Why there is no newer one.
    pub(super) trouble: Option<String>,
    pub(super) is_paused: bool,
    pub(super) focus: Pane,
    /// Only the pane that has the focus is shown.
    pub(super) is_zoomed: bool,
    pub(super) has_help: bool,
    views: [View; Pane::ALL.len()],
    pub(super) prompt: Option<Prompt>,
    pub(super) detail: Option<Box<Detail>>,
    pub(super) timeline: Option<Timeline>,
    /// Told once, and since when.
    pub(super) note: Option<(String, Duration)>,
    ticket: u64,
}

/// How long a note stays.
const NOTE: Duration = Duration::from_secs(8);

/// Figures that are older are told to be old.
const OLD: Duration = Duration::from_secs(5);

impl App {
    pub fn new(options: Options) -> Self {
        Self {
            timeline: options.timeline.clone(),
            options,
            size: (80, 24),
            now: Duration::ZERO,
            shown: None,
            waiting: None,
            recent: Recent::default(),
            renewed: Duration::ZERO,
            trouble: None,
            is_paused: false,
            focus: Pane::Findings,
            is_zoomed: false,
            has_help: false,
            views: Default::default(),
            prompt: None,
            detail: None,
            note: None,
            ticket: 0,
        }
    }

    /// Something happened, so long after the start; what is wanted now.
    pub fn update(&mut self, event: Event, now: Duration) -> Vec<Command> {
        self.now = now;
        let mut wanted = Vec::new();
        match event {
            Event::Key(key) => wanted = self.key(key),
            Event::Resize(columns, rows) => self.size = (columns, rows),
            Event::Tick => {}
            Event::Snapshot(snapshot) => self.take(snapshot),
            Event::Trouble(why) => self.trouble = Some(why),
            Event::Sockets(ticket, answer) => {
                if let Some(detail) = &mut self.detail {
                    detail.sockets.take(ticket, answer, now);
                }
            }
            Event::Page(ticket, answer) => {
                if let Some(detail) = &mut self.detail {
                    detail.page.take(ticket, answer);
                }
            }
            Event::Position(position) => {
                if let Some(timeline) = &mut self.timeline {
                    (timeline.at, timeline.is_playing) = (position.at, position.is_playing);
                }
            }
            Event::Mark(mark) => {
                if let Some(timeline) = &mut self.timeline {
                    timeline.mark(mark);
                    date(self.shown.as_mut(), timeline);
                }
            }
            Event::Note(text) => self.note = Some((text, now)),
        }
        if self.note.as_ref().is_some_and(|(_, since)| now.saturating_sub(*since) > NOTE) {
            self.note = None;
        }
        wanted.extend(self.wanted());
        wanted
    }

    fn take(&mut self, snapshot: Box<Snapshot>) {
        self.trouble = None;
        let latest = self.waiting.as_deref().or(self.shown.as_ref());
        if latest.is_none_or(|latest| latest.at != snapshot.at) {
            self.renewed = self.now;
        }
        self.recent.push(snapshot.at, snapshot.listeners.as_deref().unwrap_or_default());
        if self.is_paused && self.shown.is_some() {
            self.waiting = Some(snapshot);
        } else {
            self.show(*snapshot);
        }
    }

    fn show(&mut self, mut snapshot: Snapshot) {
        if let Some(timeline) = &self.timeline {
            date(Some(&mut snapshot), timeline);
        }
        if let Some(detail) = &mut self.detail {
            detail.renew(&snapshot);
        }
        self.shown = Some(snapshot);
        self.settle();
    }

    /// Rows may have come, gone or moved.
    pub(super) fn settle(&mut self) {
        for pane in Pane::ALL {
            let ids = self.ids(pane);
            self.views[pane.index()].cursor.settle(&ids);
        }
    }

    pub(super) fn pause(&mut self, pause: bool) {
        self.is_paused = pause;
        if let Some(snapshot) = self.waiting.take_if(|_| !pause) {
            self.show(*snapshot);
        }
    }

    /// What is shown; `None` before the first figures have come.
    pub(super) fn shown(&self) -> Option<&Snapshot> {
        self.shown.as_ref()
    }

    pub(super) fn view(&self, pane: Pane) -> &View {
        &self.views[pane.index()]
    }

    pub(super) fn view_mut(&mut self, pane: Pane) -> &mut View {
        &mut self.views[pane.index()]
    }

    /// For how long there has been nothing new, if it is too long.
    pub(super) fn stale(&self) -> Option<Duration> {
        let age = self.now.saturating_sub(self.renewed);
        let is_old = age > OLD.max(self.options.interval * 3);
        // A recording is old by itself.
        (self.shown.is_some() && self.timeline.is_none() && (is_old || self.trouble.is_some())).then_some(age)
    }

    /// Questions whose answers are on the screen, when it is time to ask them.
    fn wanted(&mut self) -> Vec<Command> {
        let (is_recorded, is_paused, interval) =
            (self.timeline.is_some(), self.is_paused, self.options.interval);
        let Some(detail) = &mut self.detail else { return Vec::new() };
        let mut ticket = || {
            self.ticket += 1;
            self.ticket
        };
        let mut wanted = Vec::new();
        // Single sockets are not recorded.
        if !is_recorded && detail.is_on_sockets() && detail.sockets.is_due(self.now, interval, is_paused) {
            wanted.push(detail.sockets.ask(ticket(), self.now));
        }
        if detail.is_on_page()
            && let Some(command) = detail.page.ask(&mut ticket, detail.subject.netns())
        {
            wanted.push(command);
        }
        wanted
    }
}

/// Findings of a recording have been open since they were opened, wherever one jumped to.
fn date(snapshot: Option<&mut Snapshot>, timeline: &Timeline) {
    let Some(snapshot) = snapshot else { return };
    let at = snapshot.at;
    for finding in snapshot.findings.iter_mut().flatten() {
        let recorded = timeline.since(&finding.id, at);
        finding.since = recorded.into_iter().chain(finding.since).min();
    }
}
