//! Samples to disk and back: recordings, and the flight recorder that keeps the last hours of them.
//!
//! A recording is a sequence of frames (`frame.rs`), in one file or in a directory of them. Samples are written as
//! differences (`delta.rs`, `values.rs`, `times.rs`, `parts.rs`), from a whole one on (`encode.rs`). [`Reader`] gives
//! back what was recorded and tells what is damaged; [`Recorder`] writes in the background, into a directory that
//! never grows beyond its bound (`flight.rs`). `docs/recording.md` has the format.
//!
//! ```no_run
//! # fn main() -> Result<(), tcpwatch::record::RecordError> {
//! use tcpwatch::record::{Entry, Item, Reader};
//!
//! let mut reader = Reader::open("/var/lib/tcpwatch/flight".as_ref())?;
//! let span = reader.span()?;
//! reader.seek(span.last - std::time::Duration::from_secs(60))?;
//! for entry in reader {
//!     if let Entry::Item(at, Item::Sample(sample)) = entry? {
//!         println!("{at:?}: {} listeners", sample.listeners.len());
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod delta;
mod encode;
mod files;
mod flight;
mod frame;
mod item;
mod parts;
mod reader;
mod recorder;
mod redact;
mod scan;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod times;
mod values;

use std::io;
use std::path::{Path, PathBuf};

pub use encode::Encoder;
pub use files::EXTENSION;
pub use flight::make as make_directory;
pub use frame::VERSION;
pub use item::{Change, Item, Rare, Start};
pub use reader::{Damage, Entry, Reader, Span};
pub use recorder::{Recorder, moment};
pub use redact::Redactor;

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("cannot read the recording {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is neither a file nor a directory, so it is no recording", path.display())]
    NoFile { path: PathBuf },
    #[error("there is no recording in the directory {}: no file in it ends in .{EXTENSION}", path.display())]
    Empty { path: PathBuf },
    #[error(
        "{} is no recording of tcpwatch, or nothing of it is left: no part of it has the marks of one",
        path.display()
    )]
    Foreign { path: PathBuf },
    #[error(
        "{} was recorded by a newer tcpwatch: it is in version {version} of the format, and this one reads up to \
         {VERSION}. Replay it with the tcpwatch that recorded it, or a later one",
        path.display()
    )]
    Newer { path: PathBuf, version: u8 },
    #[error("cannot {what} {}: {source}", path.display())]
    Write { what: &'static str, path: PathBuf, source: io::Error },
    #[error("another tcpwatch records to {} already; give this one another directory", path.display())]
    Taken { path: PathBuf },
    #[error("a sample is larger than what may be kept in {}: raise record.max_size", path.display())]
    TooLarge { path: PathBuf },
}

/// Whether and where the daemon records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub enabled: bool,
    /// Empty for [`default_directory`].
    pub directory: String,
    /// Bytes of all files together.
    pub max_size: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { enabled: true, directory: String::new(), max_size: 256 << 20 }
    }
}

impl Options {
    /// Where recordings are kept.
    pub fn directory(&self) -> PathBuf {
        if self.directory.is_empty() { default_directory() } else { PathBuf::from(&self.directory) }
    }
}

/// The state directory that systemd made for the service, or the usual one.
pub fn default_directory() -> PathBuf {
    let state = std::env::var_os("STATE_DIRECTORY").filter(|state| !state.is_empty());
    state.as_deref().map_or(Path::new("/var/lib/tcpwatch"), Path::new).join("flight")
}
