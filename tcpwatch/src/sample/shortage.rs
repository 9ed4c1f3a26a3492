//! What there is no room for.

use std::time::SystemTime;

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Open sockets that the table has no place for: they are counted, but their ages and owners are not known.
    Sockets,
    /// Listeners that are looked at in turns only, for now.
    ListenersInTurns,
    /// Listeners that are not watched at all, unless they get into trouble.
    Listeners,
    /// Remotes that something went wrong with, and that are not told apart.
    Remotes,
    /// Clients that left SYN-ACKs unanswered.
    Clients,
    /// Sockets that the last walk had no group for.
    Groups,
    /// Connections that ended and are of no service that is told apart.
    Services,
    /// Events of namespaces that are counted together.
    Namespaces,
}

impl What {
    pub const ALL: [Self; 8] = [
        Self::Sockets,
        Self::ListenersInTurns,
        Self::Listeners,
        Self::Remotes,
        Self::Clients,
        Self::Groups,
        Self::Services,
        Self::Namespaces,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Sockets => "sockets",
            Self::ListenersInTurns => "listeners_in_turns",
            Self::Listeners => "listeners",
            Self::Remotes => "remotes",
            Self::Clients => "clients",
            Self::Groups => "groups",
            Self::Services => "services",
            Self::Namespaces => "namespaces",
        }
    }
}

/// One that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    pub what: What,
    /// How many did not fit: now, or since the beginning.
    pub count: u64,
    /// When it was first noticed.
    pub since: SystemTime,
    /// The namespace that has the most part in it, and the process there.
    pub netns: Option<u64>,
    pub pid: Option<u32>,
}
