//! The terminal that standard output leads to, and the shell behind it.

use std::io;

/// How many columns it has; `None` if it is none, or does not tell.
pub fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}

/// Stops this process, as Ctrl-Z does, until the shell lets it go on. Without a shell nothing happens.
pub fn suspend() -> io::Result<()> {
    Ok(rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP)?)
}

/// A text from elsewhere without control characters: no name may steer a terminal.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
