//! All sockets, once and as fast as the kernel tells of them, for a listing.
//!
//! Either several threads walk in the kernel, each a part, and work on what they read; or one thread walks while the
//! caller's works on what was read before. They share a few buffers, so a listing of a million sockets takes the memory
//! of one of a thousand.

mod connections;

use std::num::NonZero;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use tcpwatch_common::TcpState;
use tcpwatch_common::event::Row;

use super::live::sockets::socket;
use super::{SourceError, fallback};
use crate::host::diag::DiagSocket;
use crate::host::netns::{NetnsError, NetnsHandle, discover, within};
use crate::host::owner::sees_host_pids;
use crate::host::procfs::{NetCounters, OF_THREAD, SockStat};
use crate::kernel::{Connections, ConnectionsError, Rows, RowsError};
use crate::sample::SocketSample;

/// What a listing has to tell of each socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Only states, addresses and queues: the kernel tells that faster.
    pub is_brief: bool,
}

/// Where a listing comes from, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The program of a daemon, which remembers ages and owners.
    Daemon,
    /// A program of our own, which remembers nothing.
    Program,
    /// Netlink, or `/proc`: addresses, states and queues.
    Netlink,
}

/// Rows that are read at once: the kernel writes a third of that at a time.
const ROWS: usize = 1024;

/// Sockets that are handed over at once, of those that netlink tells.
const SOCKETS: usize = 256;

/// Buffers that wait to be formatted, or to be filled again.
const BUFFERS: usize = 8;

/// Threads that walk the table of connections, at most.
const THREADS: usize = 4;

/// With so many sockets on the host it takes longer to list them otherwise than to load a program for it.
const MANY: u64 = 10_000;

/// Namespaces whose mini-sockets are counted before it is loaded.
const COUNTED: usize = 16;

/// A way to all sockets.
pub struct Listing {
    way: Way,
    quick: Quick,
    origin: Origin,
    namespaces: Vec<NetnsHandle>,
    sees_host_pids: bool,
}

enum Way {
    Rows(Rows),
    Netlink,
}

/// The program that walks the table of connections itself, and tells them in brief.
enum Quick {
    Off,
    IfMany,
    Loaded(Connections),
}

/// What is made of sockets: many of them become one `T`, of which there are a few that are used again and again. Several
/// threads do so at once.
pub struct Make<'a, T> {
    pub new: &'a (dyn Fn() -> T + Sync),
    /// Adds a socket.
    pub one: &'a (dyn Fn(&mut T, &SocketSample) + Sync),
}

/// Sockets of a namespace, as they came.
struct Chunk {
    netns: u64,
    /// What the program wrote.
    bytes: Vec<u8>,
    length: usize,
    /// Bytes of each of its rows.
    row_size: usize,
    /// What netlink told.
    told: Vec<SocketSample>,
}

impl Chunk {
    /// An empty one; its buffer grows to what is needed of it, once.
    fn new() -> Self {
        Self { netns: 0, bytes: Vec::new(), length: 0, row_size: Row::SIZE, told: Vec::new() }
    }
}

impl Listing {
    /// Through the program of a daemon on this kernel, by the numbers that its status tells.
    pub fn borrow(id: u32, wanted: Wanted) -> Result<Self, RowsError> {
        let rows = Rows::borrow(id, wanted.is_brief)?;
        Ok(Self::new(Way::Rows(rows), Origin::Daemon, wanted))
    }

    /// Over netlink if that tells what is wanted. Else through a program of our own if that can be had; what is lost
    /// where it cannot is said.
    pub fn alone(wanted: Wanted) -> (Self, Option<RowsError>) {
        if wanted.is_brief {
            return (Self::new(Way::Netlink, Origin::Netlink, wanted), None);
        }
        match Rows::load(wanted.is_brief) {
            Ok(rows) => (Self::new(Way::Rows(rows), Origin::Program, wanted), None),
            Err(error) => (Self::new(Way::Netlink, Origin::Netlink, wanted), Some(error)),
        }
    }

