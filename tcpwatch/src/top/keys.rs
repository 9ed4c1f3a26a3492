//! What keys do.

use std::time::Duration;

use super::App;
use super::detail::{Detail, SORTS};
use super::event::{Command, Key, Motion};
use super::pane::Pane;
use super::prompt::{Prompt, Purpose};

impl App {
    pub(super) fn key(&mut self, key: Key) -> Vec<Command> {
        match key {
            Key::Interrupt => return vec![Command::Quit],
            Key::Redraw => return vec![Command::Redraw],
            Key::Suspend => return vec![Command::Suspend],
            _ => {}
        }
        if self.prompt.is_some() {
            return self.key_in_prompt(key);
        }
        if self.has_help {
            // Any key leads back, and quitting is never far.
            self.has_help = false;
            return if key == Key::Char('q') { vec![Command::Quit] } else { Vec::new() };
        }
        match key {
            Key::Char('q') => return vec![Command::Quit],
            Key::Char('?' | 'h') => self.has_help = true,
            _ => {
                if let Some(motion) = self.motion(key) {
                    return vec![Command::Motion(motion)];
                }
                match &self.detail {
                    Some(_) => self.key_in_detail(key),
                    None => self.key_in_panes(key),
                }
            }
        }
        Vec::new()
    }

    fn key_in_panes(&mut self, key: Key) {
        let pane = self.focus;
        match key {
            Key::Char('p' | ' ') if self.timeline.is_none() => self.pause(!self.is_paused),
            Key::Tab => self.focus = pane.other(true),
            Key::BackTab => self.focus = pane.other(false),
            Key::Char(digit @ '1'..='5') => {
                let place = digit.to_digit(10).map_or(0, |digit| digit as usize - 1);
                self.focus = Pane::ALL[place];
            }
            Key::Char('z') => self.is_zoomed = !self.is_zoomed,
            Key::Esc => self.is_zoomed = false,
            Key::Char('s') => self.sort(1),
            Key::Char('S') => self.sort(self.focus.sorts().len().saturating_sub(1)),
            Key::Char('/') if pane != Pane::States => {
                self.prompt = Some(Prompt::new(Purpose::Rows, &self.view(pane).filter));
            }
            Key::Enter => {
                let subject = self.chosen(pane);
                if let Some((subject, snapshot)) = subject.zip(self.shown()) {
                    self.detail = Some(Box::new(Detail::new(subject, snapshot)));
                }
            }
            _ => {
                if let Some(step) = self.step(key) {
                    let ids = self.ids(pane);
                    self.view_mut(pane).cursor.go(&ids, step);
                }
            }
        }
    }

    fn sort(&mut self, step: usize) {
        let view = self.focus;
        let count = view.sorts().len().max(1);
        let view = self.view_mut(view);
        view.sort = (view.sort + step) % count;
        self.settle();
    }

    fn key_in_detail(&mut self, key: Key) {
        let step = self.step(key);
        let most = super::draw::most_scroll(self);
        let is_recorded = self.timeline.is_some();
        let Some(detail) = &mut self.detail else { return };
        match key {
            Key::Esc | Key::Backspace => self.detail = None,
            Key::Tab => detail.go_to_tab(true),
            Key::BackTab => detail.go_to_tab(false),
            Key::Char('p' | ' ') if !is_recorded => self.pause(!self.is_paused),
            Key::Char('s') if detail.is_on_sockets() => {
                detail.sockets.sort = (detail.sockets.sort + 1) % SORTS.len();
            }
            Key::Char('S') if detail.is_on_sockets() => {
                detail.sockets.sort = (detail.sockets.sort + SORTS.len() - 1) % SORTS.len();
            }
            Key::Char('/') if detail.is_on_sockets() => {
                self.prompt = Some(Prompt::new(Purpose::Sockets, &detail.sockets.filter));
            }
            Key::Char('r') => detail.page.forget(),
            _ => {
                if let Some(step) = step {
                    detail.scroll = detail.scroll.saturating_add_signed(step).min(most);
                }
            }
        }
    }

    /// How far a key goes.
    fn step(&self, key: Key) -> Option<isize> {
        let page = isize::try_from(self.size.1.saturating_sub(6).max(1)).unwrap_or(1);
        Some(match key {
            Key::Up | Key::Char('k') => -1,
            Key::Down | Key::Char('j') => 1,
            Key::PageUp => -page,
            Key::PageDown => page,
            Key::Home => -1_000_000,
            Key::End => 1_000_000,
            _ => return None,
        })
    }

    /// Keys that lead through a recording.
    fn motion(&mut self, key: Key) -> Option<Motion> {
        let timeline = self.timeline.as_mut()?;
        let play = |timeline: &super::Timeline| Motion::Play(timeline.speed);
        Some(match key {
            Key::Char('p' | ' ') if timeline.is_playing => Motion::Pause,
            Key::Char('p' | ' ') => play(timeline),
            Key::Char('.') => Motion::Step(1),
            Key::Char(',') => Motion::Step(-1),
            Key::Right => Motion::Forward(Duration::from_secs(10)),
            Key::Left => Motion::Back(Duration::from_secs(10)),
            Key::Char(']') => Motion::Forward(Duration::from_mins(5)),
            Key::Char('[') => Motion::Back(Duration::from_mins(5)),
            Key::Char('<') => Motion::First,
            Key::Char('>') => Motion::Last,
            Key::Char('n') => Motion::To(timeline.next_mark(true)?),
            Key::Char('N') => Motion::To(timeline.next_mark(false)?),
            Key::Char('+' | '=' | '-') => {
                timeline.change_speed(key != Key::Char('-'));
                return timeline.is_playing.then(|| play(timeline));
            }
            Key::Char('g') => {
                self.prompt = Some(Prompt::new(Purpose::Time, ""));
                return None;
            }
            _ => return None,
        })
    }

    fn key_in_prompt(&mut self, key: Key) -> Vec<Command> {
        let Some(prompt) = &mut self.prompt else { return Vec::new() };
        match key {
            Key::Char(c) => prompt.push(c),
            Key::Backspace => prompt.pop(),
            Key::Clear => prompt.clear(),
            Key::Esc => self.prompt = None,
            Key::Enter => {
                if !prompt.check() {
                    return Vec::new();
                }
                let (purpose, text) = (prompt.purpose, prompt.text.trim().to_owned());
                self.prompt = None;
                return self.entered(purpose, text);
            }
            _ => {}
        }
        Vec::new()
    }

    fn entered(&mut self, purpose: Purpose, text: String) -> Vec<Command> {
        match (purpose, &mut self.detail) {
            (Purpose::Rows, _) => {
                let pane = self.focus;
                self.view_mut(pane).filter = text;
                self.settle();
            }
            (Purpose::Sockets, Some(detail)) => {
                detail.sockets.set_filter(text);
                detail.scroll = 0;
            }
            (Purpose::Time, _) if !text.is_empty() => return vec![Command::Motion(Motion::Written(text))],
            _ => {}
        }
        Vec::new()
    }
}
