//! The source without eBPF: socket states over netlink, or from `/proc` where even that is missing.
//!
//! It knows how many sockets are in each state now. Transitions, durations, causes and owners it cannot know, and
//! leaves them out.

use std::time::{Instant, SystemTime};

use tcpwatch_common::TcpState;

use super::namespaces::Namespaces;
use super::{Source, SourceError};
use crate::host::netns::{NetnsHandle, within};
use crate::host::processes::Processes;
use crate::host::{diag, proc_net};
use crate::sample::{Census, NamespaceSample, Sample, SocketSample, SourceKind, StateCounts};

/// Counts sockets over netlink.
#[derive(Debug)]
pub struct Fallback {
    opened: Instant,
    namespaces: Namespaces,
    processes: Processes,
}

impl Fallback {
    pub fn open() -> Result<Self, SourceError> {
        Ok(Self { opened: Instant::now(), namespaces: Namespaces::look()?, processes: Processes::default() })
    }

    fn namespace(&self, handle: &NetnsHandle, problems: &mut Vec<String>) -> NamespaceSample {
        let counts = match within(handle, count) {
            Ok(Ok(counts)) => Some(counts),
            Ok(Err(problem)) => {
                problems.push(format!("network namespace {}: {problem}", handle.inode));
                None
            }
            Err(error) => {
                problems.push(error.to_string());
                None
            }
        };
        NamespaceSample {
            inode: handle.inode,
            name: handle.name.clone(),
            is_own: handle.is_own,
            is_alive: true,
            is_complete: counts.is_some(),
            census: counts.map(|counts| Census { elapsed: self.opened.elapsed(), counts, minis: None }),
            ..NamespaceSample::default()
        }
    }
}

impl Source for Fallback {
    fn sample(&mut self, _census: bool) -> Result<Sample, SourceError> {
        self.namespaces.refresh(std::iter::empty(), false)?;
        let mut problems = Vec::new();
        let namespaces =
            self.namespaces.all().iter().map(|handle| self.namespace(handle, &mut problems)).collect();
        let empty = Sample::empty(SystemTime::now(), self.opened.elapsed(), SourceKind::Netlink);
        Ok(Sample { namespaces, problems, ..empty })
    }

    fn sockets(
        &mut self,
        is_wanted: &dyn Fn(u64) -> bool,
        each: &mut dyn FnMut(&SocketSample),
    ) -> Result<Vec<String>, SourceError> {
        self.namespaces.refresh(std::iter::empty(), false)?;
        let mut problems = Vec::new();
        for handle in self.namespaces.all().iter().filter(|handle| is_wanted(handle.inode)) {
            let each = &mut |told: &diag::DiagSocket| socket(handle.inode, told).iter().for_each(&mut *each);
            match within(handle, || list(each)) {
                Ok(Ok(())) => {}
                Ok(Err(problem)) => problems.push(format!("network namespace {}: {problem}", handle.inode)),
                Err(error) => problems.push(error.to_string()),
            }
        }
        Ok(problems)
    }

    fn processes(&mut self) -> &mut Processes {
        &mut self.processes
    }
}

/// What netlink knows of a socket.
pub(super) fn socket(netns: u64, told: &diag::DiagSocket) -> Option<SocketSample> {
    let state = TcpState::from_kernel(told.state.into())?;
    let mut socket = SocketSample::new(netns, state, told.local, told.remote);
    // Without an inode no process has it, and 0 is no user's number.
    if told.inode != 0 {
        socket.inode = Some(told.inode.into());
        socket.uid = Some(told.uid);
    }
    // A listener's queues hold connections; mini-sockets have none.
    let may_be_mini = matches!(state, TcpState::TimeWait | TcpState::FinWait2 | TcpState::SynRecv);
    if state != TcpState::Listen && (told.inode != 0 || !may_be_mini) {
        socket.recv_queue = Some(told.rqueue.into());
        socket.send_queue = Some(told.wqueue.into());
    }
    Some(socket)
}

/// Tells of the sockets of the calling thread's namespace.
pub(super) fn list(mut each: impl FnMut(&diag::DiagSocket)) -> Result<(), String> {
    match diag::dump(diag::ALL_STATES, &mut each) {
        Ok(_) => Ok(()),
        Err(diag::DiagError::Unsupported { .. }) => proc_net::dump(each).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Tells of the listeners of the calling thread's namespace.
pub(super) fn listeners(mut each: impl FnMut(&diag::DiagSocket)) -> Result<(), String> {
    const LISTEN: u8 = TcpState::Listen as u8;
    match diag::dump(1 << LISTEN, &mut each) {
        Ok(_) => Ok(()),
        Err(diag::DiagError::Unsupported { .. }) => {
            let each = |socket: &diag::DiagSocket| {
                if socket.state == LISTEN {
                    each(socket);
                }
            };
            proc_net::dump(each).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Counts the sockets of the calling thread's namespace by state.
pub fn count() -> Result<StateCounts, String> {
    let by_number = match diag::count_states() {
        Ok(counts) => counts,
        Err(error @ diag::DiagError::Unsupported { .. }) => {
            log::debug!("{error}");
            proc_net::count_states().map_err(|error| error.to_string())?
        }
        Err(error) => return Err(error.to_string()),
    };
    Ok(TcpState::ALL.map(|state| by_number.get(state as usize).copied().unwrap_or(0)))
}