    /// By a walk over the table of connections, however few there are.
    pub fn quick() -> Result<Self, ConnectionsError> {
        let quick = Quick::Loaded(load()?);
        Ok(Self { quick, ..Self::new(Way::Netlink, Origin::Netlink, Wanted { is_brief: true }) })
    }

    fn new(way: Way, origin: Origin, wanted: Wanted) -> Self {
        let quick = if wanted.is_brief { Quick::IfMany } else { Quick::Off };
        Self { way, quick, origin, namespaces: Vec::new(), sees_host_pids: sees_host_pids() }
    }

    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Looks for the network namespaces there are now.
    pub fn look(&mut self) -> Result<(), SourceError> {
        self.namespaces = discover()?.namespaces;
        Ok(())
    }

    /// The namespaces as of the last look.
    pub fn namespaces(&self) -> &[NetnsHandle] {
        &self.namespaces
    }

    /// Tells of each socket in the namespaces that are wanted, until it is told to stop. Returns what could not be
    /// walked, for a person.
    pub fn walk(
        &mut self,
        is_wanted: &dyn Fn(&NetnsHandle) -> bool,
        each: &mut dyn FnMut(&SocketSample) -> ControlFlow<()>,
    ) -> Vec<String> {
        let make = Make {
            new: &Vec::new,
            one: &|sockets: &mut Vec<SocketSample>, socket: &SocketSample| sockets.push(*socket),
        };
        self.share(is_wanted, &make, &mut |sockets| sockets.drain(..).try_for_each(|socket| each(&socket)))
    }

    /// The same, with the work shared among threads: `take` gets what was made of the sockets, some at a time, and has
    /// to leave it empty.
    pub fn share<T: Send>(
        &mut self,
        is_wanted: &dyn Fn(&NetnsHandle) -> bool,
        make: &Make<'_, T>,
        take: &mut dyn FnMut(&mut T) -> ControlFlow<()>,
    ) -> Vec<String> {
        let Self { way, quick, namespaces, sees_host_pids, .. } = self;
        let chosen: Vec<&NetnsHandle> = namespaces.iter().filter(|handle| is_wanted(handle)).collect();
        if matches!(quick, Quick::IfMany) && are_many(&chosen) {
            // Not every kernel runs it, and not everybody may.
            *quick = load().map_err(|error| log::debug!("{error}")).map_or(Quick::Off, Quick::Loaded);
        }
        if let Quick::Loaded(connections) = quick {
            return connections::walk(connections, &chosen, make, take);
        }
        let (filled, to_format) = sync_channel(BUFFERS);
        let (emptied, to_fill) = sync_channel(BUFFERS);
        for _ in 0..BUFFERS {
            // It has room for all of them.
            let _ = emptied.try_send(Chunk::new());
        }
        thread::scope(|scope| {
            let mut walker = Walker { to_fill, filled, problems: Vec::new() };
            let walker = scope.spawn(move || {
                // Whoever reads may have stopped: then there is nothing to do.
                let _ = match way {
                    Way::Rows(rows) => walker.by_program(rows, &chosen),
                    Way::Netlink => walker.by_netlink(&chosen),
                };
                walker.problems
            });
            let mut made = (make.new)();
            for mut chunk in to_format {
                let rows =
                    chunk.bytes[..chunk.length].chunks_exact(chunk.row_size).filter_map(Row::from_bytes);
                let rows = rows.filter_map(|row| socket(chunk.netns, &row, *sees_host_pids));
                rows.chain(chunk.told.iter().copied()).for_each(|socket| (make.one)(&mut made, &socket));
                if take(&mut made).is_break() {
                    break;
                }
                chunk.told.clear();
                chunk.length = 0;
                // The walker may have ended.
                let _ = emptied.try_send(chunk);
            }
            // Without it the walker would wait for a buffer for ever.
            drop(emptied);
            walker.join().unwrap_or_else(|_| vec!["the walk over the sockets broke off".into()])
        })
    }
}

/// The side that walks.
struct Walker {
    to_fill: Receiver<Chunk>,
    filled: SyncSender<Chunk>,
    problems: Vec<String>,
}

/// Nobody reads any more.
struct Stopped;

impl Walker {
    fn empty(&self) -> Result<Chunk, Stopped> {
        self.to_fill.recv().map_err(|_| Stopped)
    }

