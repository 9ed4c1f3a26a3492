//! A terminal: what a program prints when it is not in a pipe.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::process::{Command, ExitStatus, Stdio};
use std::ptr::null;

/// Runs to the end on a terminal of this size; all that it shows, on both of its outputs.
pub fn output(command: &mut Command, columns: u16, rows: u16) -> (ExitStatus, String) {
    let (mut main, mut side) = (-1, -1);
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: both numbers are written, the size is read, and no name or mode is asked for.
    let made =
        unsafe { libc::openpty(&raw mut main, &raw mut side, std::ptr::null_mut(), null(), &raw const size) };
    assert_eq!(made, 0, "open a terminal: {}", std::io::Error::last_os_error());
    // SAFETY: both were just opened, and nobody else has them.
    let (mut main, side) = unsafe { (File::from_raw_fd(main), OwnedFd::from_raw_fd(side)) };
    let error = side.try_clone().expect("duplicate a descriptor");
    command.stdin(Stdio::null()).stdout(side).stderr(error);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // Ours of its side have to go, or reading never ends.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut shown = Vec::new();
    // When the last descriptor of its side is closed, reading fails.
    let _ = main.read_to_end(&mut shown);
    let status = child.wait().expect("wait for the child");
    (status, String::from_utf8_lossy(&shown).replace("\r\n", "\n"))
}
