//! Connections by the program that walks the kernel's table of them: several threads walk, and each makes of what it
//! meets what is wanted, so that the caller has little left to do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use tcpwatch_common::TcpState;
use tcpwatch_common::walk::Short;

use super::{Make, Stopped, is_empty, told_by_netlink};
use crate::host::netns::{NetnsError, NetnsHandle, within};
use crate::kernel::{Connections, Walker};
use crate::sample::SocketSample;
use crate::source::fallback;

/// Chains that a thread walks at once. Nothing else runs on its CPU meanwhile: with a socket in each, 0.2 to 0.4 ms.
const STRETCH: u32 = 1024;

/// Batches that each thread has: one is filled while the other is taken.
const BATCHES: usize = 2;

/// A namespace, which all threads walk together.
struct Job<'a> {
    handle: &'a NetnsHandle,
    /// Somebody tells of the listeners, which are not in the table.
    is_begun: AtomicBool,
    is_done: AtomicBool,
    /// The next chain that nobody walks.
    next: AtomicU32,
}

/// Walks these namespaces; what could not be walked is returned, for a person.
pub(super) fn walk<T: Send>(
    connections: &mut Connections,
    chosen: &[&NetnsHandle],
    make: &Make<'_, T>,
    take: &mut dyn FnMut(&mut T) -> ControlFlow<()>,
) -> Vec<String> {
    let job = |handle| Job {
        handle,
        is_begun: AtomicBool::new(false),
        is_done: AtomicBool::new(false),
        next: AtomicU32::new(0),
    };
    let jobs: Vec<Job<'_>> = chosen.iter().map(|handle| job(*handle)).collect();
    let walkers = connections.walkers();
    let (filled, to_take) = sync_channel(BATCHES * walkers.len());
    thread::scope(|scope| {
        let mut emptied = Vec::new();
        let mut threads = Vec::new();
        for (number, walker) in walkers.into_iter().enumerate() {
            let (give_back, to_fill) = sync_channel(BATCHES);
            for _ in 0..BATCHES {
                // It has room for all of them.
                let _ = give_back.try_send((make.new)());
            }
            emptied.push(give_back);
            let mut worker =
                Worker { number, walker, make, to_fill, filled: filled.clone(), problems: Vec::new() };
            let jobs = &jobs;
            threads.push(scope.spawn(move || {
                // Whoever takes may have stopped: then there is nothing to do.
                let _ = jobs.iter().try_for_each(|job| worker.enter(job));
                worker.problems
            }));
        }
        drop(filled);
        for (number, mut batch) in to_take {
            if take(&mut batch).is_break() {
                break;
            }
            // Its thread may have ended.
            let _ = emptied[number].try_send(batch);
        }
        // Without them the threads would wait for batches for ever.
        drop(emptied);
        let ended = threads.into_iter().map(thread::ScopedJoinHandle::join);
        let broken = |_| vec!["the walk over the sockets broke off".into()];
        let mut problems: Vec<String> = ended.flat_map(|problems| problems.unwrap_or_else(broken)).collect();
        problems.sort();
        problems.dedup();
        problems
    })
}

/// One thread.
struct Worker<'a, T> {
    number: usize,
    walker: Walker<'a>,
    make: &'a Make<'a, T>,
    to_fill: Receiver<T>,
    filled: SyncSender<(usize, T)>,
    problems: Vec<String>,
}

