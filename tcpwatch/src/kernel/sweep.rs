//! One walk over the sockets of all namespaces, by a program of our own that reads the kernel's tables in place.
//!
//! It works on the maps of the running programs. Kernels before 5.17 cannot run it, nor those before 5.19, whose
//! listeners are kept in another way: there namespaces are walked one by one with the kernel's iterator.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::include_bytes_aligned;
use tcpwatch_common::names::{global, map, program};
use tcpwatch_common::offsets::Field;
use tcpwatch_common::sweep::{Minis, Net, Search, Work, task};

use super::bpf;
use super::btf::Btf;
use super::mapped::Mapped;
use super::object::{ConnectionsError, Fields, Object, refused};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpwatch-sweep"));

/// Maps of the running programs that it works on.
pub(super) const SHARED: [&str; 7] =
    [map::SOCKETS, map::NAMESPACES, map::FREE_ROWS, map::ADOPTED, map::OLDER, map::HOST, map::LISTENERS];

/// All that the program reads, and has to read.
const FIELDS: [Field; 17] = [
    Field::Family,
    Field::LocalPort,
    Field::LocalV4,
    Field::Net,
    Field::State,
    Field::NetInode,
    Field::TaskNamespaces,
    Field::NamespacesNet,
    Field::NetHash,
    Field::Table,
    Field::TableMask,
    Field::Link,
    Field::Hash,
    Field::ListenTable,
    Field::ListenMask,
    Field::ListenHead,
    Field::NetList,
];

/// What it reads if it is there.
const MORE: [Field; 4] = [Field::LocalV6, Field::NetCookie, Field::TimeWaitSubstate, Field::TimeWaitRefs];

/// Chains that one call walks, at most: half a millisecond where there is a socket in each.
const STRETCH: u32 = 1 << 13;

/// Namespaces that the list of them has room for at least, 32 bytes each: all are listed, also those without a row.
const LEAST_FOUND: u32 = 1 << 16;

/// A walk that is stuck is given up after so many runs that got nowhere.
const MOST_STUCK: u32 = 100;

/// What a walk over one table has come upon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Whole sockets.
    pub passed: u64,
    /// Those of them that were older than the programs and had not been met.
    pub met: u64,
    /// Chains that changed while they were read: mini-sockets in them may have been counted twice.
    pub strayed: u64,
}

impl Swept {
    fn add(&mut self, work: &Work) {
        self.passed += work.passed;
        self.met += work.met;
        self.strayed += u64::from(work.strayed);
    }
}

/// The programs, and what they count.
pub struct Sweep {
    walk: OwnedFd,
    list: OwnedFd,
    work: Mapped<Work>,
    minis: Mapped<Minis>,
    search: Mapped<Search>,
    found: Mapped<Net>,
    room: u32,
    pass: u32,
}

/// What the loader says of the running programs.
pub(super) struct Running<'a> {
    /// The maps of [`SHARED`].
    pub(super) shared: Vec<(&'a str, OwnedFd)>,
    pub(super) set_mask: u32,
    pub(super) origin: u64,
    pub(super) rows: u32,
}

impl Sweep {
    pub(super) fn load(types: &Btf, running: Running<'_>) -> Result<Self, ConnectionsError> {
        // Listeners of kernels that have this are linked in another way.
        if types.member("inet_hashinfo", "listening_hash").is_ok() {
            return Err(ConnectionsError::NoTable);
        }
        let stride = types.size_of("inet_listen_hashbucket").ok_or(ConnectionsError::NoTable)?;
        let Running { shared, set_mask, origin, rows } = running;
        // Namespaces that are gone have rows as well, and those that never had a socket have none.
        let room = rows.saturating_mul(2).max(LEAST_FOUND);
        let object = Object::create(OBJECT, &[(map::MINIS, rows), (map::FOUND, room)], shared)?;
        let map_memory = refused("map memory");
        let work = Mapped::new(object.map(map::WORK)?, 1).map_err(&map_memory)?;
        let minis = Mapped::new(object.map(map::MINIS)?, rows).map_err(&map_memory)?;
        let search = Mapped::new(object.map(map::SEARCH)?, 1).map_err(&map_memory)?;
        let found = Mapped::new(object.map(map::FOUND)?, room).map_err(&map_memory)?;
        let all: Vec<Field> = FIELDS.into_iter().chain(MORE).collect();
        let fields = Fields { all: &all, needed: &FIELDS };
        let (set_mask, origin, stride) = (set_mask.to_ne_bytes(), origin.to_ne_bytes(), stride.to_ne_bytes());
        let globals = [
            (global::SET_MASK, &set_mask[..]),
            (global::ORIGIN, &origin[..]),
            (global::LISTEN_STRIDE, &stride[..]),
        ];
        let [walk, list] = object.load([program::SWEEP, program::NETS], types, &fields, &globals, false)?;
        Ok(Self { walk, list, work, minis, search, found, room, pass: 0 })
    }

