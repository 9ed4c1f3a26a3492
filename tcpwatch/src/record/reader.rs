//! Reads a recording from its beginning, or from a time on. What is damaged is told and passed over.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::encode::{Decoded, Decoder};
use super::frame::{Header, Kind};
use super::scan::{Scanned, Scanner};
use super::{Item, RecordError, files};

/// What a recording has next.
#[derive(Clone, Debug)]
pub enum Entry {
    Item(SystemTime, Item),
    Damage(Damage),
}

/// A part of a recording that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub path: PathBuf,
    pub offset: u64,
    /// 0 for samples that are whole, and build on one that is not.
    pub bytes: u64,
    /// It is the end of a file: what was being written when the recording ended.
    pub is_torn: bool,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, offset, bytes, is_torn } = self;
        match (is_torn, bytes) {
            (true, _) => write!(f, "the end of {} is torn ({bytes} bytes)", path.display()),
            (false, 0) => {
                write!(f, "samples of {} from byte {offset} on build on one that is lost", path.display())
            }
            (false, _) => write!(f, "{bytes} bytes of {} at {offset} are damaged", path.display()),
        }
    }
}

/// From when to when something was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: SystemTime,
    pub last: SystemTime,
}

/// A recording, as an iterator of what is in it.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    /// With their sizes.
    files: Vec<(PathBuf, u64)>,
    /// Place among the files of the next one to be opened.
    next: usize,
    open: Option<(PathBuf, Scanner<File>)>,
    decoder: Decoder,
    /// To be told before anything else.
    pending: VecDeque<Entry>,
    /// Samples that build on a lost one have been told of.
    is_orphaned: bool,
    has_failed: bool,
}

impl Reader {
    /// Opens a file, or all files of a directory as one recording. Something in it must be a recording.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let reader = Self {
            path: path.to_owned(),
            files: files::list(path)?,
            next: 0,
            open: None,
            decoder: Decoder::default(),
            pending: VecDeque::new(),
            is_orphaned: false,
            has_failed: false,
        };
        reader.first()?;
        Ok(reader)
    }

    /// From when to when it reaches. Recordings are in the order in which they were made, whatever the clock said.
    pub fn span(&self) -> Result<Span, RecordError> {
        let mut last = None;
        for (path, _) in self.files.iter().rev() {
            each(path, |header, _, _| last = Some(header.at))?;
            if last.is_some() {
                break;
            }
        }
        let first = self.first()?;
        Ok(Span { first, last: last.unwrap_or(first) })
    }

    fn first(&self) -> Result<SystemTime, RecordError> {
        for (path, _) in &self.files {
            if let Some(first) = begin(path)? {
                return Ok(first);
            }
        }
        Err(RecordError::Foreign { path: self.path.clone() })
    }

    /// Goes on at the last whole sample that is not younger than `time`, or at the beginning if there is none. Who
    /// recorded and by which configuration is told first.
    pub fn seek(&mut self, time: SystemTime) -> Result<(), RecordError> {
        let mut file = 0;
        for (place, (path, _)) in self.files.iter().enumerate() {
            if begin(path)?.is_some_and(|first| first <= time) {
                file = place;
            }
        }
        let path = self.files[file].0.clone();
        let (mut whole, mut start, mut config) = (None, None, None);
        each(&path, |header, stored, offset| match header.kind {
            Kind::Whole if header.at <= time => whole = Some((offset, start.clone(), config.clone())),
            Kind::Start => start = Some((*header, stored.to_owned())),
            Kind::Config => config = Some((*header, stored.to_owned())),
            _ => {}
        })?;
        self.decoder.restart();
        self.pending.clear();
        self.is_orphaned = false;
        self.has_failed = false;
        self.open = None;
        self.next = file;
        if let Some((offset, start, config)) = whole {
            for (header, stored) in start.into_iter().chain(config) {
                self.frame(&path, &header, &stored, 0);
            }
            self.next = file + 1;
            self.open = open(&path, offset)?.map(|scanner| (path, scanner));
        }
        Ok(())
    }

    /// How much has been read, and how much there is, in bytes.
    pub fn progress(&self) -> (u64, u64) {
        let sizes = |files: &[(PathBuf, u64)]| files.iter().map(|(_, size)| size).sum::<u64>();
        let begun = sizes(&self.files[..self.next]);
        let read = match &self.open {
            Some((_, scanner)) => begun - self.files[self.next - 1].1.min(begun) + scanner.offset(),
            None => begun,
        };
        (read, sizes(&self.files))
    }

    /// Takes a frame: what it holds, or that it is damaged, becomes pending.
    fn frame(&mut self, path: &Path, header: &Header, stored: &[u8], offset: u64) {
        let damage = |bytes| Entry::Damage(Damage { path: path.to_owned(), offset, bytes, is_torn: false });
        let decoded = header.open(stored).map(|plain| self.decoder.open(header, &plain));
        let entry = match decoded {
            Some(Decoded::Item(item)) => {
                if matches!(item, Item::Sample(_)) {
                    self.is_orphaned = false;
                }
                Entry::Item(header.at, item)
            }
            Some(Decoded::Unknown) => return,
            // Those that follow build on it.
            Some(Decoded::Orphan) if std::mem::replace(&mut self.is_orphaned, true) => return,
            Some(Decoded::Orphan) => damage(0),
            Some(Decoded::Nonsense) | None => damage(stored.len() as u64),
        };
        self.pending.push_back(entry);
    }

    /// Reads on until something is pending; `false` at the end.
    fn advance(&mut self) -> Result<bool, RecordError> {
        while self.pending.is_empty() {
            let Some((path, mut scanner)) = self.open.take() else {
                let Some((path, _)) = self.files.get(self.next) else { return Ok(false) };
                self.next += 1;
                self.open = open(path, 0)?.map(|scanner| (path.clone(), scanner));
                continue;
            };
            match scanner.next().map_err(failed(&path))? {
                None => continue,
                Some(Scanned::Newer(version)) => return Err(RecordError::Newer { path, version }),
                Some(Scanned::Frame(header, stored, offset)) => self.frame(&path, &header, &stored, offset),
                Some(Scanned::Damage { offset, bytes, is_end: is_torn }) => {
                    let damage = Damage { path: path.clone(), offset, bytes, is_torn };
                    self.pending.push_back(Entry::Damage(damage));
                }
            }
            self.open = Some((path, scanner));
        }
        Ok(true)
    }
}

