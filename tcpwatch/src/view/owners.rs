//! Processes by the trouble they have: findings, drops of their listeners, segments sent again, sockets left open.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;
use tcpwatch_common::TcpState;

use super::owner::Owner;
use crate::detect::Findings;
use crate::finding::Severity;
use crate::model::Report;
use crate::model::remotes::Kind;
use crate::sample::{Group, Trouble};

/// Of them so many are told.
const MOST: usize = 100;

/// A process, and what is wrong with its sockets.
#[derive(Debug, Default, Serialize)]
pub struct Owned {
    /// `pid` is `null` for all of unknown owners together.
    pub owner: Owner,
    /// Open findings.
    pub critical: u64,
    pub warning: u64,
    /// Connections that its listeners dropped since they were first seen.
    pub drops: u64,
    /// With the worst remote ends, within the seconds that `remotes` tells: segments sent again of any kind,
    pub retransmits: u64,
    /// resets sent or received,
    pub resets: u64,
    /// connections that could not be made.
    pub connect_failures: u64,
    /// As the last walks found them, listeners not included.
    pub sockets: u64,
    pub close_wait: u64,
    /// Nothing moves: the peer does not answer, or one side does not read.
    pub stalled: u64,
    /// Bytes that it has not read.
    pub unread_bytes: u64,
    /// Sockets that it has closed, and that the kernel has still to finish; not among `sockets`.
    pub orphans: u64,
    /// What all of these take; `null` where that is not known.
    pub memory: Option<Memory>,
}

/// The kernel's memory in sockets of an owner, its orphans included, as `ss -m` shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// What waits to be sent or acknowledged.
    pub send_bytes: u64,
    /// What has been received and not read.
    pub receive_bytes: u64,
    /// What is set aside for more.
    pub reserved_bytes: u64,
    /// As much of these three as connections have that it has not accepted yet: until then no cgroup's memory has it.
    pub unaccepted_bytes: u64,
}

impl Memory {
    /// All of it.
    pub const fn total(self) -> u64 {
        self.send_bytes.saturating_add(self.receive_bytes).saturating_add(self.reserved_bytes)
    }

    fn add(&mut self, group: &Group) {
        let Some(memory) = group.memory else { return };
        self.send_bytes = self.send_bytes.saturating_add(memory.send);
        self.receive_bytes = self.receive_bytes.saturating_add(memory.receive);
        self.reserved_bytes = self.reserved_bytes.saturating_add(memory.reserved);
        if group.never_accepted {
            self.unaccepted_bytes = self.unaccepted_bytes.saturating_add(memory.total());
        }
    }
}

/// A process, or a cgroup where no process is known; neither for all that is not known.
type Key = (Option<u32>, Option<u32>);

/// The worst first, then those with the most sockets; of all namespaces, or of one.
pub fn owners(report: &Report, findings: &Findings, netns: Option<u64>) -> Vec<Owned> {
    let is_chosen = |inode: u64| netns.is_none_or(|netns| netns == inode);
    let sample = &report.sample;
    let mut all: BTreeMap<Key, Owned> = BTreeMap::new();
    for seen in findings.open.iter().map(|finding| &finding.seen) {
        // What concerns no process in particular is nobody's.
        let Some(process) = &seen.subject.owner else { continue };
        if seen.subject.netns.is_none_or(is_chosen) {
            let owned = all.entry((Some(process.pid), None)).or_default();
            owned.owner = Owner::from(&**process);
            match seen.severity {
                Severity::Critical => owned.critical += 1,
                Severity::Warning => owned.warning += 1,
            }
        }
    }
    for service in report.listeners.services.iter().filter(|service| is_chosen(service.netns)) {
        for member in &service.members {
            all.entry((member.sample.pid, None)).or_default().drops += member.drops.total();
        }
    }
    for top in &report.remotes.top {
        for (remote, count) in top.remotes.iter().filter(|(remote, _)| is_chosen(remote.netns)) {
            let owned = all.entry((remote.pid, None)).or_default();
            *match top.kind {
                Kind::Data | Kind::Syn | Kind::SynAck => &mut owned.retransmits,
                Kind::ResetsSent | Kind::ResetsReceived => &mut owned.resets,
                Kind::ConnectFailures => &mut owned.connect_failures,
            } += count;
        }
    }
    let namespaces = sample.namespaces.iter().filter(|one| one.is_alive && is_chosen(one.inode));
    let groups = namespaces.filter_map(|one| one.survey.as_ref()).flat_map(|survey| &survey.groups);
    // Nobody owns mini-sockets.
    let is_mini = |state| matches!(state, TcpState::TimeWait | TcpState::NewSynRecv | TcpState::FinWait2);
    for group in groups {
        let cgroup = group.cgroup.filter(|id| group.pid.is_none() && sample.cgroups.contains_key(id));
        let key = (group.pid, cgroup);
        if key == (None, None) && is_mini(group.state) && group.memory.is_none() {
            continue;
        }
        let owned = all.entry(key).or_default();
        if group.memory.is_some() {
            owned.memory.get_or_insert_default().add(group);
        }
        if group.orphan {
            owned.orphans += group.count;
            continue;
        }
        owned.sockets += group.count;
        owned.unread_bytes = owned.unread_bytes.saturating_add(group.unread_bytes);
        if group.state == TcpState::CloseWait {
            owned.close_wait += group.count;
        }
        if !matches!(group.trouble, Trouble::None | Trouble::NoKeepalive) {
            owned.stalled += group.count;
        }
    }
    for ((pid, cgroup), owned) in &mut all {
        let process = match pid {
            Some(pid) => sample.processes.get(pid),
            None => cgroup.and_then(|id| sample.cgroups.get(&id)),
        };
        if let Some(process) = process {
            owned.owner = Owner::from(&**process);
        }
        owned.owner.pid = pid.filter(|_| !owned.owner.kernel);
    }
    let mut all: Vec<Owned> = all.into_values().filter(Owned::is_worth_a_row).collect();
    all.sort_by_key(|owned| Reverse((owned.critical, owned.warning, owned.trouble(), owned.sockets)));
    all.truncate(MOST);
    all
}

