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
}

impl Word {
    pub const ALL: [Self; 16] = [
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
        }
    }

    /// The numbers that a value may be; `None` if it is no number.
    pub(super) const fn numbers(self) -> Option<u64> {
        match self {
            Self::Port | Self::LocalPort | Self::RemotePort => Some(u16::MAX as u64),
            Self::Pid => Some(u32::MAX as u64),
            Self::Netns => Some(u64::MAX),
            _ => None,
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