impl Iterator for Reader {
    type Item = Result<Entry, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        match self.advance() {
            Ok(true) => self.pending.pop_front().map(Ok),
            Ok(false) => None,
            Err(error) => {
                self.has_failed = true;
                Some(Err(error))
            }
        }
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> RecordError {
    move |source| RecordError::Read { path: path.to_owned(), source }
}

/// `None` if the file was removed meanwhile, as the oldest ones are.
fn open(path: &Path, offset: u64) -> Result<Option<Scanner<File>>, RecordError> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed(path))?,
    };
    file.seek(SeekFrom::Start(offset)).map_err(failed(path))?;
    Ok(Some(Scanner::new(file, offset)))
}

/// When a file begins; `None` if no frame is in it.
fn begin(path: &Path) -> Result<Option<SystemTime>, RecordError> {
    let Some(mut scanner) = open(path, 0)? else { return Ok(None) };
    while let Some(scanned) = scanner.next().map_err(failed(path))? {
        match scanned {
            Scanned::Frame(header, ..) => return Ok(Some(header.at)),
            Scanned::Newer(version) => return Err(RecordError::Newer { path: path.to_owned(), version }),
            Scanned::Damage { .. } => {}
        }
    }
    Ok(None)
}

/// Shows every frame of a file, with what it stores and its place.
fn each(path: &Path, mut show: impl FnMut(&Header, &[u8], u64)) -> Result<(), RecordError> {
    let Some(mut scanner) = open(path, 0)? else { return Ok(()) };
    while let Some(scanned) = scanner.next().map_err(failed(path))? {
        match scanned {
            Scanned::Frame(header, stored, offset) => show(&header, &stored, offset),
            Scanned::Newer(version) => return Err(RecordError::Newer { path: path.to_owned(), version }),
            Scanned::Damage { .. } => {}
        }
    }
    Ok(())
}
