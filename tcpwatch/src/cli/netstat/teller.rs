//! Who tells of the sockets: a daemon's program on this kernel, one of our own, netlink, or a daemon elsewhere.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tcpwatch_common::TcpState;
use tcpwatch_common::event::Row;
use tcpwatch_common::host::Role;
use tcpwatch_common::names::program;

use super::list::Names;
use super::{Asked, Chosen, Remote, client, pods, vitals};
use crate::host;
use crate::host::netns::NetnsHandle;
use crate::process::{Container, Pod, Process, Workload};
use crate::question::MOST;
use crate::roster::Roster;
use crate::sample::SocketSample;
use crate::source::{Listing, Make, Origin, Wanted};

/// Tells of sockets.
pub(super) enum Teller {
    Kernel {
        listing: Box<Listing>,
        chosen: Chosen,
        remark: Option<String>,
        /// What the daemon on this kernel knows of pods.
        pods: Option<Roster>,
    },
    /// Single sockets as a daemon tells them that is not on this kernel, or whose program we may not use.
    Daemon { answer: Value },
}

impl Teller {
    /// Finds the best way to the sockets.
    pub(super) fn find(asked: &Asked, remote: &Remote) -> Result<Self> {
        let wanted = Wanted { is_brief: !asked.needs_detail(true) };
        if let Some(status) = client::get(remote, "/api/v1/status")? {
            match borrow(&status, wanted) {
                Ok(listing) => {
                    // Where it asks no cluster there is nothing to be asked for.
                    let known = !status["kubernetes"].is_null();
                    let told = if known { client::get(remote, "/api/v1/pods")? } else { None };
                    return Self::kernel(asked, listing, None, told.as_ref().map(pods::roster));
                }
                Err(reason) => {
                    log::debug!("the daemon is asked for single sockets, as {reason}");
                    let path = asked.api_path()?;
                    let answer = client::get(remote, &path)?.context("the daemon has gone")?;
                    return Ok(Self::Daemon { answer });
                }
            }
        }
        let (listing, error) = Listing::alone(Wanted { is_brief: !asked.needs_detail(false) });
        let remark = match error {
            None => "no daemon runs: ages, lifetimes and roles are not known".into(),
            Some(error) => {
                log::info!("{error}");
                "without a daemon and eBPF only addresses, states and queues are known (`tcpwatch doctor` says why)".into()
            }
        };
        Self::kernel(asked, listing, Some(remark), None)
    }

    fn kernel(asked: &Asked, listing: Listing, remark: Option<String>, pods: Option<Roster>) -> Result<Self> {
        let mut teller = Self::Kernel { listing: Box::new(listing), chosen: Chosen::All, remark, pods };
        teller.look(asked)?;
        Ok(teller)
    }

    /// Looks for network namespaces again; the one that is asked for must be there.
    pub(super) fn look(&mut self, asked: &Asked) -> Result<()> {
        let Self::Kernel { listing, chosen, .. } = self else { return Ok(()) };
        listing.look().context("look for network namespaces")?;
        *chosen = asked.netns.choose(listing.namespaces())?;
        Ok(())
    }

    /// What has to be said of the figures, once.
    pub(super) fn remark(&self) -> Option<&str> {
        match self {
            Self::Kernel { remark, .. } => remark.as_deref(),
            Self::Daemon { answer } => (answer["truncated"] == true).then_some(
                "the daemon tells of its oldest 10000 sockets only: filter more, or ask on its host",
            ),
        }
    }