impl Owned {
    fn is_worth_a_row(&self) -> bool {
        self.sockets > 0 || self.orphans > 0 || self.trouble() > 0
    }

    /// How much is wrong.
    fn trouble(&self) -> u64 {
        let findings = self.critical + self.warning;
        let ends = self.retransmits + self.resets + self.connect_failures;
        findings + self.drops + ends + self.close_wait + self.stalled
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::model::Model;
    use crate::model::testing::{listener_at, sample_at};
    use crate::process::{Container, Process};
    use crate::sample::{Example, ListenerSample, Memory as Measured, Survey};

    fn group(pid: Option<u32>, state: TcpState, count: u64) -> Group {
        let end: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        Group {
            state,
            pid,
            cgroup: None,
            role: None,
            port: 80,
            never_accepted: false,
            orphan: false,
            trouble: Trouble::None,
            count,
            aged: 0,
            unknown_age: 0,
            oldest: Duration::ZERO,
            unread_bytes: 7,
            unread: 1,
            unsent_bytes: 0,
            memory: None,
            example: Example { local: end, remote: end },
        }
    }

    #[test]
    fn the_worst_come_first_and_nobody_owns_mini_sockets() {
        let mut sample = sample_at(1.0, 7);
        let stalled = Group { trouble: Trouble::PeerWindowZero, ..group(Some(3), TcpState::Established, 2) };
        let orphan = Group { orphan: true, ..group(Some(3), TcpState::FinWait1, 9) };
        sample.namespaces[0].survey = Some(Arc::new(Survey {
            groups: vec![
                group(Some(1), TcpState::Established, 100),
                group(Some(2), TcpState::CloseWait, 5),
                group(None, TcpState::TimeWait, 1000),
                group(None, TcpState::Established, 1),
                stalled,
                orphan,
            ],
            ..Survey::default()
        }));
        let web = Process { pid: 2, command: Some("web".into()), ..Process::default() };
        sample.processes.insert(2, Arc::new(web));
        sample.listeners = vec![ListenerSample { pid: Some(3), drops: 3, ..listener_at(7, 80) }];
        let report = Model::default().apply(sample);
        let found = owners(&report, &Findings::default(), None);
        let shown: Vec<_> = found.iter().map(|one| (one.owner.pid, one.sockets, one.trouble())).collect();
        assert_eq!(shown, [(Some(2), 5, 5), (Some(3), 2, 2), (Some(1), 100, 0), (None, 1, 0)]);
        assert_eq!((found[0].owner.process.as_deref(), found[0].close_wait), (Some("web"), 5));
        assert_eq!((found[1].stalled, found[1].unread_bytes), (2, 7));
        assert!(owners(&report, &Findings::default(), Some(8)).is_empty());
    }

    #[test]
    fn memory_is_added_up_and_goes_to_a_container_where_no_process_is_known() {
        let measured = |send, receive| Some(Measured { send, receive, reserved: 1 });
        let waiting = Group {
            cgroup: Some(70),
            never_accepted: true,
            memory: measured(0, 500),
            ..group(None, TcpState::Established, 2)
        };
        let left = Group {
            cgroup: Some(70),
            orphan: true,
            memory: measured(900, 0),
            ..group(None, TcpState::FinWait1, 3)
        };
        // A cgroup of which nothing is known is as good as none.
        let lost = Group { cgroup: Some(71), memory: measured(5, 5), ..waiting.clone() };
        let own = Group { memory: measured(20, 10), ..group(Some(1), TcpState::Established, 1) };
        let mut sample = sample_at(1.0, 7);
        sample.namespaces[0].survey =
            Some(Arc::new(Survey { groups: vec![waiting, left, lost, own], ..Survey::default() }));
        let container = Container { id: "ab12".into(), ..Container::default() };
        let inside = Process { container: Some(container), ..Process::default() };
        sample.cgroups.insert(70, Arc::new(inside));
        let report = Model::default().apply(sample);
        let found = owners(&report, &Findings::default(), None);
        let shown: Vec<_> = found
            .iter()
            .map(|one| (one.owner.pid, one.owner.container.as_deref(), one.sockets, one.orphans))
            .collect();
        assert_eq!(shown, [(None, None, 2, 0), (None, Some("ab12"), 2, 3), (Some(1), None, 1, 0)]);
        let memory = found[1].memory.expect("known");
        assert_eq!((memory.send_bytes, memory.receive_bytes, memory.reserved_bytes), (900, 500, 2));
        assert_eq!((memory.unaccepted_bytes, memory.total()), (501, 1402));
    }
}
