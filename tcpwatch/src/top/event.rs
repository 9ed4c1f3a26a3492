//! What can happen to the screen, and what it can ask for.

use std::time::{Duration, SystemTime};

use super::data::{Snapshot, Sockets};
use super::timeline::{Mark, Position};

/// A key, as far as it means anything here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Enter,
    Esc,
    Tab,
    BackTab,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Backspace,
    /// Ctrl-U
    Clear,
    /// Ctrl-C
    Interrupt,
    /// Ctrl-L
    Redraw,
    /// Ctrl-Z
    Suspend,
}

/// Something happened.
#[derive(Clone, Debug)]
pub enum Event {
    Key(Key),
    Resize(u16, u16),
    /// Time has passed.
    Tick,
    Snapshot(Box<Snapshot>),
    /// There is no snapshot, and why.
    Trouble(String),
    /// What was asked for by the command with this ticket, or why there is none.
    Sockets(u64, Result<Sockets, String>),
    /// A page that explains, as text.
    Page(u64, Result<String, String>),
    /// Where a recording is.
    Position(Position),
    /// A finding that was opened in the recording, for the time line.
    Mark(Mark),
    /// Something to be told once.
    Note(String),
}

/// Something is wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Quit,
    /// The shell is wanted for a while.
    Suspend,
    /// The whole screen has to be drawn anew.
    Redraw,
    Sockets {
        ticket: u64,
        filter: String,
        limit: usize,
    },
    Page {
        ticket: u64,
        topic: String,
        netns: Option<u64>,
    },
    /// Only of a recording.
    Motion(Motion),
}

/// How to go through a recording.
#[derive(Clone, Debug, PartialEq)]
pub enum Motion {
    Pause,
    /// So many times as fast as it was.
    Play(u32),
    /// Samples forward, or back.
    Step(i32),
    Forward(Duration),
    Back(Duration),
    To(SystemTime),
    /// A time as somebody wrote it.
    Written(String),
    First,
    Last,
}
