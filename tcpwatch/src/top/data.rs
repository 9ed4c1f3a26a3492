//! What is shown, as plain data. What is not known is `None`.

use std::time::{Duration, SystemTime};

use tcpwatch_common::TcpState;

use crate::sample::Vitals;

/// One instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub at: SystemTime,
    pub host: Option<String>,
    /// Transitions are counted; without that there are no flows, findings or listeners.
    pub is_ebpf: bool,
    pub uptime: Option<Duration>,
    /// Network namespaces by inode number, with their names.
    pub namespaces: Vec<(u64, Option<String>)>,
    /// By [`TcpState::index`].
    pub counts: [Option<u64>; TcpState::COUNT],
    pub half_open: Option<u64>,
    pub orphans: Option<u64>,
    /// All sockets that are older than the daemon are in the counts.
    pub is_complete: bool,
    pub flows: Option<Vec<Flow>>,
    pub findings: Option<Vec<Finding>>,
    pub listeners: Option<Vec<Listener>>,
    /// Told or not.
    pub listeners_total: u64,
    pub owners: Vec<Owner>,
    pub remotes: Vec<Remote>,
    /// In which what is told of remotes happened.
    pub remotes_within: Duration,
    /// What limits the figures, for a person.
    pub notes: Vec<String>,
}

/// One kind of transition.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    pub from: TcpState,
    pub to: TcpState,
    pub verdict: String,
    pub count: u64,
    /// Per second.
    pub rate: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub id: String,
    pub kind: String,
    pub verdict: Option<String>,
    pub is_critical: bool,
    pub since: Option<SystemTime>,
    pub netns: Option<u64>,
    /// Addresses with ports.
    pub listener: Option<String>,
    pub destination: Option<String>,
    /// An address.
    pub remote: Option<String>,
    pub owner: Process,
    pub confidence: Option<f64>,
    pub evidence: Vec<(String, String)>,
    pub summary: String,
    pub meaning: String,
    pub advice: Vec<String>,
    pub verify: Vec<String>,
}

/// Who owns something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    pub pid: Option<u32>,
    pub command: Option<String>,
    /// As people name it: runtime and the beginning of the id, or the unit.
    pub place: Option<String>,
    pub has_ended: bool,
}

impl Process {
    /// `nginx[4711]`
    pub fn name(&self) -> String {
        match (&self.command, self.pid) {
            (Some(command), Some(pid)) => format!("{command}[{pid}]"),
            (None, Some(pid)) => format!("[{pid}]"),
            // The kernel itself.
            (Some(command), None) => command.clone(),
            _ => "unknown".into(),
        }
    }

    pub fn long_name(&self) -> String {
        let ended = if self.has_ended { ", which has ended" } else { "" };
        match &self.place {
            Some(place) => format!("{} in {place}{ended}", self.name()),
            None => format!("{}{ended}", self.name()),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    pub length: Option<u64>,
    pub limit: Option<u64>,
}

impl Queue {
    /// In thousandths.
    pub fn fill(self) -> u64 {
        self.length.zip(self.limit).map_or(0, |(length, limit)| length.saturating_mul(1000) / limit.max(1))
    }
}

/// All listening sockets of one address.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    pub local: String,
    pub netns: u64,
    pub owner: Process,
    pub accept: Queue,
    pub syn: Queue,
    pub young: Option<u64>,
    pub stuck: Option<u64>,
    /// All drops since it was first seen.
    pub drops: u64,
    /// By cause.
    pub causes: Vec<(String, u64)>,
    pub synack_retransmits: u64,
    pub sockets: usize,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Owner {
    pub process: Process,
    pub critical: u64,
    pub warning: u64,
    pub drops: u64,
    pub retransmits: u64,
    pub resets: u64,
    pub connect_failures: u64,
    pub sockets: u64,
    pub close_wait: u64,
    pub stalled: u64,
    pub unread_bytes: u64,
    pub orphans: u64,
    /// `None` where it is not known.
    pub memory: Option<Memory>,
}

/// Bytes of the kernel's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub send: u64,
    pub receive: u64,
    pub reserved: u64,
    /// As much of it as connections have that are not accepted yet.
    pub unaccepted: u64,
}

impl Memory {
    pub fn total(self) -> u64 {
        self.send + self.receive + self.reserved
    }
}

impl Owner {
    /// Bytes of the kernel's memory; 0 where it is not known.
    pub fn bytes(&self) -> u64 {
        self.memory.map_or(0, Memory::total)
    }

    /// How much is wrong.
    pub fn trouble(&self) -> u64 {
        let ends = self.retransmits + self.resets + self.connect_failures;
        self.critical + self.warning + self.drops + ends + self.close_wait + self.stalled
    }
}

/// A remote end, with what went wrong with it of late.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remote {
    pub address: String,
    /// The service's.
    pub port: u16,
    /// It came to a service here.
    pub is_client: bool,
    pub netns: u64,
    pub owner: Process,
    /// Segments sent again.
    pub data: u64,
    pub syn: u64,
    pub synack: u64,
    pub resets_sent: u64,
    pub resets_received: u64,
    pub connect_failures: u64,
}

impl Remote {
    pub fn retransmits(&self) -> u64 {
        self.data + self.syn + self.synack
    }

    pub fn resets(&self) -> u64 {
        self.resets_sent + self.resets_received
    }

    /// Its address, and the port of the service if it is there.
    pub fn name(&self) -> String {
        match (self.is_client, self.address.contains(':')) {
            (true, _) => self.address.clone(),
            (false, true) => format!("[{}]:{}", self.address, self.port),
            (false, false) => format!("{}:{}", self.address, self.port),
        }
    }
}

/// The answer to a question about single sockets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sockets {
    pub sockets: Vec<Socket>,
    /// All that match.
    pub total: u64,
    /// What could not be looked at.
    pub problems: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Socket {
    pub state: String,
    pub age: Option<Duration>,
    pub local: String,
    pub remote: Option<String>,
    pub netns: u64,
    pub owner: Process,
    pub recv_queue: Option<u64>,
    pub send_queue: Option<u64>,
    pub retransmits: Option<u64>,
    pub rtt: Option<Duration>,
    pub vitals: Vitals,
}
