//! From what the kernel's side counts to the parts of a sample.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tcpwatch_common::event::FIN_WAIT2_MINIS;
use tcpwatch_common::failure::ConnectFailure;
use tcpwatch_common::listener::{Listener, POLLED, V6_ONLY};
use tcpwatch_common::{TcpState, cell, judge, remote};

use super::SourceError;
use crate::host::procfs::NetCounters;
use crate::kernel::Counters;
use crate::sample::{
    FoldedSample, KernelCounters, ListenerSample, Minis, NamespaceSample, RemoteCounts, RemoteSample,
    StateCounts,
};

pub(super) fn add_illegal(
    namespaces: &mut [NamespaceSample],
    counters: &Counters,
) -> Result<(), SourceError> {
    let illegal = counters.illegal()?;
    if illegal.is_empty() {
        return Ok(());
    }
    let mut rows: HashMap<u64, u32> =
        counters.namespaces()?.iter().map(|(key, met)| (*key, met.row)).collect();
    // No namespace has the number 0: it stands for those without a row.
    rows.insert(0, cell::OVERFLOW_ROW);
    for namespace in namespaces {
        let Some(row) = rows.get(&namespace.generation) else { continue };
        for ((_, from, to), count) in illegal.iter().filter(|((illegal_row, ..), _)| illegal_row == row) {
            let states = TcpState::from_kernel((*from).into()).zip(TcpState::from_kernel((*to).into()));
            namespace.illegal.extend(states.map(|(from, to)| (from, to, *count)));
        }
    }
    Ok(())
}

pub(super) fn has_listened(cells: &cell::Row, adopted: &[u64; 16]) -> bool {
    let listened = judge(TcpState::Close, TcpState::Listen).cell.map_or(0, |cell| cells[cell]);
    listened + adopted[TcpState::Listen as usize] > 0
}

/// From the kernel's state numbers to ours.
pub(super) fn by_index(by_number: &[u64; 16]) -> StateCounts {
    TcpState::ALL.map(|state| by_number[state as usize])
}

pub(super) fn minis(by_number: &[u64; 16]) -> Minis {
    Minis { half_open: by_number[TcpState::NewSynRecv as usize], fin_wait2: by_number[FIN_WAIT2_MINIS] }
}

pub(super) fn kernel_counters(counters: &NetCounters) -> KernelCounters {
    KernelCounters {
        active_opens: counters.snmp.active_opens,
        passive_opens: counters.snmp.passive_opens,
        attempt_fails: counters.snmp.attempt_fails,
        estab_resets: counters.snmp.estab_resets,
        curr_estab: counters.snmp.curr_estab,
        embryonic_resets: counters.ext.embryonic_rsts.unwrap_or(0),
        time_wait: counters.sock.tw,
    }
}

/// An address as the kernel side writes it; v4-mapped ones become IPv4.
pub(super) fn ip(bytes: [u8; 16]) -> IpAddr {
    let address = Ipv6Addr::from(bytes);
    address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
}

pub(super) fn socket_addr(bytes: [u8; 16], port: u16) -> SocketAddr {
    SocketAddr::new(ip(bytes), port)
}

/// Where somebody listens, which is known of listeners whose queues are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) netns: u64,
    pub(super) port: u16,
    /// The process that called `listen()`.
    pub(super) pid: Option<u32>,
}

/// `None` if it has no port yet.
pub(super) fn service(listener: &Listener) -> Option<Service> {
    let pid = (listener.pid != 0).then_some(listener.pid);
    (listener.local_port != 0).then(|| Service {
        netns: listener.netns.into(),
        port: listener.local_port,
        pid,
    })
}

/// A listener whose queues could be read; `None` if they could not, as zeros would be no figures, or if it has no port
/// yet.
pub(super) fn listener(id: u64, listener: &Listener) -> Option<ListenerSample> {
    let known = |value: u32| (value != u32::MAX).then_some(u64::from(value));
    (listener.local_port != 0 && listener.flags & POLLED != 0).then(|| ListenerSample {
        id,
        netns: listener.netns.into(),
        local: socket_addr(listener.local, listener.local_port),
        v6_only: listener.flags & V6_ONLY != 0,
        pid: (listener.pid != 0).then_some(listener.pid),
        uid: known(listener.uid).and_then(|uid| u32::try_from(uid).ok()),
        accept_queue: listener.accept_queue.into(),
        accept_limit: listener.accept_limit.into(),
        syn_queue: known(listener.syn_queue),
        young: known(listener.young),
        stuck: Some(listener.stuck),
        drops: listener.drops,
        synack_retransmits: listener.synack_retransmits,
    })
}

/// Remotes, with the clients to which SYN-ACKs were sent again.
pub(super) fn remotes(
    counted: &[(remote::Key, remote::Counts)],
    clients: &[(remote::Key, u64)],
) -> Vec<RemoteSample> {
    let mut all: HashMap<remote::Key, RemoteSample> =
        counted.iter().map(|(key, counts)| (*key, remote(key, counts))).collect();
    for &(key, synack) in clients {
        let client = all.entry(key).or_insert_with(|| remote(&key, &[0; remote::COUNTS]));
        client.counts.synack = synack;
    }
    all.into_values().collect()
}

/// What is counted for those who met too many remotes.
pub(super) fn folded(holder: &remote::Holder, counts: &remote::Counts) -> FoldedSample {
    let is_service = holder.kind == remote::SERVICE;
    FoldedSample {
        netns: holder.netns.into(),
        service: is_service.then(|| u16::try_from(holder.id).unwrap_or(0)),
        pid: (!is_service && holder.id != 0).then_some(holder.id),
        counts: remote(&remote::Key::default(), counts).counts,
    }
}

fn remote(key: &remote::Key, counts: &remote::Counts) -> RemoteSample {
    let count = |what: remote::Count| counts[what as usize];
    let failure = |reason: ConnectFailure| counts[remote::Count::Failure as usize + reason as usize];
    RemoteSample {
        netns: key.netns.into(),
        address: ip(key.address),
        port: key.port,
        is_client: key.client != 0,
        pid: u32::try_from(count(remote::Count::Pid)).ok().filter(|pid| *pid != 0),
        counts: RemoteCounts {
            timeout: count(remote::Count::Timeout),
            fast: count(remote::Count::Fast),
            probe: count(remote::Count::Probe),
            other: count(remote::Count::Other),
            syn: count(remote::Count::Syn),
            synack: count(remote::Count::SynAck),
            resets_sent: count(remote::Count::ResetSent),
            resets_received: count(remote::Count::ResetReceived),
            failures: ConnectFailure::ALL.map(failure),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_polled_is_left_out_and_still_a_service() {
        let met = Listener { netns: 7, pid: 42, local_port: 80, syn_queue: u32::MAX, ..Listener::default() };
        let known = Some(Service { netns: 7, port: 80, pid: Some(42) });
        assert_eq!((listener(1, &met).map(|one| one.id), service(&met)), (None, known));
        let polled = Listener { flags: POLLED | V6_ONLY, accept_queue: 3, drops: 2, ..met };
        let shown = listener(1, &polled).expect("it was polled");
        assert_eq!((shown.accept_queue, shown.drops, shown.syn_queue), (3, 2, None));
        assert!(shown.v6_only);
        assert_eq!(service(&polled), known);
        let unbound = Listener { local_port: 0, pid: 0, ..polled };
        assert_eq!((listener(1, &unbound).map(|one| one.id), service(&unbound)), (None, None));
        assert_eq!(service(&Listener { pid: 0, ..polled }).and_then(|one| one.pid), None);
    }
}
