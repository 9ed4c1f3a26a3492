//! What is known of this host when a page is filled: plain data, put together by whoever has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tcpwatch_common::TcpState;

use crate::finding::Finding;
use crate::sample::{NamespaceSample, Sample};

/// What a page is filled from. Whatever is `None` or missing is said to be unknown.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub sample: Option<Arc<Sample>>,
    /// The network namespace (by inode number) that all figures are of. `None`: sockets of all namespaces, counters
    /// and settings of tcpwatch's own.
    pub netns: Option<u64>,
    /// Sockets by [`TcpState::index`], as `ss` counts them.
    pub counts: [Option<u64>; TcpState::COUNT],
    pub half_open: Option<u64>,
    pub fin_wait2_minis: Option<u64>,
    /// What happened since tcpwatch runs; `None` from a source that sees no transitions.
    pub transitions: Option<Vec<Moved>>,
    /// Open findings; `None` where nothing looks for any.
    pub findings: Option<Vec<Finding>>,
    /// Sysctls of tcpwatch's own network namespace, by full name.
    pub settings: Settings,
}

/// How often sockets went from one state to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moved {
    pub from: TcpState,
    pub to: TcpState,
    pub count: u64,
    /// Per second.
    pub rate: Option<f64>,
}

/// Sysctls by full name.
pub type Settings = BTreeMap<String, Setting>;

/// A sysctl that somebody has tried to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    Value(String),
    /// This kernel does not have it.
    Absent,
    /// Why it could not be read.
    Unreadable(String),
}

impl Facts {
    /// The namespace that counters and settings are of.
    pub fn namespace(&self) -> Option<&NamespaceSample> {
        let is_it = |namespace: &&NamespaceSample| {
            namespace.is_alive && self.netns.map_or(namespace.is_own, |netns| netns == namespace.inode)
        };
        self.sample.as_ref()?.namespaces.iter().find(is_it)
    }

    /// The namespaces that lists of sockets are of.
    pub fn chosen(&self) -> impl Iterator<Item = &NamespaceSample> {
        let all = self.sample.iter().flat_map(|sample| &sample.namespaces);
        all.filter(|one| one.is_alive && self.netns.is_none_or(|netns| netns == one.inode))
    }

    /// Whether counters and settings are those of the namespace that tcpwatch runs in.
    pub fn is_own(&self) -> bool {
        self.netns.is_none() || self.namespace().is_some_and(|namespace| namespace.is_own)
    }
}
