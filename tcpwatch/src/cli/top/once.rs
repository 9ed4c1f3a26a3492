//! One screen as plain text.

use std::io::{self, Write as _};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Input, Outcome, Worker};
use crate::host::terminal;
use crate::top::draw::plain;
use crate::top::{App, Event};

/// Enough for a daemon that takes its time, and for programs to be loaded.
const PATIENCE: Duration = Duration::from_secs(30);

/// A pipe has no size: long lines are of use there.
const COLUMNS: u16 = 132;
const ROWS: u16 = 50;

/// Waits for so many figures, and prints the last. The worker is needed until then.
pub(super) fn print(
    mut app: App,
    told: &Receiver<Input>,
    _worker: &dyn Worker,
    mut wanted: usize,
) -> Result<Outcome> {
    let began = Instant::now();
    let columns = terminal::width().and_then(|width| u16::try_from(width).ok()).unwrap_or(COLUMNS);
    app.update(Event::Resize(columns, ROWS), Duration::ZERO);
    loop {
        let left = PATIENCE.saturating_sub(began.elapsed());
        match told.recv_timeout(left) {
            Ok(Input::Event(Event::Trouble(why))) => bail!("{why}"),
            Ok(Input::Event(event @ Event::Snapshot(_))) => {
                app.update(event, began.elapsed());
                wanted = wanted.saturating_sub(1);
                if wanted == 0 {
                    break;
                }
            }
            Ok(Input::Event(event)) => drop(app.update(event, began.elapsed())),
            Ok(Input::Broken(error)) => return Err(error),
            Ok(Input::Stop) => {}
            Err(_) => bail!("no figures within {} s", PATIENCE.as_secs()),
        }
    }
    io::stdout().lock().write_all(plain(&app, columns, ROWS).as_bytes())?;
    Ok(Outcome::Fine)
}
