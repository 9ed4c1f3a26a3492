//! Which process has a socket: one pass over the descriptors of all processes, looking for inode numbers.
//!
//! The kernel leads from a descriptor to its socket and not back. A pass costs a microsecond or two per descriptor,
//! so it is only made for sockets that nobody else knows the owner of, and ends in time.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat, readlinkat_raw};

/// What a pass found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The first process met that has the socket, by the socket's inode number.
    pub owners: HashMap<u64, u32>,
    /// Time or room ran out: who is not in here may still have an owner.
    pub is_partial: bool,
}

/// Finds the owners of sockets, all or those in `wanted`: `most` of them, until `deadline`.
pub fn owners(wanted: Option<&BTreeSet<u64>>, most: usize, deadline: Instant) -> io::Result<Found> {
    let mut found = Found::default();
    let proc = openat(CWD, "/proc", FLAGS, Mode::empty())?;
    let mut space = Vec::with_capacity(32 * 1024);
    let mut entries = RawDir::new(&proc, space.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let Some(pid) = number(entry.file_name().to_bytes()) else { continue };
        // Ended meanwhile, or not to be seen.
        let Ok(directory) = openat(&proc, format!("{pid}/fd"), FLAGS, Mode::empty()) else { continue };
        let mut looked = 0_u32;
        let goes_on = of_process(&directory, |inode| {
            if let Some(inode) = inode.filter(|inode| wanted.is_none_or(|wanted| wanted.contains(inode))) {
                found.owners.entry(inode).or_insert(pid);
            }
            looked += 1;
            // The clock is not for nothing.
            found.owners.len() < most && (!looked.is_multiple_of(1024) || Instant::now() < deadline)
        });
        if !goes_on || Instant::now() >= deadline {
            found.is_partial = wanted.is_none_or(|wanted| found.owners.len() < wanted.len());
            break;
        }
    }
    Ok(found)
}

/// Tells of each descriptor's socket, until `each` has enough; whether it never had.
fn of_process(directory: &OwnedFd, mut each: impl FnMut(Option<u64>) -> bool) -> bool {
    let mut space = Vec::with_capacity(8 * 1024);
    let mut names = RawDir::new(directory, space.spare_capacity_mut());
    let mut link = [0; 64];
    while let Some(Ok(name)) = names.next() {
        let length = readlinkat_raw(directory, name.file_name(), &mut link).unwrap_or(0);
        if !each(link.get(..length).and_then(socket)) {
            return false;
        }
    }
    true
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn number(name: &[u8]) -> Option<u32> {
    std::str::from_utf8(name).ok().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// The number in `socket:[12345]`.
fn socket(link: &[u8]) -> Option<u64> {
    let digits = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::fs::MetadataExt as _;
    use std::time::Duration;

    fn sockets() -> (Vec<TcpListener>, BTreeSet<u64>) {
        let sockets: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let inode = |socket: &TcpListener| {
            let copy = std::fs::File::from(OwnedFd::from(socket.try_clone().unwrap()));
            copy.metadata().unwrap().ino()
        };
        let inodes = sockets.iter().map(inode).collect();
        (sockets, inodes)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn sockets_lead_to_their_process() {
        let (sockets, wanted) = sockets();
        let found = owners(Some(&wanted), 3, soon()).unwrap();
        assert_eq!(found.owners, wanted.iter().map(|inode| (*inode, std::process::id())).collect());
        assert!(!found.is_partial);
        let all = owners(None, usize::MAX, soon()).unwrap();
        assert!(wanted.iter().all(|inode| all.owners.contains_key(inode)) && !all.is_partial);
        drop(sockets);
        let found = owners(Some(&wanted), 3, soon()).unwrap();
        assert_eq!(found, Found::default(), "looked everywhere, and nobody has them");
    }

    #[test]
    fn it_ends_when_room_or_time_is_over() {
        let (_sockets, wanted) = sockets();
        let found = owners(Some(&wanted), 2, soon()).unwrap();
        assert_eq!((found.owners.len(), found.is_partial), (2, true));
        let found = owners(None, usize::MAX, Instant::now()).unwrap();
        assert!(found.is_partial);
    }

    #[test]
    fn links_of_other_kinds_are_no_sockets() {
        assert_eq!(socket(b"socket:[7]"), Some(7));
        for link in [&b"pipe:[7]"[..], b"/dev/null", b"socket:[x]", b"socket:[7", b""] {
            assert_eq!(socket(link), None);
        }
    }
}
