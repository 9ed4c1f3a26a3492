//! The words of the language: what a socket can be asked for.

use std::fmt;

/// What a test is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    State,
    /// Local or remote port.
    Port,
    LocalPort,
    RemotePort,
    Peer,
    Local,
    Process,
    Pid,
    Container,
    Pod,
    Namespace,
    Workload,
    Netns,
    OlderThan,
    Role,
    User,
    Retransmits,
    Timeouts,
    Backoff,
    Probes,
    SoftError,
    Busy,
    RwndLimited,
    SndbufLimited,
    Rtt,
    MinRtt,
    BytesAcked,
    BytesReceived,
    SegmentsOut,
    Kernel,
}

impl Word {
    pub const ALL: [Self; 30] = [
        Self::State,
        Self::Port,
        Self::LocalPort,
        Self::RemotePort,
        Self::Peer,
        Self::Local,
        Self::Process,
        Self::Pid,
        Self::Container,
        Self::Pod,
        Self::Namespace,
        Self::Workload,
        Self::Netns,
        Self::OlderThan,
        Self::Role,
        Self::User,
        Self::Retransmits,
        Self::Timeouts,
        Self::Backoff,
        Self::Probes,
        Self::SoftError,
        Self::Busy,
        Self::RwndLimited,
        Self::SndbufLimited,
        Self::Rtt,
        Self::MinRtt,
        Self::BytesAcked,
        Self::BytesReceived,
        Self::SegmentsOut,
        Self::Kernel,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Port => "port",
            Self::LocalPort => "sport",
            Self::RemotePort => "dport",
            Self::Peer => "peer",
            Self::Local => "local",
            Self::Process => "process",
            Self::Pid => "pid",
            Self::Container => "container",
            Self::Pod => "pod",
            Self::Namespace => "namespace",
            Self::Workload => "workload",
            Self::Netns => "netns",
            Self::OlderThan => "older-than",
            Self::Role => "role",
            Self::User => "user",
            Self::Retransmits => "retransmits",
            Self::Timeouts => "timeouts",
            Self::Backoff => "backoff",
            Self::Probes => "probes",
            Self::SoftError => "soft-error",
            Self::Busy => "busy",
            Self::RwndLimited => "rwnd-limited",
            Self::SndbufLimited => "sndbuf-limited",
            Self::Rtt => "rtt",
            Self::MinRtt => "min-rtt",
            Self::BytesAcked => "bytes-acked",
            Self::BytesReceived => "bytes-received",
            Self::SegmentsOut => "segments-out",
            Self::Kernel => "kernel",
        }
    }

    /// The word that is written `text`, in any case, `_` for `-`.
    pub fn parse(text: &str) -> Option<Self> {
        let is_it = |word: &Self| {
            word.name().bytes().eq(text.bytes().map(|byte| match byte.to_ascii_lowercase() {
                b'_' => b'-',
                byte => byte,
            }))
        };
        Self::ALL.into_iter().find(is_it)
    }

    /// What a value looks like, for an error.
    pub(super) const fn expects(self) -> &'static str {
        match self {
            Self::State => "a state such as close_wait, or several: close_wait,last_ack",
            Self::Port | Self::LocalPort | Self::RemotePort => {
                "a port from 0 to 65535, several (80,443), or a range (8000-8099)"
            }
            Self::Peer | Self::Local => "an address or prefix such as 10.0.0.0/8 or 2001:db8::1",
            Self::Process => "the name of a process; * stands for anything, ? for one character",
            Self::Pid => "the number of a process, as the host sees it",
            Self::Container => "the beginning of a container's id, or its name",
            Self::Pod => {
                "the name of a pod, NAMESPACE/NAME or its uid; * stands for anything, ? for one character"
            }
            Self::Namespace => "a namespace of Kubernetes; * stands for anything, ? for one character",
            Self::Workload => {
                "the name of what keeps pods running, such as a Deployment; * stands for anything, ? for one character"
            }
            Self::Netns => "the inode number of a network namespace",
            Self::OlderThan => "a time in the state such as 30s, 5m, 2h or 1h30m",
            Self::Role => "active (opened here) or passive (accepted here)",
            Self::User => "the name or the number of a user",
            Self::Retransmits
            | Self::Timeouts
            | Self::Backoff
            | Self::Probes
            | Self::BytesAcked
            | Self::BytesReceived
            | Self::SegmentsOut => "a number, several (1,2), a range (1-5), or a comparison such as >3",
            Self::Busy | Self::RwndLimited | Self::SndbufLimited | Self::Rtt | Self::MinRtt => {
                "a comparison with a time, such as >10s or <=20ms"
            }
            Self::SoftError => {
                "the name of an error such as EHOSTUNREACH, none, or * for any; ? stands for one character"
            }
            Self::Kernel => {
                "nothing, it stands alone as in `not kernel`; yes where a parameter needs a value"
            }
        }
    }

    /// The numbers that a value may be; `None` if it is no number.
    pub(super) const fn numbers(self) -> Option<u64> {
        match self {
            Self::Port | Self::LocalPort | Self::RemotePort => Some(u16::MAX as u64),
            Self::Pid => Some(u32::MAX as u64),
            Self::Netns => Some(u64::MAX),
            _ if self.is_figure() => Some(u64::MAX),
            _ => None,
        }
    }

    /// Whether it is a figure of one connection, that any number is compared with.
    pub(super) const fn is_figure(self) -> bool {
        matches!(
            self,
            Self::Retransmits
                | Self::Timeouts
                | Self::Backoff
                | Self::Probes
                | Self::BytesAcked
                | Self::BytesReceived
                | Self::SegmentsOut
        )
    }

    /// Whether it is a time of one connection, that others are compared with.
    pub(super) const fn is_time(self) -> bool {
        matches!(self, Self::Busy | Self::RwndLimited | Self::SndbufLimited | Self::Rtt | Self::MinRtt)
    }

    /// Whether only a walk that reads all of a socket tells it.
    pub const fn needs_detail(self) -> bool {
        let is_detail =
            matches!(self, Self::User | Self::OlderThan | Self::Role | Self::SoftError | Self::Kernel);
        is_detail || self.is_figure() || self.is_time()
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
