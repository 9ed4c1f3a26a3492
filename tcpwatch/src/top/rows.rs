//! The rows of a pane: what its filter leaves, in the order that is asked for.

use std::cmp::Reverse;

use tcpwatch_common::TcpState;

use super::App;
use super::data::{Finding, Listener, Owner, Remote, Snapshot};
use super::pane::Pane;
use super::subject::{Subject, listener_id, owner_id, remote_id};

impl App {
    pub(super) fn findings(&self) -> Vec<&Finding> {
        let all = self.shown().and_then(|snapshot| snapshot.findings.as_deref()).unwrap_or_default();
        let mut rows: Vec<&Finding> =
            all.iter().filter(|one| self.has(Pane::Findings, &text_of_finding(one))).collect();
        match self.view(Pane::Findings).sort {
            // As they come: the worst first, then the oldest.
            0 => {}
            1 => rows.sort_by_key(|one| Reverse(one.since)),
            _ => rows.sort_by(|a, b| a.kind.cmp(&b.kind)),
        }
        rows
    }

    pub(super) fn listeners(&self) -> Vec<&Listener> {
        let all = self.shown().and_then(|snapshot| snapshot.listeners.as_deref()).unwrap_or_default();
        let text = |one: &Listener| format!("{} {} netns {}", one.local, one.owner.long_name(), one.netns);
        let mut rows: Vec<&Listener> =
            all.iter().filter(|one| self.has(Pane::Listeners, &text(one))).collect();
        let recent = |one: &Listener| self.recent.drops(one);
        rows.sort_by(|a, b| (&a.local, a.netns).cmp(&(&b.local, b.netns)));
        match self.view(Pane::Listeners).sort {
            0 => rows.sort_by_key(|one| {
                Reverse((recent(one) > 0, one.accept.fill().max(one.syn.fill()), recent(one), one.drops))
            }),
            1 => rows.sort_by_key(|one| Reverse((recent(one), one.drops))),
            2 => rows.sort_by_key(|one| Reverse((one.accept.fill(), one.accept.length))),
            3 => rows.sort_by_key(|one| Reverse((one.syn.fill(), one.syn.length))),
            _ => {}
        }
        rows
    }

    pub(super) fn owners(&self) -> Vec<&Owner> {
        let all = self.shown().map(|snapshot| snapshot.owners.as_slice()).unwrap_or_default();
        let mut rows: Vec<&Owner> =
            all.iter().filter(|one| self.has(Pane::Owners, &one.process.long_name())).collect();
        match self.view(Pane::Owners).sort {
            // As they come: the worst first.
            0 => {}
            1 => rows.sort_by_key(|one| Reverse(one.sockets)),
            2 => rows.sort_by_key(|one| Reverse(one.close_wait)),
            3 => rows.sort_by_key(|one| Reverse(one.unread_bytes)),
            4 => rows.sort_by_key(|one| Reverse(one.bytes())),
            _ => rows.sort_by_key(|one| one.process.name()),
        }
        rows
    }

    pub(super) fn remotes(&self) -> Vec<&Remote> {
        let all = self.shown().map(|snapshot| snapshot.remotes.as_slice()).unwrap_or_default();
        let text = |one: &Remote| format!("{} {} {}", one.name(), one.owner.long_name(), one.port);
        let mut rows: Vec<&Remote> = all.iter().filter(|one| self.has(Pane::Remotes, &text(one))).collect();
        rows.sort_by(|a, b| (&a.address, a.port).cmp(&(&b.address, b.port)));
        match self.view(Pane::Remotes).sort {
            0 => rows.sort_by_key(|one| Reverse((one.retransmits(), one.resets() + one.connect_failures))),
            1 => rows.sort_by_key(|one| Reverse((one.resets(), one.retransmits()))),
            2 => rows.sort_by_key(|one| Reverse((one.connect_failures, one.retransmits()))),
            _ => {}
        }
        rows
    }

    /// What tells the rows of a pane from each other.
    pub(super) fn ids(&self, pane: Pane) -> Vec<String> {
        match pane {
            Pane::Findings => self.findings().into_iter().map(|one| one.id.clone()).collect(),
            Pane::States => TcpState::RFC.iter().map(|state| state.name().to_owned()).collect(),
            Pane::Listeners => self.listeners().into_iter().map(listener_id).collect(),
            Pane::Owners => self.owners().into_iter().map(owner_id).collect(),
            Pane::Remotes => self.remotes().into_iter().map(remote_id).collect(),
        }
    }

    /// What is in the chosen row of a pane.
    pub(super) fn chosen(&self, pane: Pane) -> Option<Subject> {
        let index = self.view(pane).cursor.index;
        match pane {
            Pane::Findings => self.findings().get(index).map(|one| Subject::Finding((*one).clone())),
            Pane::States => TcpState::RFC.get(index).map(|state| Subject::State(*state)),
            Pane::Listeners => self.listeners().get(index).map(|one| Subject::Listener((*one).clone())),
            Pane::Owners => self.owners().get(index).map(|one| Subject::Owner((*one).clone())),
            Pane::Remotes => self.remotes().get(index).map(|one| Subject::Remote((*one).clone())),
        }
    }

    fn has(&self, pane: Pane, text: &str) -> bool {
        let filter = &self.view(pane).filter;
        filter.is_empty() || text.to_lowercase().contains(&filter.to_lowercase())
    }
}

impl Snapshot {
    pub(super) fn count(&self, state: TcpState) -> Option<u64> {
        self.counts[state.index()]
    }

    /// Transitions per second from one state to another; `None` if that is not known.
    pub(super) fn rate(&self, from: TcpState, to: TcpState) -> Option<f64> {
        let flows = self.flows.as_ref()?;
        match flows.iter().find(|flow| (flow.from, flow.to) == (from, to)) {
            Some(flow) => flow.rate,
            // It never happened.
            None => Some(0.0),
        }
    }
}

fn text_of_finding(one: &Finding) -> String {
    let severity = if one.is_critical { "critical" } else { "warning" };
    let verdict = one.verdict.as_deref().unwrap_or_default();
    format!("{severity} {} {verdict} {} {}", one.kind, one.summary, one.owner.long_name())
}
