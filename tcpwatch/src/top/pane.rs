//! The parts of the main screen, in which order they show what they list, and which row is chosen.

/// A part of the main screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Findings,
    States,
    Listeners,
    Owners,
    Remotes,
}

impl Pane {
    pub(super) const ALL: [Self; 5] =
        [Self::Findings, Self::States, Self::Listeners, Self::Owners, Self::Remotes];

    pub(super) const fn index(self) -> usize {
        self as usize
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Findings => "Findings",
            Self::States => "States",
            Self::Listeners => "Listeners",
            Self::Owners => "Owners",
            Self::Remotes => "Remotes",
        }
    }

    /// What it can be sorted by; the first is what it is by itself.
    pub(super) const fn sorts(self) -> &'static [&'static str] {
        match self {
            Self::Findings => &["severity", "youngest", "kind"],
            // They are a picture.
            Self::States => &[],
            Self::Listeners => &["pressure", "drops", "accept queue", "syn queue", "address"],
            Self::Owners => &["trouble", "sockets", "close_wait", "unread bytes", "memory", "name"],
            Self::Remotes => &["retransmits", "resets", "failed connects", "address"],
        }
    }

    pub(super) fn other(self, forward: bool) -> Self {
        let count = Self::ALL.len();
        let step = if forward { 1 } else { count - 1 };
        Self::ALL[(self.index() + step) % count]
    }
}

/// How a pane is looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) sort: usize,
    /// Rows that contain it; empty for all.
    pub(super) filter: String,
    pub(super) cursor: Cursor,
}

/// The chosen row. It stays on what it was put on, wherever that goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursor {
    pub(super) index: usize,
    /// What somebody moved it to; until then it is on the first row.
    id: Option<String>,
}

impl Cursor {
    /// The rows are others now.
    pub(super) fn settle(&mut self, ids: &[String]) {
        let Some(id) = &self.id else {
            self.index = 0;
            return;
        };
        if let Some(index) = ids.iter().position(|one| one == id) {
            self.index = index;
        } else {
            // It is gone: what came after it is in its place.
            self.index = self.index.min(ids.len().saturating_sub(1));
            self.id = ids.get(self.index).cloned();
        }
    }

    pub(super) fn go(&mut self, ids: &[String], step: isize) {
        let last = ids.len().saturating_sub(1);
        self.index = self.index.saturating_add_signed(step).min(last);
        self.id = ids.get(self.index).cloned();
    }
}
