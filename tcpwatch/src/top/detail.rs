//! One thing looked into: what is known of it, its sockets, and the page that explains it.

use std::cmp::Reverse;
use std::time::Duration;

use super::data::{Snapshot, Socket, Sockets};
use super::event::Command;
use super::subject::Subject;

/// Sockets that are asked for.
pub(super) const MOST: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    About,
    Sockets,
    Page,
}

impl Tab {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::About => "About",
            Self::Sockets => "Sockets",
            Self::Page => "Explanation",
        }
    }
}

#[derive(Debug)]
pub(super) struct Detail {
    pub(super) subject: Subject,
    /// It is not there any more; this is how it was.
    pub(super) is_gone: bool,
    pub(super) tabs: Vec<Tab>,
    tab: usize,
    /// The first line that is shown.
    pub(super) scroll: usize,
    pub(super) sockets: SocketsView,
    pub(super) page: PageView,
}

impl Detail {
    pub(super) fn new(subject: Subject, snapshot: &Snapshot) -> Self {
        let (filter, topic) = (subject.filter(), subject.topic(snapshot));
        let mut tabs = vec![Tab::About, Tab::Sockets, Tab::Page];
        // Of a state there is nothing to tell but its sockets.
        tabs.retain(|tab| match tab {
            Tab::About => !matches!(subject, Subject::State(_)),
            Tab::Sockets => filter.is_some(),
            Tab::Page => topic.is_some(),
        });
        Self {
            subject,
            is_gone: false,
            tabs,
            tab: 0,
            scroll: 0,
            sockets: SocketsView::new(filter.unwrap_or_default()),
            page: PageView { topic, ..PageView::default() },
        }
    }

    pub(super) fn tab(&self) -> Tab {
        self.tabs.get(self.tab).copied().unwrap_or(Tab::About)
    }

    pub(super) fn go_to_tab(&mut self, forward: bool) {
        let count = self.tabs.len().max(1);
        self.tab = (self.tab + if forward { 1 } else { count - 1 }) % count;
        self.scroll = 0;
    }

    pub(super) fn is_on_sockets(&self) -> bool {
        self.tab() == Tab::Sockets
    }

    pub(super) fn is_on_page(&self) -> bool {
        self.tab() == Tab::Page
    }

    pub(super) fn renew(&mut self, snapshot: &Snapshot) {
        match self.subject.renewed(snapshot) {
            Some(subject) => (self.subject, self.is_gone) = (subject, false),
            None => self.is_gone = true,
        }
    }
}

/// Sockets that a filter shows.
#[derive(Debug)]
pub(super) struct SocketsView {
    pub(super) filter: String,
    pub(super) answer: Option<Sockets>,
    pub(super) error: Option<String>,
    /// Of the question that has no answer yet, and when it was asked.
    asked: Option<(u64, Duration)>,
    /// When the last answer came, and how long it took.
    answered: Option<(Duration, Duration)>,
    pub(super) sort: usize,
}

/// What sockets can be sorted by; they come in the order of their age.
pub(super) const SORTS: [&str; 6] = ["age", "unread", "unsent", "retransmits", "rtt", "state"];

impl SocketsView {
    fn new(filter: String) -> Self {
        Self { filter, answer: None, error: None, asked: None, answered: None, sort: 0 }
    }

    pub(super) fn set_filter(&mut self, filter: String) {
        *self = Self { sort: self.sort, ..Self::new(filter) };
    }

    /// A walk over all sockets takes the daemon's time: never twice at once, and most of the time none.
    pub(super) fn is_due(&self, now: Duration, interval: Duration, is_paused: bool) -> bool {
        let Some((at, took)) = self.answered else { return self.asked.is_none() };
        let pause = interval.max(Duration::from_secs(2)).max(took * 10);
        self.asked.is_none() && !is_paused && now.saturating_sub(at) >= pause
    }

    pub(super) fn ask(&mut self, ticket: u64, now: Duration) -> Command {
        self.asked = Some((ticket, now));
        Command::Sockets { ticket, filter: self.filter.clone(), limit: MOST }
    }

    pub(super) fn take(&mut self, ticket: u64, answer: Result<Sockets, String>, now: Duration) {
        // An answer to a question of before is none.
        let Some((_, at)) = self.asked.take_if(|(asked, _)| *asked == ticket) else { return };
        self.answered = Some((now, now.saturating_sub(at)));
        match answer {
            Ok(answer) => (self.answer, self.error) = (Some(answer), None),
            Err(error) => self.error = Some(error),
        }
    }

    pub(super) fn rows(&self) -> Vec<&Socket> {
        let all = self.answer.as_ref().map(|answer| answer.sockets.as_slice()).unwrap_or_default();
        let mut rows: Vec<&Socket> = all.iter().collect();
        match self.sort {
            0 => {}
            1 => rows.sort_by_key(|one| Reverse(one.recv_queue)),
            2 => rows.sort_by_key(|one| Reverse(one.send_queue)),
            3 => rows.sort_by_key(|one| Reverse(one.retransmits)),
            4 => rows.sort_by_key(|one| Reverse(one.rtt)),
            _ => rows.sort_by(|a, b| a.state.cmp(&b.state)),
        }
        rows
    }
}

/// The page that explains.
#[derive(Debug, Default)]
pub(super) struct PageView {
    topic: Option<String>,
    asked: Option<u64>,
    pub(super) text: Option<Result<String, String>>,
}

impl PageView {
    /// It is asked for once.
    pub(super) fn ask(&mut self, ticket: &mut dyn FnMut() -> u64, netns: Option<u64>) -> Option<Command> {
        let topic = self.topic.clone().filter(|_| self.asked.is_none())?;
        let ticket = ticket();
        self.asked = Some(ticket);
        Some(Command::Page { ticket, topic, netns })
    }

    pub(super) fn take(&mut self, ticket: u64, text: Result<String, String>) {
        if self.asked == Some(ticket) {
            self.text = Some(text);
        }
    }

    /// To be asked for anew.
    pub(super) fn forget(&mut self) {
        (self.asked, self.text) = (None, None);
    }
}
