//! The terminal: taken over, and given back as it was however this ends.

use std::io::{self, IsTerminal as _, Stdout, Write as _};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

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

use crate::host::terminal;
use crate::top::App;
use crate::top::draw::draw;

pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    pub(super) fn open() -> Result<Self> {
        restore_at_panic();
        // Messages would go right through the picture; those that matter are in it.
        if io::stderr().is_terminal() {
            log::set_max_level(log::LevelFilter::Off);
        }
        let terminal =
            Terminal::new(CrosstermBackend::new(io::stdout())).context("ask the terminal for its size")?;
        let mut screen = Self { terminal };
        screen.take()?;
        Ok(screen)
    }

    fn take(&mut self) -> Result<()> {
        IS_TAKEN.store(true, Ordering::SeqCst);
        enable_raw_mode().context("read single keys from the terminal")?;
        execute!(io::stdout(), EnterAlternateScreen, DisableLineWrap, Hide)
            .context("take over the terminal")?;
        self.clear()
    }

    /// Leaves the terminal to the shell until that lets this go on.
    pub(super) fn suspend(&mut self) -> Result<()> {
        restore();
        terminal::suspend().context("stop")?;
        self.take()
    }

    pub(super) fn size(&self) -> Result<(u16, u16)> {
        let size = self.terminal.size().context("ask the terminal for its size")?;
        Ok((size.width, size.height))
    }

    pub(super) fn draw(&mut self, app: &App) -> Result<()> {
        // After a panic elsewhere it is not ours any more.
        if !IS_TAKEN.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.terminal.draw(|frame| draw(app, frame.area(), frame.buffer_mut())).context("draw the screen")?;
        Ok(())
    }

    /// Everything is drawn anew: something else wrote to the terminal. `Terminal::clear` would ask the terminal where
    /// its cursor is, and fail where the answer takes long.
    pub(super) fn clear(&mut self) -> Result<()> {
        let (width, height) = self.size()?;
        self.terminal.resize(Rect::new(0, 0, width, height)).context("clear the terminal")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Whether the terminal is ours. It is given back once: leaving the other screen again would put the cursor into what
/// has been written since.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

fn restore() {
    if !IS_TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
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
