//! The configuration file: TOML, a section per kind of finding, one for recordings and one for metrics.
//!
//! A file that is not right is refused as a whole, with the line and the reason of everything wrong in it: a daemon
//! that took half of a file would not do what anybody wrote. `options.rs` lists what there is.

mod budget;
mod options;
mod value;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::detect::Thresholds;
use crate::record;
pub use budget::Budget;
use options::{OPTIONS, Opt, SECTIONS};

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {}: {source}; is the path right?", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the configuration file {} is not right: {}", path.display(), list(problems))]
    Wrong { path: PathBuf, problems: Vec<Problem> },
}

/// One thing that is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Counted from one.
    pub line: usize,
    pub reason: String,
}

fn list(problems: &[Problem]) -> String {
    let lines = problems.iter().map(|problem| format!("line {}: {}", problem.line, problem.reason));
    lines.collect::<Vec<_>>().join("; ")
}

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    pub thresholds: Thresholds,
    pub record: record::Options,
    pub metrics: Budget,
}

/// The configuration that is in effect, and where it comes from.
#[derive(Debug)]
pub struct Config {
    path: Option<PathBuf>,
    taken: RwLock<Taken>,
}

/// What was last taken over, and what became of the last attempt.
#[derive(Debug)]
struct Taken {
    values: Arc<Values>,
    at: SystemTime,
    /// Why the file cannot be used now, if it cannot: then the values are older than it.
    error: Option<String>,
    version: Option<Version>,
}

/// Tells one state of a file from another without reading it. A link is followed: whoever points one elsewhere, as a
/// kubelet does for a `ConfigMap`, changes the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds, of the content and of the inode.
    times: [i64; 4],
}

impl Version {
    fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        let times = [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()];
        Some(Self { device: file.dev(), inode: file.ino(), size: file.len(), times })
    }
}

/// What became of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub path: PathBuf,
    /// When what is in effect was read.
    pub read_at: SystemTime,
    /// Why what is in the file now is not in effect.
    pub error: Option<String>,
}

impl Default for Config {
    /// Without a file.
    fn default() -> Self {
        Self::new(None, Values::default(), None)
    }
}

impl Config {
    fn new(path: Option<&Path>, values: Values, version: Option<Version>) -> Self {
        let taken = Taken { values: Arc::new(values), at: SystemTime::now(), error: None, version };
        Self { path: path.map(Path::to_owned), taken: RwLock::new(taken) }
    }

    /// Reads `path`; without one, everything is as it is by default.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        // Looked at first: what is written meanwhile is a change.
        let version = path.and_then(Version::of);
        let values = path.map_or_else(|| Ok(Values::default()), read)?;
        Ok(Self::new(path, values, version))
    }

    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub fn values(&self) -> Arc<Values> {
        Arc::clone(&self.taken.read().unwrap_or_else(PoisonError::into_inner).values)
    }

    /// `None` without a file.
    pub fn condition(&self) -> Option<Condition> {
        let path = self.path.clone()?;
        let taken = self.taken.read().unwrap_or_else(PoisonError::into_inner);
        Some(Condition { path, read_at: taken.at, error: taken.error.clone() })
    }

    /// The file as it is now; `None` if it is not there.
    pub fn version(&self) -> Option<Version> {
        self.path.as_deref().and_then(Version::of)
    }

    /// Whether this version was already read, be it good or bad.
    pub fn knows(&self, version: Option<Version>) -> bool {
        self.taken.read().unwrap_or_else(PoisonError::into_inner).version == version
    }

    /// Reads the file again; if it cannot be used, everything stays as it is.
    pub fn reload(&self) -> Result<(), ConfigError> {
        let Some(path) = &self.path else { return Ok(()) };
        let version = Version::of(path);
        let read = read(path);
        let mut taken = self.taken.write().unwrap_or_else(PoisonError::into_inner);
        taken.version = version;
        taken.error = read.as_ref().err().map(ToString::to_string);
        taken.values = Arc::new(read?);
        taken.at = SystemTime::now();
        Ok(())
    }
}

fn read(path: &Path) -> Result<Values, ConfigError> {
    let text =
        fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(&text).map_err(|problems| ConfigError::Wrong { path: path.to_owned(), problems })
}

/// What a file says; what it leaves out is as it is by default.
pub fn parse(text: &str) -> Result<Values, Vec<Problem>> {
    let line = |at: usize| text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
    let table = DeTable::parse(text).map_err(|error| {
        let reason = error.message().replace('\n', ", ");
        vec![Problem { line: line(error.span().map_or(0, |span| span.start)), reason }]
    })?;
    let mut values = Values::default();
    let mut problems = Vec::new();
    for (name, section) in table.get_ref() {
        let mut wrong = |at: usize, reason: String| problems.push(Problem { line: line(at), reason });
        match (SECTIONS.iter().find(|known| known.0 == name.get_ref()), section.get_ref()) {
            (Some((known, _)), DeValue::Table(entries)) => {
                for (key, value) in entries {
                    if let Err(reason) = set(&mut values, known, key.get_ref(), value) {
                        wrong(key.span().start, reason);
                    }
                }
            }
            (Some((known, _)), _) => {
                wrong(
                    name.span().start,
                    format!("{known} is a section: write [{known}] and its options below"),
                );
            }
            (None, value) => wrong(name.span().start, no_section(name.get_ref(), value.is_table())),
        }
    }
    problems.sort();
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

fn set(values: &mut Values, section: &str, name: &str, value: &Spanned<DeValue<'_>>) -> Result<(), String> {
    let of_section = || OPTIONS.iter().filter(|option| option.section == section);
    let Some(option) = of_section().find(|option| option.name == name) else {
        let names: Vec<_> = of_section().map(|option| option.name).collect();
        return Err(format!("there is no option {name:?} in [{section}]; there is {}", names.join(", ")));
    };
    option.setting.set(values, value.get_ref()).map_err(|reason| format!("{section}.{name} {reason}"))
}

fn no_section(name: &str, is_table: bool) -> String {
    let names: Vec<_> = SECTIONS.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    if is_table {
        format!("there is no section [{name}]; there is {names}")
    } else {
        format!("{name:?} is in no section; write one of [{names}] above it")
    }
}

/// A file that sets every option to what it is, with what it means.
pub fn print(values: &Values) -> String {
    let mut text = String::from(
        "# Configuration of tcpwatch. Every option may be left out.\n\
         # Times are seconds, or text such as \"500ms\", \"30s\", \"2m\" or \"1h\"; shares are between 0 and 1.\n",
    );
    let default = Values::default();
    for (section, about) in SECTIONS {
        let _ = write!(text, "\n# {about}\n[{section}]\n");
        for Opt { name, about, setting, .. } in OPTIONS.iter().filter(|option| option.section == *section) {
            let (value, default) = (setting.show(values), setting.show(&default));
            let _ = write!(text, "# {about}: {}, by default {default}\n{name} = {value}\n", setting.range());
        }
    }
    text
}

#[cfg(test)]
mod tests;