    fn send(&self, chunk: Chunk) -> Result<(), Stopped> {
        self.filled.send(chunk).map_err(|_| Stopped)
    }

    /// Notes why a namespace could not be entered; what is gone has no sockets.
    fn note(&mut self, error: &NetnsError) {
        if !matches!(error, NetnsError::Gone { .. }) {
            self.problems.push(error.to_string());
        }
    }

    /// Walks one namespace after the other.
    fn by_program(&mut self, rows: &mut Rows, chosen: &[&NetnsHandle]) -> Result<(), Stopped> {
        let mut text = String::new();
        for handle in chosen {
            let began = within(handle, || if is_empty(&mut text) { Ok(None) } else { rows.walk().map(Some) });
            let mut walk = match began {
                Ok(Ok(Some(walk))) => walk,
                Ok(Ok(None)) => continue,
                Ok(Err(error)) => {
                    self.problems.push(format!("network namespace {}: {error}", handle.inode));
                    continue;
                }
                Err(error) => {
                    self.note(&error);
                    continue;
                }
            };
            loop {
                let mut chunk = self.empty()?;
                chunk.netns = handle.inode;
                chunk.row_size = rows.row_size();
                chunk.bytes.resize(ROWS * chunk.row_size, 0);
                chunk.length = walk.read(&mut chunk.bytes).unwrap_or_else(|error| {
                    self.problems.push(format!("network namespace {}: {error}", handle.inode));
                    0
                });
                let is_end = chunk.length == 0;
                // An empty one at the end brings the buffer back.
                self.send(chunk)?;
                if is_end {
                    break;
                }
            }
        }
        Ok(())
    }

    fn by_netlink(&mut self, chosen: &[&NetnsHandle]) -> Result<(), Stopped> {
        let mut text = String::new();
        for handle in chosen {
            let mut chunk = Some(self.empty()?);
            let listed = within(handle, || {
                if is_empty(&mut text) {
                    return Ok(());
                }
                fallback::list(|told| {
                    // Once nobody reads any more, the rest is passed over.
                    let Some(mut filling) = chunk.take() else { return };
                    filling.told.extend(told_by_netlink(handle.inode, told));
                    chunk = if filling.told.len() < SOCKETS {
                        Some(filling)
                    } else {
                        self.send(filling).and_then(|()| self.empty()).ok()
                    };
                })
            });
            match listed {
                Ok(Ok(())) => {}
                Ok(Err(problem)) => {
                    self.problems.push(format!("network namespace {}: {problem}", handle.inode));
                }
                Err(error) => self.note(&error),
            }
            self.send(chunk.ok_or(Stopped)?)?;
        }
        Ok(())
    }
}

/// What netlink knows of a socket; of a listener its queue of connections and the limit, as rows have it.
fn told_by_netlink(netns: u64, told: &DiagSocket) -> Option<SocketSample> {
    let mut socket = fallback::socket(netns, told)?;
    if socket.state == TcpState::Listen {
        (socket.recv_queue, socket.send_queue) = (Some(told.rqueue.into()), Some(told.wqueue.into()));
    }
    Some(socket)
}

fn load() -> Result<Connections, ConnectionsError> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS);
    Connections::load(u32::try_from(threads).unwrap_or(1), false)
}

/// Whether there are many sockets. All namespaces have one table as a rule, so all of them count.
fn are_many(chosen: &[&NetnsHandle]) -> bool {
    let mut text = String::new();
    let (mut whole, mut minis) = (0, 0);
    for handle in chosen.iter().take(COUNTED) {
        if let Ok(Ok(counted)) = within(handle, || SockStat::read(Path::new(OF_THREAD), &mut text)) {
            // Those of the whole host, whichever namespace says it.
            whole = counted.alloc;
            minis += counted.tw;
        }
        if whole + minis >= MANY {
            return true;
        }
    }
    false
}

/// Whether the calling thread's namespace has no sockets at all: a walk costs milliseconds even there.
fn is_empty(text: &mut String) -> bool {
    NetCounters::read(Path::new(OF_THREAD), text).is_ok_and(|counted| counted.no_sockets())
}
