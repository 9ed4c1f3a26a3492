//! Recordings as files: one file, or a directory with many.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::RecordError;

/// What the names of recordings end in.
pub const EXTENSION: &str = "tcpw";

/// What the names of the flight recorder's files begin with.
const PREFIX: &str = "flight-";

/// The files of a recording, the oldest first.
pub(super) fn list(path: &Path) -> Result<Vec<(PathBuf, u64)>, RecordError> {
    let failed = |source| RecordError::Read { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_file() {
        return Ok(vec![(path.to_owned(), metadata.len())]);
    }
    if !metadata.is_dir() {
        return Err(RecordError::NoFile { path: path.to_owned() });
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        // The oldest can be removed at any time.
        if let Ok(metadata) = fs::metadata(&file)
            && metadata.is_file()
            && file.extension().is_some_and(|extension| extension == EXTENSION)
        {
            files.push((file, metadata.len()));
        }
    }
    files.sort();
    if files.is_empty() { Err(RecordError::Empty { path: path.to_owned() }) } else { Ok(files) }
}

/// The flight recorder's own files in a directory, the oldest first: number, path and size.
pub(super) fn own(directory: &Path) -> std::io::Result<Vec<(u64, PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(number)
            && let Ok(metadata) = entry.metadata()
        {
            files.push((number, entry.path(), metadata.len()));
        }
    }
    files.sort();
    Ok(files)
}

/// `flight-0000000042-20260102T030405Z.tcpw`: names in the order in which they were begun, whatever the clock says.
pub(super) fn name(number: u64, at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).map_or_else(
        |_| String::from("00000000T000000Z"),
        |at| format!("{at:.0}").chars().filter(|c| !matches!(c, '-' | ':')).collect(),
    );
    format!("{PREFIX}{number:010}-{at}.{EXTENSION}")
}

fn number(name: &str) -> Option<u64> {
    let rest = name.strip_prefix(PREFIX)?.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    rest.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn names_have_the_order_of_their_numbers() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(name(42, at), "flight-0000000042-20231114T221320Z.tcpw");
        assert_eq!(number(&name(42, at)), Some(42));
        assert!(name(9, at + Duration::from_secs(9)) < name(10, at));
        for other in
            ["flight-1.tcpw", "flight-x-1.tcpw", "flight-1-2.txt", "notes.tcpw", "flight-1-2tcpw", ""]
        {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