    /// Whether it goes on telling by itself, whatever becomes of a daemon.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Kernel { listing, .. } if listing.origin() != Origin::Daemon)
    }

    /// The processes that a daemon elsewhere tells of, by their numbers there.
    pub(super) fn owners(&self) -> Option<HashMap<u32, Process>> {
        let Self::Daemon { answer } = self else { return None };
        let owners = answer["sockets"].as_array().into_iter().flatten().map(|socket| &socket["owner"]);
        Some(owners.filter_map(process).map(|process| (process.pid, process)).collect())
    }

    /// What is known of the pods of processes that are looked at here.
    pub(super) fn pods(&self) -> Option<Roster> {
        if let Self::Kernel { pods, .. } = self { pods.clone() } else { None }
    }

    /// Whether ages, lifetimes and roles are known.
    pub(super) fn knows_ages(&self) -> bool {
        match self {
            Self::Kernel { listing, .. } => listing.origin() == Origin::Daemon,
            Self::Daemon { .. } => true,
        }
    }

    /// Whether owners need not be looked for.
    pub(super) fn knows_owners(&self) -> bool {
        matches!(self, Self::Daemon { .. })
    }

    /// Whether more than states, addresses and queues can be told.
    pub(super) fn knows_details(&self) -> bool {
        !matches!(self, Self::Kernel { listing, .. } if listing.origin() == Origin::Netlink)
    }

    /// Whether sockets come from the kernel, not one by one from a daemon.
    pub(super) fn is_fast(&self) -> bool {
        matches!(self, Self::Kernel { .. })
    }

    /// Whether sockets of several network namespaces may be told.
    pub(super) fn tells_several(&self) -> bool {
        match self {
            Self::Kernel { listing, chosen, .. } => {
                listing.namespaces().iter().filter(|handle| chosen.has(handle)).count() > 1
            }
            Self::Daemon { .. } => true,
        }
    }

    /// What namespaces are called.
    pub(super) fn names(&self) -> Names {
        match self {
            Self::Kernel { listing, .. } => {
                let named = |handle: &NetnsHandle| Some((handle.inode, handle.name.clone()?));
                listing.namespaces().iter().filter_map(named).collect()
            }
            Self::Daemon { .. } => Names::new(),
        }
    }

    /// Has something made of each socket, by several threads where that can be: see [`Listing::share`].
    pub(super) fn share<T: Send>(
        &mut self,
        asked: &Asked,
        make: &Make<'_, T>,
        take: &mut dyn FnMut(&mut T) -> ControlFlow<()>,
    ) -> Vec<String> {
        let Self::Kernel { listing, chosen, .. } = self else { return Vec::new() };
        let is_wanted = |handle: &NetnsHandle| chosen.has(handle) && asked.filter.admits_netns(handle.inode);
        listing.share(&is_wanted, make, take)
    }

    /// Tells of each socket, until it is told to stop; what could not be looked at.
    pub(super) fn walk(
        &mut self,
        asked: &Asked,
        each: &mut dyn FnMut(&SocketSample) -> ControlFlow<()>,
    ) -> Vec<String> {
        match self {
            Self::Kernel { listing, chosen, .. } => {
                listing.walk(&|handle| chosen.has(handle) && asked.filter.admits_netns(handle.inode), each)
            }
            Self::Daemon { answer } => {
                let sockets = answer["sockets"].as_array().into_iter().flatten().filter_map(socket);
                for socket in sockets {
                    if each(&socket).is_break() {
                        break;
                    }
                }
                let problems = answer["problems"].as_array().into_iter().flatten();
                problems.filter_map(|problem| problem.as_str().map(str::to_owned)).collect()
            }
        }
    }
}

/// Uses the program of the daemon with this status, if both are on the same kernel and of the same build.
fn borrow(status: &Value, wanted: Wanted) -> Result<Listing> {
    let boot = host::boot_id().context("this kernel does not tell which boot this is")?;
    if status["kernel"]["boot"].as_str() != Some(&boot) {
        bail!("it is on another kernel");
    }
    let is_ours = status["version"].as_str() == Some(env!("CARGO_PKG_VERSION"))
        && status["kernel"]["row_layout"].as_u64() == Some(Row::LAYOUT.into());
    if !is_ours {
        bail!("it is of another build");
    }
    let name = if wanted.is_brief { program::BRIEF } else { program::ROWS };
    let programs = status["programs"].as_array().into_iter().flatten();
    let id = programs.filter(|program| program["name"] == name).find_map(|program| program["id"].as_u64());
    let id = id.and_then(|id| u32::try_from(id).ok()).context("it runs no program that tells of sockets")?;
    Ok(Listing::borrow(id, wanted)?)
}

/// An owner as the API has it.
fn process(told: &Value) -> Option<Process> {
    let text = |told: &Value| told.as_str().map(str::to_owned);
    let container = text(&told["container"]);
    if told["kernel"] == true {
        return Some(Process::kernel());
    }
    Some(Process {
        pid: u32::try_from(told["pid"].as_u64()?).ok()?,
        command: text(&told["process"]),
        user: text(&told["user"]),
        uid: told["uid"].as_u64().and_then(|uid| u32::try_from(uid).ok()),
        unit: text(&told["unit"]),
        cgroup: text(&told["cgroup"]),
        exited: told["exited"] == true,
        container: container.map(|id| Container {
            runtime: "unknown",
            id,
            name: text(&told["container_name"]),
            pod: pod(told),
        }),
        ..Process::default()
    })
}

/// The pod of an owner.
fn pod(told: &Value) -> Option<Pod> {
    let text = |told: &Value| told.as_str().map(str::to_owned);
    let workload = text(&told["workload"]);
    Some(Pod {
        uid: text(&told["pod"])?,
        namespace: text(&told["namespace"]),
        name: text(&told["pod_name"]),
        workload: workload
            .map(|name| Workload { kind: text(&told["workload_type"]).unwrap_or_default(), name }),
    })
}

