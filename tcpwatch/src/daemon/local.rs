//! The daemon's Unix socket: who is root, or of the group that the file is given, needs no port to ask it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::local;

/// Where commands look for the daemon of this host first.
pub const DEFAULT_SOCKET: &str = "/run/tcpwatch/tcpwatch.sock";

/// Root and the file's group.
const MODE: u32 = 0o660;

/// How long one who may be alive gets to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Why there is no socket at a path.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("another tcpwatch listens on {}; choose another path with --socket PATH", .0.display())]
    Taken(PathBuf),
    #[error("{} is no socket, and is left alone; choose another path with --socket PATH", .0.display())]
    NoSocket(PathBuf),
    #[error("cannot {what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
}

/// A listening socket whose file goes when it is dropped.
#[derive(Debug)]
pub struct Local {
    listener: UnixListener,
    file: File,
}

/// The file of a socket. Another daemon may have put its own there: only ours is removed.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    inode: (u64, u64),
}

impl Local {
    /// Listens at `path`. The file of a daemon that has died is replaced.
    pub fn bind(path: &Path) -> Result<Self, LocalError> {
        let failed = |what| move |source| LocalError::Io { what, path: path.to_owned(), source };
        check(path)?;
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
            made.map_err(failed("make the directory of the socket"))?;
        }
        // Under another name until it has its mode; the new name replaces what a dead daemon left.
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let fresh = PathBuf::from(name);
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("replace what is in the way of the socket")(error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&fresh).map_err(failed("make the socket"))?;
        let finish = || -> io::Result<(u64, u64)> {
            fs::set_permissions(&fresh, Permissions::from_mode(MODE))?;
            listener.set_nonblocking(true)?;
            let made = fs::symlink_metadata(&fresh)?;
            fs::rename(&fresh, path)?;
            Ok((made.dev(), made.ino()))
        };
        let inode = finish().map_err(|error| {
            // The first error is the one to tell.
            let _ = fs::remove_file(&fresh);
            failed("make the socket")(error)
        })?;
        Ok(Self { listener, file: File { path: path.to_owned(), inode } })
    }

    /// The listener, and the file to keep for as long as it listens.
    pub fn into_parts(self) -> (UnixListener, File) {
        (self.listener, self.file)
    }
}

/// Whether a socket may be put at `path`.
fn check(path: &Path) -> Result<(), LocalError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(LocalError::NoSocket(path.to_owned())),
        Ok(_) => {}
        // If it is there and cannot be seen, making it fails and says why.
        Err(_) => return Ok(()),
    }
    match local::connect_to(path, PATIENCE) {
        // One whose queue is full is alive, too.
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Ok(()),
        _ => Err(LocalError::Taken(path.to_owned())),
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let ours = |found: &fs::Metadata| (found.dev(), found.ino()) == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(|found| ours(&found))
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn path(hint: &str) -> PathBuf {
        std::env::temp_dir().join(format!("tcpwatch-{hint}-{}", std::process::id())).join("a/b.sock")
    }

    fn remove(path: &Path) {
        fs::remove_dir_all(path.ancestors().nth(2).expect("a directory")).expect("remove");
    }

    #[test]
    fn a_living_daemon_is_left_alone_and_a_dead_one_replaced() {
        let path = path("local");
        let first = Local::bind(&path).expect("nobody is there");
        assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o777, MODE);
        assert!(matches!(Local::bind(&path), Err(LocalError::Taken(_))));
        UnixStream::connect(&path).expect("the first still listens");
        let (listener, file) = first.into_parts();
        // Killed: nobody removes the file.
        drop(listener);
        let second = Local::bind(&path).expect("the first is dead");
        drop(file);
        UnixStream::connect(&path).expect("the file of the second stays");
        drop(second);
        assert!(!path.exists());
        let left = fs::read_dir(path.parent().expect("a directory")).expect("list").count();
        assert_eq!(left, 0, "nothing is left");
        remove(&path);
    }

    #[test]
    fn other_files_are_left_alone() {
        let path = path("file");
        fs::create_dir_all(path.parent().expect("a directory")).expect("make it");
        fs::write(&path, "text").expect("write");
        assert!(matches!(Local::bind(&path), Err(LocalError::NoSocket(_))));
        assert_eq!(fs::read_to_string(&path).ok().as_deref(), Some("text"));
        let error = Local::bind(&path.join("c.sock")).expect_err("a file is no directory").to_string();
        assert!(error.starts_with("cannot make the directory of the socket "), "{error}");
        remove(&path);
    }
}
