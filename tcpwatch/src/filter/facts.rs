//! What a filter asks about one socket.

use std::net::SocketAddr;
use std::time::Duration;

use tcpwatch_common::TcpState;
use tcpwatch_common::host::Role;

use super::word::Word;
use crate::process::Process;
use crate::sample::{SocketSample, Vitals};

/// The facts of one socket; what is `None` is not known, or does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketFacts<'a> {
    /// As `ss` shows it; half-open requests are [`TcpState::NewSynRecv`].
    pub state: TcpState,
    pub local: SocketAddr,
    /// Listeners have none.
    pub remote: Option<SocketAddr>,
    pub netns: u64,
    /// Time in the state.
    pub age: Option<Duration>,
    pub role: Option<Role>,
    pub pid: Option<u32>,
    pub process: Option<&'a str>,
    pub container: Option<&'a str>,
    pub container_name: Option<&'a str>,
    pub pod: Option<&'a str>,
    pub pod_uid: Option<&'a str>,
    pub namespace: Option<&'a str>,
    pub workload: Option<&'a str>,
    pub uid: Option<u32>,
    pub user: Option<&'a str>,
    /// The kernel itself has it, and no process.
    pub is_kernels: bool,
    pub retransmits: Option<u64>,
    pub rtt: Option<Duration>,
    pub vitals: Vitals,
}

impl<'a> SocketFacts<'a> {
    /// `user` is the name of the socket's user.
    pub fn new(socket: &SocketSample, owner: Option<&'a Process>, user: Option<&'a str>) -> Self {
        let owner = owner.filter(|owner| !owner.is_kernel());
        let container = owner.and_then(|owner| owner.container.as_ref());
        let pod = owner.and_then(Process::pod);
        Self {
            state: socket.state,
            local: socket.local,
            remote: (socket.remote.port() != 0).then_some(socket.remote),
            netns: socket.netns,
            age: socket.age,
            role: socket.role,
            pid: socket.pid.filter(|_| !socket.is_kernels()),
            process: owner.and_then(|owner| owner.command.as_deref()),
            container: container.map(|container| container.id.as_str()),
            container_name: container.and_then(|container| container.name.as_deref()),
            pod: pod.and_then(|pod| pod.name.as_deref()),
            pod_uid: pod.map(|pod| pod.uid.as_str()),
            namespace: pod.and_then(|pod| pod.namespace.as_deref()),
            workload: pod.and_then(|pod| pod.workload.as_ref()).map(|workload| workload.name.as_str()),
            uid: socket.uid.or_else(|| owner.and_then(|owner| owner.uid)),
            user: user
                .or_else(|| owner.filter(|_| socket.uid.is_none()).and_then(|owner| owner.user.as_deref())),
            is_kernels: socket.is_kernels(),
            retransmits: socket.retransmits,
            rtt: socket.rtt,
            vitals: socket.vitals,
        }
    }

    /// What a word that is compared with numbers asks for.
    pub(super) fn figure(&self, word: Word) -> Option<u64> {
        let vitals = &self.vitals;
        match word {
            Word::Retransmits => self.retransmits,
            Word::Timeouts => vitals.timeouts.map(u64::from),
            Word::Backoff => vitals.backoff.map(u64::from),
            Word::Probes => vitals.probes.map(u64::from),
            Word::BytesAcked => vitals.bytes_acked,
            Word::BytesReceived => vitals.bytes_received,
            Word::SegmentsOut => vitals.segments_out,
            _ => None,
        }
    }

    /// What a word that is compared with times asks for.
    pub(super) fn time(&self, word: Word) -> Option<Duration> {
        let vitals = &self.vitals;
        match word {
            Word::Busy => vitals.busy,
            Word::RwndLimited => vitals.rwnd_limited,
            Word::SndbufLimited => vitals.sndbuf_limited,
            Word::Rtt => self.rtt,
            Word::MinRtt => vitals.min_rtt,
            _ => None,
        }
    }
}
