//! What a filter asks about one socket.

use std::net::SocketAddr;
use std::time::Duration;

use tcpwatch_common::TcpState;
use tcpwatch_common::host::Role;

use crate::process::Process;
use crate::sample::SocketSample;

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
}

impl<'a> SocketFacts<'a> {
    /// `user` is the name of the socket's user.
    pub fn new(socket: &SocketSample, owner: Option<&'a Process>, user: Option<&'a str>) -> Self {
        let container = owner.and_then(|owner| owner.container.as_ref());
        let pod = owner.and_then(Process::pod);
        Self {
            state: socket.state,
            local: socket.local,
            remote: (socket.remote.port() != 0).then_some(socket.remote),
            netns: socket.netns,
            age: socket.age,
            role: socket.role,
            pid: socket.pid,
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
        }
    }
}
