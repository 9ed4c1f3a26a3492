//! Keys and signals, each read by a thread of its own.

use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::{Context as _, Result};
use crossterm::event::{self, Event as Read, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal::disable_raw_mode;
use tokio::signal::unix::{SignalKind, signal};

use super::Input;
use crate::cli::FAILED;
use crate::top::{Event, Key};

/// For the screen to be left after a signal.
const PATIENCE: Duration = Duration::from_secs(3);

/// Tells of keys and of the terminal's size until nobody listens.
pub(super) fn read_keys(tell: &Sender<Input>) {
    let told = tell.clone();
    let read = move || {
        loop {
            let events = match event::read().context("read from the terminal")? {
                // What a slow line has put together was Esc and then a key.
                Read::Key(key) if key.modifiers.contains(KeyModifiers::ALT) => {
                    [Some(Event::Key(Key::Esc)), key_of(key).map(Event::Key)]
                }
                Read::Key(key) => [key_of(key).map(Event::Key), None],
                Read::Resize(columns, rows) => [Some(Event::Resize(columns, rows)), None],
                _ => [None, None],
            };
            for event in events.into_iter().flatten() {
                if told.send(Input::Event(event)).is_err() {
                    return Ok(());
                }
            }
        }
    };
    super::spawn("keys", tell, read);
}

fn key_of(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Key::Interrupt),
            KeyCode::Char('l') => Some(Key::Redraw),
            KeyCode::Char('u') => Some(Key::Clear),
            KeyCode::Char('z') => Some(Key::Suspend),
            // What terminals without a key of their own send.
            KeyCode::Char('h') => Some(Key::Backspace),
            _ => None,
        };
    }
    Some(match key.code {
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}

/// Tells when a signal asks for the end: it must not leave the terminal as it is.
pub(super) fn watch_signals(tell: &Sender<Input>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the asynchronous runtime")?;
    let signals = {
        let _context = runtime.enter();
        [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit()]
            .map(|kind| signal(kind).context("listen for signals"))
    };
    for one in signals {
        let (mut one, tell) = (one?, tell.clone());
        runtime.spawn(async move {
            if one.recv().await.is_some() {
                // Nobody listens any more if it has ended already.
                let _ = tell.send(Input::Stop);
                // A terminal that takes nothing keeps the screen from being left: then without it.
                tokio::time::sleep(PATIENCE).await;
                let _ = disable_raw_mode();
                std::process::exit(FAILED.into());
            }
        });
    }
    super::spawn("signals", tell, move || runtime.block_on(std::future::pending()));
    Ok(())
}