/// A socket as the API has it; `None` if it makes no sense.
fn socket(told: &Value) -> Option<SocketSample> {
    let mapped = told["mapped"] == true;
    let end = |told: &Value| told.as_str()?.parse::<SocketAddr>().ok();
    let local = end(&told["local"])?;
    let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let remote = end(&told["remote"]).unwrap_or(nowhere);
    let state = match TcpState::parse(told["state"].as_str()?)? {
        TcpState::SynRecv if told["half_open"] == true => TcpState::NewSynRecv,
        state => state,
    };
    let seconds = |told: &Value| told.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let small = |told: &Value| told.as_u64().and_then(|number| u32::try_from(number).ok());
    let mut socket = SocketSample::new(told["netns"].as_u64()?, state, local, remote);
    socket.is_v6 = mapped || matches!(local.ip(), IpAddr::V6(_));
    socket.mapped = mapped;
    socket.age = seconds(&told["age"]);
    socket.lifetime = seconds(&told["lifetime"]);
    socket.rtt = seconds(&told["rtt"]);
    socket.role =
        Role::ALL.into_iter().find(|role| told["role"].as_str().is_some_and(|name| name == role.name()));
    socket.pid = process(&told["owner"]).map(|owner| owner.pid);
    socket.uid = small(&told["uid"]);
    socket.inode = told["inode"].as_u64();
    socket.recv_queue = told["recv_queue"].as_u64();
    socket.send_queue = told["send_queue"].as_u64();
    socket.retransmits = told["retransmits"].as_u64();
    socket.keepalive = told["keepalive"].as_bool();
    socket.accepted = told["accepted"].as_bool();
    socket.vitals = vitals::parse(told);
    Some(socket)
}

impl Asked {
    /// The question for a daemon that is asked for single sockets.
    fn api_path(&self) -> Result<String> {
        let mut path = format!("/api/v1/sockets?limit={}", self.limit.min(MOST));
        if let Chosen::Number(netns) = self.netns.as_number()? {
            path += "&netns=";
            path += &netns.to_string();
        }
        let filter = self.filter.to_string();
        if !filter.is_empty() {
            path += "&filter=";
            for byte in filter.bytes() {
                let digit = |number: u8| char::from_digit(number.into(), 16).unwrap_or('0');
                if byte.is_ascii_alphanumeric() {
                    path.push(byte.into());
                } else {
                    path.extend(['%', digit(byte >> 4), digit(byte & 0xf)]);
                }
            }
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::Answer;
    use crate::view::sockets::sockets;
    use std::time::SystemTime;
    use tcpwatch_common::socket::KERNEL_PID;

    #[test]
    fn a_socket_of_the_api_is_the_same_here() {
        let end = |text: &str| text.parse().expect("an address");
        let known = SocketSample {
            age: Some(Duration::from_millis(1500)),
            role: Some(Role::Passive),
            pid: Some(5),
            uid: Some(33),
            inode: Some(7),
            recv_queue: Some(17),
            keepalive: Some(false),
            accepted: Some(true),
            vitals: crate::sample::Vitals {
                busy: Some(Duration::from_secs(3)),
                rwnd_limited: Some(Duration::from_millis(2500)),
                sndbuf_limited: Some(Duration::ZERO),
                timeouts: Some(1),
                backoff: Some(6),
                probes: Some(0),
                soft_error: Some(113),
                bytes_acked: Some(9),
                bytes_received: Some(u64::MAX),
                segments_out: Some(7),
                min_rtt: Some(Duration::from_millis(2)),
            },
            ..SocketSample::new(
                7,
                TcpState::CloseWait,
                end("[::ffff:10.0.0.1]:80"),
                end("[::ffff:10.0.0.2]:9"),
            )
        };
        let listener = SocketSample::new(7, TcpState::Listen, end("[::]:80"), end("[::]:0"));
        let request = SocketSample::new(7, TcpState::NewSynRecv, end("10.0.0.1:80"), end("10.0.0.2:9"));
        let kernels = SocketSample { pid: Some(KERNEL_PID), ..listener };
        for sample in [known, listener, request, kernels] {
            let answer = Answer {
                at: SystemTime::UNIX_EPOCH,
                sockets: vec![(sample, None)],
                total: 1,
                problems: Vec::new(),
            };
            let told = serde_json::to_value(sockets(&answer)).expect("JSON");
            let read = socket(&told["sockets"][0]).expect("a socket");
            let remote = if sample.remote.port() == 0 { read.remote } else { sample.remote };
            assert_eq!(read, SocketSample { remote, ..sample });
        }
        assert_eq!(socket(&serde_json::json!({"local": "here"})), None);
    }

    #[test]
    fn only_a_daemon_of_this_kernel_and_build_lends_its_program() {
        let wanted = Wanted { is_brief: true };
        let refused = |status: Value| borrow(&status, wanted).err().map(|error| error.to_string());
        let boot = host::boot_id();
        assert_eq!(refused(serde_json::json!({})).as_deref(), Some("it is on another kernel"));
        let kernel = serde_json::json!({"boot": boot, "row_layout": 1});
        assert_eq!(refused(serde_json::json!({"kernel": kernel})).as_deref(), Some("it is of another build"));
    }
}
