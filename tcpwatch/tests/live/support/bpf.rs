//! Maps that are loaded on this kernel, read and written from outside: only so far as a test has to spoil one.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _};

const MAP_LOOKUP: i32 = 1;
const MAP_UPDATE: i32 = 2;
const MAP_NEXT_KEY: i32 = 4;
const PROGRAM_NEXT_ID: i32 = 11;
const MAP_NEXT_ID: i32 = 12;
const MAP_BY_ID: i32 = 14;
const INFO: i32 = 15;
const LINK_NEXT_ID: i32 = 31;

/// Where a name is in `struct bpf_map_info`.
const NAME: std::ops::Range<usize> = 24..40;

/// `union bpf_attr`, as words.
type Attr = [u64; 16];

fn bpf(command: i32, attr: &mut Attr) -> io::Result<i64> {
    // SAFETY: the attributes are larger than any that these commands take, and pointers in them are to what outlives
    // the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of::<Attr>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// What the kernel numbers.
#[derive(Clone, Copy)]
pub enum Object {
    Program = PROGRAM_NEXT_ID as isize,
    Map = MAP_NEXT_ID as isize,
    Link = LINK_NEXT_ID as isize,
}

impl Object {
    /// Whether the kernel has one of this number.
    ///
    /// Nothing is opened for that: when the last who has a map of programs open goes, the kernel takes the programs out of
    /// it, and if somebody else opens and closes the map just then, it does so twice and keeps the map for ever.
    pub fn exists(self, id: u32) -> bool {
        let mut attr: Attr = [0; 16];
        attr[0] = u64::from(id) - 1;
        // The next number goes into the second half of the first word.
        bpf(self as i32, &mut attr).is_ok() && attr[0] >> 32 == u64::from(id)
    }
}

/// A map with keys of a word.
pub struct Map<const WORDS: usize>(File);

impl<const WORDS: usize> Map<WORDS> {
    /// Every map with this name.
    pub fn named(name: &str) -> Vec<Self> {
        let mut found = Vec::new();
        let mut attr: Attr = [0; 16];
        while bpf(MAP_NEXT_ID, &mut attr).is_ok() {
            // The next one comes after the first half of the first word; it becomes what is begun from.
            let id = attr[0] >> 32;
            attr = [id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let Ok(fd) = bpf(MAP_BY_ID, &mut attr.clone()) else { continue };
            // SAFETY: a descriptor that is ours alone.
            let map = Self(unsafe { File::from_raw_fd(i32::try_from(fd).expect("a descriptor")) });
            if map.name() == name {
                found.push(map);
            }
        }
        found
    }

    fn fd(&self) -> u64 {
        u64::try_from(self.0.as_raw_fd()).expect("positive")
    }

    fn name(&self) -> String {
        let mut info = [0u8; 256];
        let length = u64::try_from(info.len()).expect("small");
        let mut attr: Attr = [0; 16];
        (attr[0], attr[1]) = (self.fd() | length << 32, info.as_mut_ptr() as u64);
        bpf(INFO, &mut attr).expect("tell of a map");
        String::from_utf8_lossy(&info[NAME]).trim_end_matches('\0').to_owned()
    }

    pub fn keys(&self) -> Vec<u64> {
        let (mut keys, mut next) = (Vec::new(), 0u64);
        let mut attr: Attr = [0; 16];
        loop {
            let last = keys.last().copied();
            let from = last.as_ref().map_or(0, |key: &u64| std::ptr::from_ref(key) as u64);
            (attr[0], attr[1], attr[2]) = (self.fd(), from, (&raw mut next) as u64);
            if bpf(MAP_NEXT_KEY, &mut attr).is_err() {
                return keys;
            }
            keys.push(next);
        }
    }

    pub fn get(&self, key: u64) -> Option<[u64; WORDS]> {
        let mut value = [0; WORDS];
        let mut attr: Attr = [0; 16];
        (attr[0], attr[1], attr[2]) = (self.fd(), (&raw const key) as u64, value.as_mut_ptr() as u64);
        bpf(MAP_LOOKUP, &mut attr).ok().map(|_| value)
    }

    pub fn put(&self, key: u64, value: &[u64; WORDS]) {
        let mut attr: Attr = [0; 16];
        (attr[0], attr[1], attr[2]) = (self.fd(), (&raw const key) as u64, value.as_ptr() as u64);
        bpf(MAP_UPDATE, &mut attr).expect("write to a map");
    }
}
