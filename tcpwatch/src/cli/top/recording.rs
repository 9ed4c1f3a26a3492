//! Figures from a recording: where somebody wants to be in it, and on from there.

mod marks;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};

use super::alone::page;
use super::{Input, Worker, line, moment, parse, spawn};
use crate::explain::Settings;
use crate::record::{Item, Span};
use crate::replay::{Moment, Replay, Step};
use crate::top::{Command, Event, Motion, Position};
use crate::view::overview;

/// The picture changes at most so often.
const FRAME: Duration = Duration::from_millis(100);

/// A moment that was shown with milliseconds means all that was in it.
const MILLISECOND: Duration = Duration::from_nanos(999_999);

/// Times of samples that are remembered for steps back.
const REMEMBERED: usize = 1000;

/// Whom questions are sent to.
pub(super) struct Recording(Sender<Command>);

impl Worker for Recording {
    fn ask(&self, command: Command) {
        // Its thread has told why it ended.
        let _ = self.0.send(command);
    }
}

pub(super) fn start(
    replay: Replay,
    path: PathBuf,
    span: Span,
    at: SystemTime,
    tell: Sender<Input>,
) -> Recording {
    let (ask, asked) = channel();
    let marks = tell.clone();
    spawn("marks", &tell, move || {
        marks::look(&path, &marks);
        Ok(())
    });
    spawn("player", &tell.clone(), move || Player::new(replay, span, tell).run(at, &asked));
    Recording(ask)
}

/// A place in a recording.
struct Player {
    replay: Replay,
    span: Span,
    tell: Sender<Input>,
    /// What is shown.
    now: Option<Box<Moment>>,
    /// What comes after it, already read.
    next: Option<Box<Moment>>,
    /// Times of the samples up to now.
    before: VecDeque<SystemTime>,
    host: Option<String>,
    speed: Option<u32>,
}

impl Player {
    fn new(replay: Replay, span: Span, tell: Sender<Input>) -> Self {
        Self { replay, span, tell, now: None, next: None, before: VecDeque::new(), host: None, speed: None }
    }

    fn run(mut self, at: SystemTime, asked: &Receiver<Command>) -> Result<()> {
        self.go_to(at)?;
        self.show()?;
        // By which the moment after this one is due.
        let mut shown = Instant::now();
        loop {
            let command = match self.pause(shown) {
                Some(pause) => match asked.recv_timeout(pause) {
                    Ok(command) => Some(command),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                },
                None => match asked.recv() {
                    Ok(command) => Some(command),
                    Err(_) => return Ok(()),
                },
            };
            match command {
                Some(command) => self.answer(command)?,
                None => self.play(shown.elapsed())?,
            }
            shown = Instant::now();
        }
    }

    /// Until the next picture, if it plays.
    fn pause(&self, shown: Instant) -> Option<Duration> {
        let speed = self.speed?;
        let gap = self.gap()?;
        Some((gap / speed).max(FRAME).saturating_sub(shown.elapsed()))
    }

    /// Between this moment and the next.
    fn gap(&self) -> Option<Duration> {
        let (now, next) = (self.now.as_ref()?, self.next.as_ref()?);
        // Where nothing was recorded for long nobody wants to wait.
        let gap = next.report.sample.at.duration_since(now.report.sample.at).unwrap_or_default();
        Some(gap.min(Duration::from_secs(5)))
    }

    /// Goes on for so much time on the wall.
    fn play(&mut self, elapsed: Duration) -> Result<()> {
        let mut left = elapsed * self.speed.unwrap_or(1);
        while let Some(gap) = self.gap().filter(|gap| *gap <= left + MILLISECOND) {
            left = left.saturating_sub(gap);
            self.forward()?;
        }
        if self.next.is_none() {
            self.speed = None;
        }
        self.show()
    }

