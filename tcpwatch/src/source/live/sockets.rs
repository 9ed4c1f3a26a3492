//! Single sockets from the iterator, with what the programs remember beside each.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tcpwatch_common::TcpState;
use tcpwatch_common::event::{Row, UNKNOWN, detail};
use tcpwatch_common::host::Role;
use tcpwatch_common::socket::{KERNEL_PID, PASSIVE, ROLE_UNKNOWN};

use super::Live;
use crate::host::clock;
use crate::host::netns::{NetnsError, within};
use crate::host::procfs::{NetCounters, OF_THREAD};
use crate::sample::{SocketSample, Vitals};
use crate::source::SourceError;
use crate::source::convert::has_listened;

impl Live {
    /// Walks the sockets of every namespace that is wanted.
    pub(super) fn walk(
        &mut self,
        is_wanted: &dyn Fn(u64) -> bool,
        each: &mut dyn FnMut(&SocketSample),
    ) -> Result<Vec<String>, SourceError> {
        // Several rows can be of namespaces that had the same number one after the other: the last is alive.
        let mut met: Vec<_> = self.counters.namespaces()?;
        met.sort_unstable_by_key(|(generation, _)| *generation);
        let rows: HashMap<u64, u32> = met.into_iter().map(|(_, met)| (met.inode.into(), met.row)).collect();
        self.namespaces.refresh(rows.keys().copied(), false)?;
        let mut problems = Vec::new();
        for handle in self.namespaces.all().to_vec() {
            if !is_wanted(handle.inode) {
                continue;
            }
            let (cells, adopted) = self.row(rows.get(&handle.inode).copied())?;
            let walked = within(&handle, || {
                // A walk costs milliseconds even where there is nothing, see `Live::inside`.
                let counted = NetCounters::read(Path::new(OF_THREAD), &mut self.buffer);
                if counted.is_ok_and(|counted| counted.no_sockets()) && !has_listened(&cells, &adopted) {
                    return Ok(());
                }
                let sees_host_pids = self.sees_host_pids;
                self.kernel.rows(|row| {
                    if let Some(socket) = socket(handle.inode, row, sees_host_pids) {
                        each(&socket);
                    }
                })
            });
            match walked {
                // What is gone has no sockets.
                Ok(Ok(())) | Err(NetnsError::Gone { .. }) => {}
                Ok(Err(error)) => problems.push(format!("network namespace {}: {error}", handle.inode)),
                Err(error) => problems.push(error.to_string()),
            }
        }
        Ok(problems)
    }
}

/// A row of the iterator as a socket; `None` for a state that does not exist.
pub(in crate::source) fn socket(netns: u64, row: &Row, sees_host_pids: bool) -> Option<SocketSample> {
    let state = TcpState::from_kernel(row.state.into())?;
    let end = |address: [u8; 16], port: u16| {
        let address = Ipv6Addr::from(address);
        let address = if row.family == 4 { address.to_canonical() } else { IpAddr::V6(address) };
        SocketAddr::new(address, port)
    };
    let known = |nanoseconds: u64| (nanoseconds != UNKNOWN).then(|| Duration::from_nanos(nanoseconds));
    let (local, remote) = (end(row.local, row.local_port), end(row.remote, row.remote_port));
    let mut socket = SocketSample::new(netns, state, local, remote);
    socket.id = Some(row.socket);
    socket.age = known(row.in_state);
    socket.lifetime = known(row.lifetime);
    socket.role = role(state, row);
    socket.pid = owner(row, sees_host_pids);
    socket.inode = Some(row.inode).filter(|inode| *inode != 0);
    // The kernel says 0 where there is no user: for TIME_WAIT, and for sockets that no process has.
    detail_of(&mut socket, row);
    socket.uid = Some(row.uid).filter(|_| row.inode != 0 || state == TcpState::NewSynRecv);
    Some(socket)
}

fn detail_of(socket: &mut SocketSample, row: &Row) {
    if row.details & detail::KNOWN == 0 {
        return;
    }
    socket.recv_queue = Some(row.unread.into());
    socket.send_queue = Some(row.unsent.into());
    if socket.state == TcpState::Listen || row.details & detail::BRIEF != 0 {
        return;
    }
    socket.retransmits = Some(row.retransmits.into());
    socket.vitals = Vitals::of(&row.vitals, clock::tick());
    // In eighths of a microsecond.
    socket.rtt = (row.rtt != 0).then(|| Duration::from_nanos(u64::from(row.rtt) * 125));
    socket.keepalive = Some(row.details & detail::KEEPALIVE != 0);
    socket.accepted =
        (socket.role == Some(Role::Passive)).then_some(row.details & detail::NEVER_ACCEPTED == 0);
}

/// Numbers of processes mean something only where the host's are seen.
fn owner(row: &Row, sees_host_pids: bool) -> Option<u32> {
    match row.pid {
        KERNEL_PID => Some(KERNEL_PID),
        0 if row.details & detail::KERNEL != 0 => Some(KERNEL_PID),
        pid => Some(pid).filter(|pid| *pid != 0 && sees_host_pids),
    }
}

