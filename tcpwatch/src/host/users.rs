//! Names of users, from the host's `/etc/passwd`.
//!
//! In a container that sees the host's processes, the first of them has the host's file; else ours is the one.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::time::SystemTime;

/// A longer file is nobody's list of users.
const LONGEST: u64 = 4 << 20;

/// The users of the host, read again when the file has changed.
#[derive(Debug)]
pub struct Users {
    /// The first that can be opened is read.
    paths: Vec<PathBuf>,
    /// What the file was like when it was read.
    read: Option<(u64, u64, SystemTime)>,
    names: HashMap<u32, String>,
}

impl Default for Users {
    fn default() -> Self {
        Self::from(vec!["/proc/1/root/etc/passwd".into(), "/etc/passwd".into()])
    }
}

impl From<Vec<PathBuf>> for Users {
    fn from(paths: Vec<PathBuf>) -> Self {
        Self { paths, read: None, names: HashMap::new() }
    }
}

impl Users {
    /// Looks whether the file has changed. Without a file there are no names.
    pub fn refresh(&mut self) {
        let found = self.paths.iter().find_map(|path| {
            let file = File::open(path).ok()?;
            let stamp = file.metadata().and_then(|data| stamp(&data)).ok()?;
            Some((file, stamp))
        });
        let Some((file, stamp)) = found else {
            self.read = None;
            self.names.clear();
            return;
        };
        if self.read == Some(stamp) {
            return;
        }
        let mut bytes = Vec::new();
        // Half a file is not taken for a whole one; the next look tries again.
        if file.take(LONGEST).read_to_end(&mut bytes).is_ok() {
            self.names = parse(&String::from_utf8_lossy(&bytes));
            self.read = Some(stamp);
        }
    }

    /// The user's name as of the last [`Users::refresh`].
    pub fn name(&self, uid: u32) -> Option<&str> {
        self.names.get(&uid).map(String::as_str)
    }
}

fn stamp(data: &Metadata) -> io::Result<(u64, u64, SystemTime)> {
    use std::os::unix::fs::MetadataExt as _;
    // A new file can have the old one's time.
    Ok((data.ino(), data.len(), data.modified()?))
}

/// `name:password:uid:…`; of several with one number the first counts, as everywhere.
fn parse(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(uid))) = (fields.next(), fields.nth(1).map(str::parse))
            && !name.is_empty()
        {
            names.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn lines_are_understood_and_nonsense_is_not() {
        let names = parse(
            "root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n# no\n\n:x:5:\nweb:x:33\nx:y:z:1\n+::::::\n",
        );
        assert_eq!(names.get(&0).map(String::as_str), Some("root"));
        assert_eq!(names.get(&33).map(String::as_str), Some("web"));
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let path = std::env::temp_dir().join(format!("tcpwatch-passwd-{}", std::process::id()));
        fs::write(&path, "one:x:1:\n").unwrap();
        let mut users = Users::from(vec!["/nonexistent/passwd".into(), path.clone()]);
        assert_eq!(users.name(1), None, "not looked yet");
        users.refresh();
        assert_eq!(users.name(1), Some("one"));
        fs::write(&path, "other:x:1:\n").unwrap();
        users.refresh();
        assert_eq!(users.name(1), Some("other"));
        fs::remove_file(&path).unwrap();
        users.refresh();
        assert_eq!(users.name(1), None);
    }

    #[test]
    fn this_host_has_a_root() {
        let mut users = Users::default();
        users.refresh();
        assert_eq!(users.name(0), Some("root"));
    }
}
