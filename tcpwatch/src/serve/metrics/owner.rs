//! The labels that say whose something is, the same for listeners, findings and sockets.
//!
//! A label without a value is there and empty. Prometheus takes that for absent, and with `honor_labels` it keeps the
//! pod in which tcpwatch runs from being put in its place.

use super::family::Label;
use crate::process::{Container, Process};

/// What is added up.
pub(super) const OTHER: &str = "other";
/// A process that is not known.
pub(super) const UNKNOWN: &str = "unknown";

/// Values of the labels; empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) process: String,
    namespace: String,
    pod: String,
    container: String,
    workload: String,
}

impl Owner {
    /// What is known of a process.
    pub(super) fn of(process: &Process) -> Self {
        let pod = process.pod();
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Self {
            process: text(process.command.as_deref()),
            namespace: text(pod.and_then(|pod| pod.namespace.as_deref())),
            pod: text(pod.and_then(|pod| pod.name.as_deref())),
            container: text(process.container.as_ref().map(Container::label)),
            workload: text(pod.and_then(|pod| pod.workload.as_ref()).map(|workload| &*workload.name)),
        }
    }

    /// Only a word for a process.
    pub(super) fn only(process: &str) -> Self {
        Self { process: process.to_owned(), ..Self::default() }
    }

    /// What several owners have in common.
    pub(super) fn shared(all: impl IntoIterator<Item = Self>) -> Self {
        let keep = |mut kept: String, other: &str| {
            if kept != other {
                kept.clear();
            }
            kept
        };
        let both = |kept: Self, other: Self| Self {
            process: keep(kept.process, &other.process),
            namespace: keep(kept.namespace, &other.namespace),
            pod: keep(kept.pod, &other.pod),
            container: keep(kept.container, &other.container),
            workload: keep(kept.workload, &other.workload),
        };
        all.into_iter().reduce(both).unwrap_or_default()
    }

    /// Where the process must have a name.
    pub(super) fn or_unknown(mut self) -> Self {
        if self.process.is_empty() {
            UNKNOWN.clone_into(&mut self.process);
        }
        self
    }

    /// `before`, these labels, `after`.
    pub(super) fn labels<'a>(&'a self, before: &[Label<'a>], after: &[Label<'a>]) -> Vec<Label<'a>> {
        let own = [
            ("process", &*self.process),
            ("namespace", &*self.namespace),
            ("pod", &*self.pod),
            ("container", &*self.container),
            ("workload", &*self.workload),
        ];
        before.iter().copied().chain(own).chain(after.iter().copied()).collect()
    }
}