    /// Every network namespace of the host; `None` if there are more than there is room for.
    pub fn nets(&mut self) -> Result<Option<Vec<Net>>, ConnectionsError> {
        bpf::run(self.list.as_fd(), &[self.room.into()]).map_err(refused("run a program"))?;
        let search = self.search.record(0).ok_or(ConnectionsError::NoTable)?;
        // SAFETY: in memory to which programs write only when we run them; so below.
        let search = unsafe { search.read_volatile() };
        let found = self.found.records().take(search.found as usize);
        // SAFETY: as above.
        let read = |net: std::ptr::NonNull<Net>| unsafe { net.read_volatile() };
        Ok((search.is_whole != 0).then_some(found.map(read).collect()))
    }

    /// Begins to count mini-sockets anew. Every table is walked once for each pass.
    pub fn begin(&mut self) {
        self.pass = self.pass.wrapping_add(1);
    }

    /// Walks the connections of the table that is kept at `hash` (see [`Net::hash`]) and counts mini-sockets. With `meet`,
    /// whole ones are met as well. `pause` is called now and then with the chains that are done and all; if it says so, the walk is
    /// given up.
    pub fn connections(
        &mut self,
        hash: u64,
        meet: bool,
        pause: &mut dyn FnMut(u32, u32) -> bool,
    ) -> Result<Swept, ConnectionsError> {
        self.walk(hash, task::COUNT | if meet { task::MEET } else { 0 }, pause)
    }

    /// Meets the listeners in the table that is kept at `hash`.
    pub fn listeners(
        &mut self,
        hash: u64,
        pause: &mut dyn FnMut(u32, u32) -> bool,
    ) -> Result<Swept, ConnectionsError> {
        self.walk(hash, task::LISTENERS | task::MEET, pause)
    }

    /// Has the listeners in the table that is kept at `hash` remembered, as far as they are not: those that the programs had
    /// no room for when they were opened.
    pub fn find_listeners(&mut self, hash: u64) -> Result<Swept, ConnectionsError> {
        self.walk(hash, task::LISTENERS | task::FIND, &mut |_, _| false)
    }

    /// What the last pass counted in a namespace's row.
    pub fn minis(&self, row: u32) -> Minis {
        let Some(counted) = self.minis.record(row) else { return Minis::default() };
        // SAFETY: it is in memory to which the program writes only when we run it.
        let counted = unsafe { counted.read_volatile() };
        if counted.pass == u64::from(self.pass) { counted } else { Minis::default() }
    }

    fn walk(
        &mut self,
        hash: u64,
        what: u64,
        pause: &mut dyn FnMut(u32, u32) -> bool,
    ) -> Result<Swept, ConnectionsError> {
        let mut swept = Swept::default();
        let (mut chain, mut stuck) = (0, 0);
        loop {
            let work = self.run(hash, chain, what)?;
            if work.table == 0 {
                return Err(ConnectionsError::NoTable);
            }
            swept.add(work);
            let (next, chains) = (work.chain, work.mask.saturating_add(1));
            if next >= chains {
                return Ok(swept);
            }
            stuck = if next == chain { stuck + 1 } else { 0 };
            if stuck > MOST_STUCK {
                return Err(ConnectionsError::Stuck { chain });
            }
            chain = next;
            if pause(chain, chains) {
                return Err(ConnectionsError::Stopped);
            }
        }
    }

    fn run(&mut self, hash: u64, chain: u32, what: u64) -> Result<&Work, ConnectionsError> {
        let end = chain.saturating_add(STRETCH);
        let arguments = [chain.into(), end.into(), what, self.pass.into(), hash];
        bpf::run(self.walk.as_fd(), &arguments).map_err(refused("run a program"))?;
        let work = self.work.record(0).ok_or(ConnectionsError::NoTable)?;
        // SAFETY: as above.
        Ok(unsafe { work.as_ref() })
    }
}
