//! A line that is being typed.

use crate::filter::Filter;

/// What it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Rows of a pane that contain it.
    Rows,
    /// Sockets that a filter shows.
    Sockets,
    /// A time in a recording.
    Time,
}

#[derive(Clone, Debug)]
pub(super) struct Prompt {
    pub(super) purpose: Purpose,
    pub(super) text: String,
    /// What is wrong with it.
    pub(super) error: Option<String>,
}

/// Longer makes no sense.
const LONGEST: usize = 500;

impl Prompt {
    pub(super) fn new(purpose: Purpose, text: &str) -> Self {
        Self { purpose, text: text.into(), error: None }
    }

    pub(super) const fn label(&self) -> &'static str {
        match self.purpose {
            Purpose::Rows => "show rows with: ",
            Purpose::Sockets => "filter: ",
            Purpose::Time => "go to time: ",
        }
    }

    pub(super) fn push(&mut self, c: char) {
        if self.text.len() < LONGEST && !c.is_control() {
            self.text.push(c);
            self.error = None;
        }
    }

    pub(super) fn pop(&mut self) {
        self.text.pop();
        self.error = None;
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.error = None;
    }

    /// Whether it makes sense; what is wrong is told.
    pub(super) fn check(&mut self) -> bool {
        if self.purpose == Purpose::Sockets && !self.text.trim().is_empty() {
            let wrong = Filter::parse(&self.text).err().map(|error| error.to_string());
            // Below it shows the place: there is room for a line.
            self.error = wrong.map(|text| text.lines().next().unwrap_or_default().to_owned());
        }
        self.error.is_none()
    }
}
