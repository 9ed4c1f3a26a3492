//! The terminal that standard output leads to.

use std::io;

/// How many columns it has; `None` if it is none, or does not tell.
pub fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}
