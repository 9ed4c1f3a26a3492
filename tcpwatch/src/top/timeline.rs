//! Where a recording is, and what was wrong in it.

use std::time::{Duration, SystemTime};

/// Where a recording is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub at: SystemTime,
    pub is_playing: bool,
}

/// A finding that was opened in the recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub at: SystemTime,
    pub id: String,
    /// Since when it had been wrong.
    pub since: SystemTime,
    pub is_critical: bool,
}

/// A recording from its first sample to its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    pub first: SystemTime,
    pub last: SystemTime,
    pub at: SystemTime,
    pub is_playing: bool,
    pub speed: u32,
    /// In the order of time.
    pub marks: Vec<Mark>,
}

/// How fast it can be played.
const SPEEDS: [u32; 6] = [1, 2, 5, 10, 60, 300];

/// Marks that are kept: a screen has few hundred columns.
const MARKS: usize = 10_000;

impl Timeline {
    pub fn new(first: SystemTime, last: SystemTime) -> Self {
        Self { first, last, at: first, is_playing: false, speed: 1, marks: Vec::new() }
    }

    pub(super) fn mark(&mut self, mark: Mark) {
        if self.marks.len() < MARKS {
            let place = self.marks.partition_point(|one| one.at <= mark.at);
            self.marks.insert(place, mark);
        }
    }

    /// Since when a finding that is open at a time has been: a jump shows only what came shortly before.
    pub(super) fn since(&self, id: &str, at: SystemTime) -> Option<SystemTime> {
        let earlier = &self.marks[..self.marks.partition_point(|mark| mark.at <= at)];
        earlier.iter().rev().find(|mark| mark.id == id).map(|mark| mark.since)
    }

    /// The next speed, or the one before.
    pub(super) fn change_speed(&mut self, faster: bool) {
        let place = SPEEDS.iter().position(|speed| *speed == self.speed).unwrap_or(0);
        let place = if faster { (place + 1).min(SPEEDS.len() - 1) } else { place.saturating_sub(1) };
        self.speed = SPEEDS[place];
    }

    /// The mark after this time, or the one before.
    pub(super) fn next_mark(&self, forward: bool) -> Option<SystemTime> {
        if forward {
            self.marks.iter().map(|mark| mark.at).find(|at| *at > self.at)
        } else {
            self.marks.iter().rev().map(|mark| mark.at).find(|at| *at < self.at)
        }
    }

    /// The column of a time among `columns`.
    pub(super) fn column(&self, at: SystemTime, columns: u16) -> u16 {
        let all = self.last.duration_since(self.first).unwrap_or_default().as_millis().max(1);
        let from = at.duration_since(self.first).unwrap_or(Duration::ZERO).as_millis().min(all);
        let column = from * u128::from(columns.saturating_sub(1)) / all;
        u16::try_from(column).unwrap_or(0)
    }
}