impl<T> Worker<'_, T> {
    fn enter(&mut self, job: &Job<'_>) -> Result<(), Stopped> {
        if job.is_done.load(Ordering::Relaxed) {
            return Ok(());
        }
        match within(job.handle, || self.work(job)) {
            Ok(result) => result,
            Err(error) => {
                // What is gone has no sockets.
                if !matches!(error, NetnsError::Gone { .. }) {
                    self.problems.push(error.to_string());
                }
                Ok(())
            }
        }
    }

    fn work(&mut self, job: &Job<'_>) -> Result<(), Stopped> {
        if !job.is_begun.swap(true, Ordering::Relaxed) {
            if is_empty(&mut String::new()) {
                job.is_done.store(true, Ordering::Relaxed);
                return Ok(());
            }
            self.listeners(job.handle)?;
        }
        while !job.is_done.load(Ordering::Relaxed) {
            let first = job.next.fetch_add(STRETCH, Ordering::Relaxed);
            let mut batch = self.empty()?;
            let Self { walker, make, .. } = self;
            let walked = walker.walk(first..first.saturating_add(STRETCH), &mut |told| {
                let mut socket = nothing(job.handle.inode);
                for (place, short) in told.iter().enumerate() {
                    if !is_again(told, place) && describe(&mut socket, short) {
                        (make.one)(&mut batch, &socket);
                    }
                }
            });
            self.send(batch)?;
            match walked {
                Ok(true) => {}
                Ok(false) => job.is_done.store(true, Ordering::Relaxed),
                Err(error) => {
                    job.is_done.store(true, Ordering::Relaxed);
                    self.problems.push(format!("network namespace {}: {error}", job.handle.inode));
                }
            }
        }
        Ok(())
    }

    fn listeners(&mut self, handle: &NetnsHandle) -> Result<(), Stopped> {
        let mut batch = self.empty()?;
        let listed = fallback::listeners(|told| {
            if let Some(socket) = told_by_netlink(handle.inode, told) {
                (self.make.one)(&mut batch, &socket);
            }
        });
        if let Err(problem) = listed {
            self.problems.push(format!("network namespace {}: {problem}", handle.inode));
        }
        self.send(batch)
    }

    fn empty(&self) -> Result<T, Stopped> {
        self.to_fill.recv().map_err(|_| Stopped)
    }

    fn send(&self, batch: T) -> Result<(), Stopped> {
        self.filled.send((self.number, batch)).map_err(|_| Stopped)
    }
}

/// Whether it is the same connection as one told before: for a moment a socket and the mini-socket that takes its place
/// are both in their chain.
fn is_again(told: &[Short], place: usize) -> bool {
    let one = &told[place];
    let mut before = told[..place].iter().rev().take_while(|before| before.chain == one.chain);
    let ends = |short: &Short| (short.local_port, short.remote_port, short.local, short.remote);
    before.any(|before| before.is_whole != one.is_whole && ends(before) == ends(one))
}

/// A sample that is filled again and again: it is large, and most of it stays unknown.
fn nothing(netns: u64) -> SocketSample {
    let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    SocketSample::new(netns, TcpState::Close, nowhere, nowhere)
}

/// Tells what is known of a connection; false if its state makes no sense.
fn describe(socket: &mut SocketSample, short: &Short) -> bool {
    let Some(state) = TcpState::from_kernel(short.state.into()) else { return false };
    let ip = |bytes: [u8; 16]| match bytes {
        [a, b, c, d, ..] if short.family == 4 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        bytes => IpAddr::V6(Ipv6Addr::from(bytes)),
    };
    let local = SocketAddr::new(ip(short.local), short.local_port);
    let remote = SocketAddr::new(ip(short.remote), short.remote_port);
    socket.state = state;
    socket.set_ends(local, remote);
    let queue = |bytes: u32| (short.is_whole != 0).then_some(u64::from(bytes));
    (socket.recv_queue, socket.send_queue) = (queue(short.unread), queue(short.unsent));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(short: &Short) -> SocketSample {
        let mut socket = nothing(7);
        assert!(describe(&mut socket, short), "a state");
        socket
    }

    fn short(chain: u8, port: u16, is_whole: bool) -> Short {
        Short {
            chain,
            local_port: 80,
            remote_port: port,
            state: if is_whole { 5 } else { 6 },
            family: 4,
            is_whole: is_whole.into(),
            unread: 3,
            ..Short::default()
        }
    }

    #[test]
    fn a_socket_and_what_takes_its_place_are_told_once() {
        let told = [
            short(1, 10, false),
            short(1, 11, true),
            short(1, 10, true),
            short(2, 11, false),
            short(2, 11, false),
        ];
        let again: Vec<bool> = (0..told.len()).map(|place| is_again(&told, place)).collect();
        assert_eq!(again, [false, false, true, false, false], "two alike may be on two devices");
    }

    #[test]
    fn addresses_are_as_long_as_their_family_says() {
        let mut one = short(0, 9, true);
        one.local = [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let told = sample(&one);
        assert_eq!((told.local.to_string(), told.mapped, told.is_v6), ("10.0.0.1:80".into(), false, false));
        assert_eq!((told.netns, told.recv_queue, told.send_queue), (7, Some(3), Some(0)));
        one.family = 6;
        one.local = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets();
        let told = sample(&Short { is_whole: 0, ..one });
        assert_eq!((told.local.to_string(), told.mapped, told.is_v6), ("10.0.0.1:80".into(), true, true));
        assert_eq!((told.recv_queue, told.send_queue), (None, None));
        assert!(!describe(&mut nothing(7), &Short { state: 0, ..one }));
    }
}
