//! A terminal: what a program prints when it is not in a pipe.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::ptr::null;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::screen::Screen;

/// Runs to the end on a terminal of this size; all that it shows, on both of its outputs.
pub fn output(command: &mut Command, columns: u16, rows: u16) -> (ExitStatus, String) {
    let (mut main, side) = open(columns, rows);
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

/// A program on a terminal of its own, which one can type into and look at.
pub struct Terminal {
    main: File,
    child: Child,
    screen: Arc<Mutex<Screen>>,
    reader: Option<JoinHandle<()>>,
    /// The other side, kept so that its settings can be asked for after the end.
    side: OwnedFd,
    before: Settings,
}

/// What of a terminal's settings a full screen changes: input, output, control and local modes.
pub type Settings = [u32; 4];

impl Terminal {
    pub fn start(command: &mut Command, columns: u16, rows: u16) -> Self {
        let (main, side) = open(columns, rows);
        let before = settings(&side);
        let duplicate = || side.try_clone().expect("duplicate a descriptor");
        command.stdin(duplicate()).stdout(duplicate()).stderr(duplicate());
        // SAFETY: both calls may be made between fork and exec, and touch nothing of the parent's.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let screen = Arc::new(Mutex::new(Screen::new(columns, rows)));
        let (mut reads, shown) = (main.try_clone().expect("duplicate a descriptor"), Arc::clone(&screen));
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reads.read(&mut bytes) {
                shown.lock().expect("no panic").take(&bytes[..count]);
            }
        });
        Self { main, child, screen, reader: Some(reader), side, before }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn type_in(&mut self, keys: &str) {
        self.main.write_all(keys.as_bytes()).expect("type");
    }

    /// What is on the screen.
    pub fn shown(&self) -> String {
        self.screen.lock().expect("no panic").text()
    }

    /// All that was ever written to it.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("no panic").raw).into_owned()
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        self.screen.lock().expect("no panic").resize(columns, rows);
        // SAFETY: the size is read.
        let done = unsafe { libc::ioctl(self.main.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(done, 0, "resize the terminal: {}", std::io::Error::last_os_error());
    }

    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("ask for the child")
    }

    /// Whether the terminal is as it was before the program: its modes, its main screen, its cursor.
    pub fn is_restored(&self) -> bool {
        let raw = self.raw();
        let last = |on: &str, off: &str| raw.rfind(off) > raw.rfind(on);
        settings(&self.side) == self.before
            && last("\x1b[?1049h", "\x1b[?1049l")
            && last("\x1b[?25l", "\x1b[?25h")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The reader ends with the test's process: this side is still open.
        self.reader.take();
    }
}

fn open(columns: u16, rows: u16) -> (File, OwnedFd) {
    let (mut main, mut side) = (-1, -1);
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: both numbers are written, the size is read, and no name or mode is asked for.
    let made =
        unsafe { libc::openpty(&raw mut main, &raw mut side, std::ptr::null_mut(), null(), &raw const size) };
    assert_eq!(made, 0, "open a terminal: {}", std::io::Error::last_os_error());
    // SAFETY: both were just opened, and nobody else has them.
    unsafe { (File::from_raw_fd(main), OwnedFd::from_raw_fd(side)) }
}

fn settings(side: &OwnedFd) -> Settings {
    // SAFETY: all zeros are settings, and the call writes them.
    let found = unsafe {
        let mut found = std::mem::zeroed::<libc::termios>();
        assert_eq!(libc::tcgetattr(side.as_raw_fd(), &raw mut found), 0, "ask for the terminal's settings");
        found
    };
    [found.c_iflag, found.c_oflag, found.c_cflag, found.c_lflag]
}