    fn answer(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Motion(motion) => {
                if let Err(why) = self.go(motion)? {
                    return self.tell(Event::Note(why));
                }
                self.show()
            }
            Command::Page { ticket, topic, netns } => {
                let now = self.now.as_deref().map(|now| (&now.report, &now.findings));
                // The settings of that host were not recorded.
                let text = page(&topic, netns, now, Settings::default());
                self.tell(Event::Page(ticket, text))
            }
            _ => Ok(()),
        }
    }

    fn go(&mut self, motion: Motion) -> Result<Result<(), String>> {
        let at = self.at();
        let back = |time| at.checked_sub(time).unwrap_or(self.span.first).max(self.span.first);
        match motion {
            Motion::Pause => self.speed = None,
            Motion::Play(speed) => {
                if self.next.is_none() {
                    return Ok(Err("this is the end; < leads to the beginning".into()));
                }
                self.speed = Some(speed);
            }
            Motion::Step(steps) if steps > 0 => {
                self.speed = None;
                self.forward()?;
            }
            Motion::Step(_) => {
                self.speed = None;
                self.before.pop_back();
                match self.before.back().copied() {
                    Some(before) => self.go_to(before)?,
                    None => self.go_to(self.span.first)?,
                }
            }
            Motion::Forward(time) => self.on_to(at + time)?,
            Motion::Back(time) => self.go_to(back(time))?,
            Motion::To(at) => self.go_to(at)?,
            Motion::First => self.go_to(self.span.first)?,
            Motion::Last => self.go_to(self.span.last)?,
            Motion::Written(text) => match moment::parse(&text) {
                Ok(when) => self.go_to(when.within(self.span))?,
                Err(error) => return Ok(Err(line(error.as_ref()))),
            },
        }
        Ok(Ok(()))
    }

    fn at(&self) -> SystemTime {
        self.now.as_ref().map_or(self.span.first, |now| now.report.sample.at)
    }

    /// From here on, without going back, if it is not far.
    fn on_to(&mut self, at: SystemTime) -> Result<()> {
        if at.duration_since(self.at()).is_ok_and(|time| time > Duration::from_mins(3)) {
            return self.go_to(at);
        }
        while self.next.as_ref().is_some_and(|next| next.report.sample.at <= at + MILLISECOND) {
            self.forward()?;
        }
        Ok(())
    }

    /// The last moment that is not after a time, or the first there is.
    fn go_to(&mut self, at: SystemTime) -> Result<()> {
        self.replay.seek(at)?;
        (self.now, self.next) = (None, None);
        self.before.clear();
        self.next = self.read()?;
        self.forward()?;
        while self.next.as_ref().is_some_and(|next| next.report.sample.at <= at + MILLISECOND) {
            self.forward()?;
        }
        Ok(())
    }

    /// One sample on, if there is one.
    fn forward(&mut self) -> Result<()> {
        if let Some(next) = self.next.take() {
            self.before.push_back(next.report.sample.at);
            if self.before.len() > REMEMBERED {
                self.before.pop_front();
            }
            self.now = Some(next);
            self.next = self.read()?;
        }
        Ok(())
    }

    /// The next sample.
    fn read(&mut self) -> Result<Option<Box<Moment>>> {
        while let Some(step) = self.replay.next() {
            match step? {
                Step::Moment(moment) => return Ok(Some(moment)),
                Step::Start(start) => self.host = start.host,
                Step::Damage(damage) => self.tell(Event::Note(damage.to_string()))?,
                Step::Item(Item::Lost(count)) => {
                    self.tell(Event::Note(format!("{count} samples could not be recorded here")))?;
                }
                Step::OtherConfig(problems) => {
                    self.tell(Event::Note(format!(
                        "the recorded configuration is not understood: {problems}"
                    )))?;
                }
                Step::Item(_) => {}
            }
        }
        Ok(None)
    }

    fn show(&self) -> Result<()> {
        let now = self.now.as_ref().context("there is no sample in this recording")?;
        let told = overview::overview(&now.report, &now.findings, None, self.host.clone());
        let snapshot =
            parse::snapshot(&serde_json::to_value(told)?).context("understand what was recorded")?;
        self.tell(Event::Position(Position { at: self.at(), is_playing: self.speed.is_some() }))?;
        self.tell(Event::Snapshot(Box::new(snapshot)))
    }

    fn tell(&self, event: Event) -> Result<()> {
        self.tell.send(Input::Event(event)).context("the screen has gone")
    }
}