fn role(state: TcpState, row: &Row) -> Option<Role> {
    match state {
        TcpState::Listen => None,
        // It stands beside a listener, and nothing else is remembered of it.
        TcpState::NewSynRecv => Some(Role::Passive),
        _ if row.flags & ROLE_UNKNOWN != 0 => None,
        _ if row.flags & PASSIVE != 0 => Some(Role::Passive),
        // Nothing is remembered of this one.
        _ if row.in_state == UNKNOWN && row.lifetime == UNKNOWN => None,
        _ => Some(Role::Active),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpwatch_common::socket::{BIRTH_UNKNOWN, SINCE_UNKNOWN};

    fn row() -> Row {
        let local = std::net::Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets();
        let state = TcpState::Established as u8;
        Row {
            local,
            remote: local,
            local_port: 80,
            remote_port: 9,
            state,
            family: 4,
            inode: 5,
            pid: 7,
            ..Row::default()
        }
    }

    #[test]
    fn known_facts_are_told() {
        let row = Row { in_state: 2_000_000_000, lifetime: 3_000_000_000, flags: PASSIVE, uid: 33, ..row() };
        let told = socket(1, &row, true).expect("a state");
        assert_eq!((told.local.to_string(), told.mapped), ("10.0.0.1:80".into(), false));
        assert_eq!((told.age, told.lifetime), (Some(Duration::from_secs(2)), Some(Duration::from_secs(3))));
        assert_eq!(
            (told.role, told.pid, told.uid, told.inode),
            (Some(Role::Passive), Some(7), Some(33), Some(5))
        );
        assert!(socket(1, &Row { family: 6, ..row }, true).expect("a state").mapped);
        assert_eq!(socket(1, &Row { flags: 0, ..row }, true).expect("a state").role, Some(Role::Active));
        assert_eq!(socket(1, &row, false).expect("a state").pid, None, "it would mean another process here");
        assert_eq!(socket(1, &Row { state: 0, ..row }, true), None);
    }

    #[test]
    fn details_are_told_where_they_are_known() {
        let details = detail::KNOWN | detail::KEEPALIVE;
        let full =
            Row { flags: PASSIVE, unread: 3, unsent: 4, retransmits: 5, rtt: 80_000, details, ..row() };
        let told = socket(1, &full, true).expect("a state");
        assert_eq!((told.recv_queue, told.send_queue, told.retransmits), (Some(3), Some(4), Some(5)));
        assert_eq!((told.rtt, told.keepalive), (Some(Duration::from_millis(10)), Some(true)));
        assert_eq!(told.accepted, Some(true));
        let waiting = Row { details: detail::KNOWN | detail::NEVER_ACCEPTED, ..full };
        let told = socket(1, &waiting, true).expect("a state");
        assert_eq!((told.accepted, told.keepalive), (Some(false), Some(false)));
        let told = socket(1, &Row { details: 0, ..full }, true).expect("a state");
        assert_eq!((told.recv_queue, told.keepalive, told.accepted), (None, None, None));
    }

    #[test]
    fn what_the_kernel_has_is_no_process_s() {
        let details = detail::KNOWN | detail::KERNEL;
        for row in [Row { pid: KERNEL_PID, ..row() }, Row { pid: 0, details, ..row() }] {
            for sees_host_pids in [false, true] {
                assert!(socket(1, &row, sees_host_pids).expect("a state").is_kernels());
            }
        }
        let held = socket(1, &Row { details, ..row() }, true).expect("a state");
        assert_eq!(held.pid, Some(7), "a process that has it was found");
        assert!(!socket(1, &Row { pid: 0, ..row() }, true).expect("a state").is_kernels());
    }

    #[test]
    fn unknown_facts_are_not() {
        let (in_state, lifetime) = (UNKNOWN, UNKNOWN);
        let old = Row { in_state, lifetime, flags: BIRTH_UNKNOWN | SINCE_UNKNOWN | ROLE_UNKNOWN, ..row() };
        let told = socket(1, &old, true).expect("a state");
        assert_eq!((told.age, told.lifetime, told.role), (None, None, None));
        let mini = Row { in_state, lifetime, inode: 0, pid: 0, state: TcpState::TimeWait as u8, ..row() };
        let told = socket(1, &mini, true).expect("a state");
        assert_eq!((told.role, told.pid, told.uid, told.inode), (None, None, None, None));
        let request = socket(1, &Row { state: TcpState::NewSynRecv as u8, ..mini }, true).expect("a state");
        assert_eq!((request.role, request.uid), (Some(Role::Passive), Some(0)));
        let listener = Row { state: TcpState::Listen as u8, remote_port: 0, ..row() };
        assert_eq!(socket(1, &listener, true).expect("a state").role, None);
    }
}
