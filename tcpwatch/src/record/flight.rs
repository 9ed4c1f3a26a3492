//! A directory of recordings that never grows beyond its bound: files are begun anew when they are large enough, and
//! the oldest removed.
//!
//! A file gets whole frames only, by one write each time; what a failed write left is cut off again. A file is never
//! opened again for writing, so that what a crash left stays as it is.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Encoder, Item, RecordError, files};

/// Held while somebody records to the directory.
const LOCK: &str = ".lock";

/// A file is one part of so many of all that is kept, and not larger than [`MOST_FILE`].
const FILES: u64 = 16;
const MOST_FILE: u64 = 16 << 20;

/// A file that is being written.
#[derive(Debug)]
struct Current {
    file: File,
    path: PathBuf,
    written: u64,
}

#[derive(Debug)]
pub(super) struct Flight {
    directory: PathBuf,
    most: u64,
    /// Unlocked when it is closed.
    _lock: File,
    /// The oldest first, the current one not among them.
    older: VecDeque<(PathBuf, u64)>,
    current: Option<Current>,
    number: u64,
    encoder: Encoder,
}

impl Flight {
    /// Makes the directory if there is none, and takes it.
    pub(super) fn open(directory: &Path, most: u64) -> Result<Self, RecordError> {
        make(directory)?;
        let path = directory.join(LOCK);
        let lock = private().create(true).truncate(false).open(&path).map_err(failed("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RecordError::Taken { path: directory.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
        }
        let files = files::own(directory).map_err(failed("list", directory))?;
        let number = files.last().map_or(0, |(number, ..)| *number);
        let older = files.into_iter().map(|(_, path, size)| (path, size)).collect();
        let directory = directory.to_owned();
        let encoder = Encoder::default();
        let mut flight = Self { directory, most, _lock: lock, older, current: None, number, encoder };
        flight.make_room(0)?;
        Ok(flight)
    }

    /// Writes what belongs together. `head` begins each file. What could not be written is not there at all.
    pub(super) fn write(
        &mut self,
        head: &[(SystemTime, Item)],
        items: &[(SystemTime, Item)],
    ) -> Result<(), RecordError> {
        let done = self.try_write(head, items);
        if done.is_err() {
            self.encoder.restart();
            self.close();
        }
        done
    }

    fn try_write(
        &mut self,
        head: &[(SystemTime, Item)],
        items: &[(SystemTime, Item)],
    ) -> Result<(), RecordError> {
        let is_over = |current: &Current| {
            // Somebody may have removed it; looked for once in a while.
            current.written >= (self.most / FILES).min(MOST_FILE)
                || (self.encoder.is_at_start() && !current.path.exists())
        };
        if self.current.as_ref().is_some_and(is_over) {
            self.close();
        }
        let at = items.first().map_or(SystemTime::UNIX_EPOCH, |(at, _)| *at);
        let mut bytes = Vec::new();
        let mut head = head;
        if self.current.is_none() {
            self.encoder.restart();
        } else {
            head = &[];
        }
        for (at, item) in head.iter().chain(items) {
            if !self.encoder.put(*at, item, &mut bytes) {
                return Err(RecordError::TooLarge { path: self.directory.clone() });
            }
        }
        self.make_room(bytes.len() as u64)?;
        let current = match &mut self.current {
            Some(current) => current,
            none => {
                make(&self.directory)?;
                self.number += 1;
                let path = self.directory.join(files::name(self.number, at));
                let file = private().create_new(true).open(&path).map_err(failed("create", &path))?;
                none.insert(Current { file, path, written: 0 })
            }
        };
        current.file.write_all(&bytes).map_err(failed("write to", &current.path))?;
        current.written += bytes.len() as u64;
        Ok(())
    }

    /// Ends the current file, with nothing in it that is not whole.
    fn close(&mut self) {
        let Some(current) = self.current.take() else { return };
        if current.written == 0 {
            // If it cannot be removed it stays as an empty file, which is read as nothing.
            let _ = fs::remove_file(&current.path);
            return;
        }
        // If it cannot be cut, readers find its end torn.
        let _ = current.file.set_len(current.written);
        self.older.push_back((current.path, current.written));
    }

    /// Removes the oldest files until so many bytes more may be written.
    fn make_room(&mut self, bytes: u64) -> Result<(), RecordError> {
        let current = self.current.as_ref().map_or(0, |current| current.written);
        let mut total = self.older.iter().map(|(_, size)| size).sum::<u64>() + current + bytes;
        while total > self.most {
            let Some((path, size)) = self.older.front() else {
                return Err(RecordError::TooLarge { path: self.directory.clone() });
            };
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", path)(error));
                }
                _ => {}
            }
            total -= size;
            self.older.pop_front();
        }
        Ok(())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.close();
    }
}

fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> RecordError {
    move |source| RecordError::Write { what, path: path.to_owned(), source }
}

/// A recording has addresses and names: only its owner may read it.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Makes the directory if there is none.
pub fn make(directory: &Path) -> Result<(), RecordError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed("make the directory", directory))
}
