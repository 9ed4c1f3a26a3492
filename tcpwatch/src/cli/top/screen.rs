//! The terminal: taken over, and given back as it was however this ends.

use std::io::{self, Stdout, Write as _};
use std::panic;
use std::sync::Once;

use anyhow::{Context as _, Result};
use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{
    DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;

use crate::top::App;
use crate::top::draw::draw;

pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    is_open: bool,
}

impl Screen {
    pub(super) fn open() -> Result<Self> {
        restore_at_panic();
        enable_raw_mode().context("read single keys from the terminal")?;
        // From here on it is given back when this is dropped.
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))
            .inspect_err(|_| restore())
            .context("ask the terminal for its size")?;
        let mut screen = Self { terminal, is_open: true };
        execute!(io::stdout(), EnterAlternateScreen, DisableLineWrap, Hide)
            .context("take over the terminal")?;
        screen.clear()?;
        Ok(screen)
    }

    pub(super) fn size(&self) -> Result<(u16, u16)> {
        let size = self.terminal.size().context("ask the terminal for its size")?;
        Ok((size.width, size.height))
    }

    pub(super) fn draw(&mut self, app: &App) -> Result<()> {
        self.terminal.draw(|frame| draw(app, frame.area(), frame.buffer_mut())).context("draw the screen")?;
        Ok(())
    }

    /// Everything is drawn anew: something else wrote to the terminal. `Terminal::clear` would ask the terminal where
    /// its cursor is, and fail where the answer takes long.
    pub(super) fn clear(&mut self) -> Result<()> {
        let (width, height) = self.size()?;
        self.terminal.resize(Rect::new(0, 0, width, height)).context("clear the terminal")
    }

    /// Gives the terminal back.
    pub(super) fn close(mut self) {
        self.is_open = false;
        restore();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_open {
            restore();
        }
    }
}

fn restore() {
    // A terminal that has gone needs nothing.
    let _ = execute!(io::stdout(), EnableLineWrap, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
    let _ = io::stdout().flush();
}

/// What a panic says has to be readable, whatever thread it is in.
fn restore_at_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
    });
}
