//! All sockets, once and as fast as the kernel tells of them, for a listing.
//!
//! One thread walks in the kernel while the caller's formats what was read before. They share a few buffers, so a
//! listing of a million sockets takes the memory of one of a thousand.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use tcpwatch_common::event::Row;

use super::live::sockets::socket;
use super::{SourceError, fallback};
use crate::host::netns::{NetnsError, NetnsHandle, discover, within};
use crate::host::owner::sees_host_pids;
use crate::host::procfs::{NetCounters, OF_THREAD};
use crate::kernel::{Rows, RowsError};
use crate::sample::SocketSample;

/// What a listing has to tell of each socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Only states, addresses and queues, and what a daemon remembers: the kernel tells that faster.
    pub is_brief: bool,
}

/// Where a listing comes from, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The program of a daemon, which remembers ages and owners.
    Daemon,
    /// A program of our own, which remembers nothing.
    Program,
    /// Netlink, or `/proc`: no more than addresses, states and queues.
    Netlink,
}

/// Rows that are read at once: the kernel writes a third of that at a time.
const ROWS: usize = 1024;

/// Buffers that wait to be formatted, or to be filled again.
const BUFFERS: usize = 8;

/// A way to all sockets.
pub struct Listing {
    rows: Option<Rows>,
    origin: Origin,
    namespaces: Vec<NetnsHandle>,
    sees_host_pids: bool,
}

/// Rows of a namespace.
struct Chunk {
    netns: u64,
    bytes: Vec<u8>,
    length: usize,
}

impl Listing {
    /// Through the program of a daemon on this kernel, by the numbers that its status tells.
    pub fn borrow(id: u32, wanted: Wanted) -> Result<Self, RowsError> {
        Ok(Self::new(Some(Rows::borrow(id, wanted.is_brief)?), Origin::Daemon))
    }

    /// Through a program of our own if that can be had; what is lost where it cannot is said.
    pub fn alone(wanted: Wanted) -> (Self, Option<RowsError>) {
        match Rows::load(wanted.is_brief) {
            Ok(rows) => (Self::new(Some(rows), Origin::Program), None),
            Err(error) => (Self::new(None, Origin::Netlink), Some(error)),
        }
    }

    fn new(rows: Option<Rows>, origin: Origin) -> Self {
        Self { rows, origin, namespaces: Vec::new(), sees_host_pids: sees_host_pids() }
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
        let Self { rows, namespaces, sees_host_pids, .. } = self;
        let chosen: Vec<&NetnsHandle> = namespaces.iter().filter(|handle| is_wanted(handle)).collect();
        let Some(rows) = rows else { return by_netlink(&chosen, each) };
        let (filled, to_format) = sync_channel(BUFFERS);
        let (emptied, to_fill) = sync_channel(BUFFERS);
        for _ in 0..BUFFERS {
            // It has room for all of them.
            let _ = emptied.try_send(vec![0; ROWS * Row::SIZE]);
        }
        thread::scope(|scope| {
            let walker = scope.spawn(move || walk_all(rows, &chosen, &to_fill, &filled));
            for chunk in to_format {
                let rows = chunk.bytes[..chunk.length].chunks_exact(Row::SIZE).filter_map(Row::from_bytes);
                let mut sockets = rows.filter_map(|row| socket(chunk.netns, &row, *sees_host_pids));
                if sockets.try_for_each(|socket| each(&socket)).is_break() {
                    break;
                }
                // The walker may have ended.
                let _ = emptied.try_send(chunk.bytes);
            }
            // Without it the walker would wait for a buffer for ever.
            drop(emptied);
            walker.join().unwrap_or_else(|_| vec!["the walk over the sockets broke off".into()])
        })
    }
}

/// Walks one namespace after the other.
fn walk_all(
    rows: &mut Rows,
    chosen: &[&NetnsHandle],
    to_fill: &Receiver<Vec<u8>>,
    filled: &SyncSender<Chunk>,
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut text = String::new();
    for handle in chosen {
        let began = within(handle, || {
            // A walk costs milliseconds even where there is nothing.
            let counted = NetCounters::read(Path::new(OF_THREAD), &mut text);
            if counted.is_ok_and(|counted| counted.no_sockets()) { Ok(None) } else { rows.walk().map(Some) }
        });
        let mut walk = match began {
            Ok(Ok(Some(walk))) => walk,
            // What is empty or gone has no sockets.
            Ok(Ok(None)) | Err(NetnsError::Gone { .. }) => continue,
            Ok(Err(error)) => {
                problems.push(format!("network namespace {}: {error}", handle.inode));
                continue;
            }
            Err(error) => {
                problems.push(error.to_string());
                continue;
            }
        };
        loop {
            let Ok(mut bytes) = to_fill.recv() else { return problems };
            let length = walk.read(&mut bytes).unwrap_or_else(|error| {
                problems.push(format!("network namespace {}: {error}", handle.inode));
                0
            });
            // An empty one at the end brings the buffer back.
            if filled.send(Chunk { netns: handle.inode, bytes, length }).is_err() {
                return problems;
            }
            if length == 0 {
                break;
            }
        }
    }
    problems
}

fn by_netlink(
    chosen: &[&NetnsHandle],
    each: &mut dyn FnMut(&SocketSample) -> ControlFlow<()>,
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut flow = ControlFlow::Continue(());
    for handle in chosen {
        let listed = within(handle, || {
            fallback::list(|told| {
                if let (true, Some(socket)) = (flow.is_continue(), fallback::socket(handle.inode, told)) {
                    flow = each(&socket);
                }
            })
        });
        match listed {
            Ok(Ok(())) | Err(NetnsError::Gone { .. }) => {}
            Ok(Err(problem)) => problems.push(format!("network namespace {}: {problem}", handle.inode)),
            Err(error) => problems.push(error.to_string()),
        }
        if flow.is_break() {
            break;
        }
    }
    problems
}
