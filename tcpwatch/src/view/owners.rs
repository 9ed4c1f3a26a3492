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
use crate::sample::Trouble;

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
}

/// The worst first, then those with the most sockets; of all namespaces, or of one.
pub fn owners(report: &Report, findings: &Findings, netns: Option<u64>) -> Vec<Owned> {
    let is_chosen = |inode: u64| netns.is_none_or(|netns| netns == inode);
    let sample = &report.sample;
    let mut all: BTreeMap<Option<u32>, Owned> = BTreeMap::new();
    for seen in findings.open.iter().map(|finding| &finding.seen) {
        // What concerns no process in particular is nobody's.
        let Some(process) = &seen.subject.owner else { continue };
        if seen.subject.netns.is_none_or(is_chosen) {
            let owned = all.entry(Some(process.pid)).or_default();
            owned.owner = Owner::from(&**process);
            match seen.severity {
                Severity::Critical => owned.critical += 1,
                Severity::Warning => owned.warning += 1,
            }
        }
    }
    for service in report.listeners.services.iter().filter(|service| is_chosen(service.netns)) {
        for member in &service.members {
            all.entry(member.sample.pid).or_default().drops += member.drops.total();
        }
    }
    for top in &report.remotes.top {
        for (remote, count) in top.remotes.iter().filter(|(remote, _)| is_chosen(remote.netns)) {
            let owned = all.entry(remote.pid).or_default();
            *match top.kind {
                Kind::Data | Kind::Syn | Kind::SynAck => &mut owned.retransmits,
                Kind::ResetsSent | Kind::ResetsReceived => &mut owned.resets,
                Kind::ConnectFailures => &mut owned.connect_failures,
            } += count;
        }
    }
    let namespaces = sample.namespaces.iter().filter(|one| one.is_alive && is_chosen(one.inode));
    let groups = namespaces.filter_map(|one| one.survey.as_ref()).flat_map(|survey| &survey.groups);
    // Nobody owns mini-sockets, nor what a process has closed.
    let is_mini = |state| matches!(state, TcpState::TimeWait | TcpState::NewSynRecv | TcpState::FinWait2);
    for group in groups.filter(|group| !group.orphan && (group.pid.is_some() || !is_mini(group.state))) {
        let owned = all.entry(group.pid).or_default();
        owned.sockets += group.count;
        owned.unread_bytes = owned.unread_bytes.saturating_add(group.unread_bytes);
        if group.state == TcpState::CloseWait {
            owned.close_wait += group.count;
        }
        if !matches!(group.trouble, Trouble::None | Trouble::NoKeepalive) {
            owned.stalled += group.count;
        }
    }
    for (pid, owned) in &mut all {
        let process = pid.and_then(|pid| sample.processes.get(&pid));
        if let Some(process) = process {
            owned.owner = Owner::from(&**process);
        }
        owned.owner.pid = pid.filter(|_| !owned.owner.kernel);
    }
    let mut all: Vec<Owned> =
        all.into_values().filter(|owned| owned.sockets > 0 || owned.trouble() > 0).collect();
    all.sort_by_key(|owned| Reverse((owned.critical, owned.warning, owned.trouble(), owned.sockets)));
    all.truncate(MOST);
    all
}

impl Owned {
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
    use crate::process::Process;
    use crate::sample::{Example, Group, ListenerSample, Survey};

    fn group(pid: Option<u32>, state: TcpState, count: u64) -> Group {
        let end: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        Group {
            state,
            pid,
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
}
