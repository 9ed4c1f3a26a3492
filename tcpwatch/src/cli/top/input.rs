//! Keys and signals, each read by a thread of its own.

use std::io;
use std::sync::mpsc::Sender;
use std::thread;

use anyhow::{Context as _, Result};
use crossterm::event::{self, Event as Read, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};

use super::Input;
use crate::top::{Event, Key};

/// Tells of keys and of the terminal's size until nobody listens.
pub(super) fn read_keys(tell: Sender<Input>) -> Result<()> {
    let read = move || {
        loop {
            let input = match event::read() {
                Ok(Read::Key(key)) => key_of(key).map(|key| Input::Event(Event::Key(key))),
                Ok(Read::Resize(columns, rows)) => Some(Input::Event(Event::Resize(columns, rows))),
                Ok(_) => None,
                Err(error) => Some(Input::Broken(gone(error))),
            };
            let is_broken = matches!(input, Some(Input::Broken(_)));
            if input.is_some_and(|input| tell.send(input).is_err()) || is_broken {
                return;
            }
        }
    };
    thread::Builder::new().name("keys".into()).spawn(read).context("start the thread that reads keys")?;
    Ok(())
}

fn gone(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("read from the terminal")
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
pub(super) fn watch_signals(tell: Sender<Input>) -> Result<()> {
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
            while one.recv().await.is_some() {
                // Nobody listens any more if it has ended already.
                let _ = tell.send(Input::Stop);
            }
        });
    }
    let wait = move || runtime.block_on(std::future::pending::<()>());
    thread::Builder::new()
        .name("signals".into())
        .spawn(wait)
        .context("start the thread that waits for signals")?;
    Ok(())
}
