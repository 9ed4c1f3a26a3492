//! Listeners: who, how full, what was dropped and why.

use serde::Serialize;
use std::net::SocketAddr;

use super::owner::Owner;
use crate::model::Report;
use crate::model::listeners::{Drops, ListenerReport, NamespaceDrops, Service};

/// `/api/v1/listeners` and `tcpwatch netstat -l --json`.
#[derive(Debug, Serialize)]
pub struct Listeners {
    pub at: String,
    pub listeners: Vec<Listener>,
    /// Drops of each network namespace, held against those of its listeners.
    pub netns: Vec<Namespace>,
}

/// A service: all listeners that share one address by `SO_REUSEPORT`.
#[derive(Debug, Serialize)]
pub struct Listener {
    pub local: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mapped: bool,
    /// An IPv6 address that takes IPv6 only.
    pub v6_only: bool,
    pub netns: u64,
    /// Of all members; `null` if they differ.
    pub owner: Owner,
    /// Sums over the members.
    pub accept_queue: Queue,
    pub syn_queue: SynQueue,
    pub drops: DropCounts,
    pub synack_retransmits: u64,
    pub cookies: Cookies,
    /// The listening sockets, each with its own queues.
    pub members: Vec<Member>,
}

/// One listening socket.
#[derive(Debug, Serialize)]
pub struct Member {
    pub owner: Owner,
    pub accept_queue: Queue,
    pub syn_queue: SynQueue,
    pub drops: DropCounts,
    pub synack_retransmits: u64,
}

/// It is full when longer than its limit.
#[derive(Debug, Serialize)]
pub struct Queue {
    pub length: Option<u64>,
    pub limit: Option<u64>,
}

#[derive(Debug, Serialize)]
pub struct SynQueue {
    #[serde(flatten)]
    pub queue: Queue,
    /// Requests whose SYN-ACK has not been sent again.
    pub young: Option<u64>,
    /// Requests whose last ACK was dropped, as the accept queue was full.
    pub stuck: Option<u64>,
}

/// Since the listener was first seen.
#[derive(Debug, Serialize)]
pub struct DropCounts {
    pub accept_queue_syn: u64,
    pub accept_queue_ack: u64,
    pub syn_queue: u64,
    pub other: u64,
    /// The kernel's counters do not tell which of these.
    pub unknown: u64,
    pub total: u64,
    /// What the kernel counted on the socket (`d` in `ss -m`): the total, the last ACKs of half-open requests once more,
    /// and segments that mean nothing.
    pub sk_drops: u64,
    /// Those that are in `sk_drops` twice.
    pub counted_twice: u64,
}

#[derive(Debug, Serialize)]
pub struct Cookies {
    /// `tcp_syncookies`: 0 never, 1 when the SYN queue is full, 2 always.
    pub mode: Option<u64>,
}

/// Since the namespace was first seen.
#[derive(Debug, Serialize)]
pub struct Namespace {
    pub netns: u64,
    /// The kernel's own counts.
    pub listen_drops: u64,
    pub listen_overflows: u64,
    /// Drops that are no listener's for certain.
    pub unattributed: u64,
    /// Drops while the figures were read, attributed with the next ones.
    pub pending: u64,
    pub cookies: Cookies,
}

/// The listeners of all namespaces, or of one.
pub fn listeners(report: &Report, netns: Option<u64>) -> Listeners {
    let is_chosen = |inode: u64| netns.is_none_or(|netns| netns == inode);
    let all = &report.listeners;
    let mode = |netns: u64| {
        all.namespaces.get(&netns).and_then(|one| one.sysctls.as_ref()).and_then(|one| one.syncookies)
    };
    let services = all.services.iter().filter(|service| is_chosen(service.netns));
    let namespaces = all.namespaces.iter().filter(|(inode, _)| is_chosen(**inode));
    Listeners {
        at: super::timestamp(report.sample.at),
        listeners: services.map(|service| listener(service, mode(service.netns))).collect(),
        netns: namespaces.map(|(inode, drops)| namespace(*inode, drops, mode(*inode))).collect(),
    }
}

/// An address as everything shows it, and whether it was a v4-mapped one.
pub fn address(local: SocketAddr) -> (String, bool) {
    let ip = local.ip().to_canonical();
    (SocketAddr::new(ip, local.port()).to_string(), ip != local.ip())
}

fn listener(service: &Service, mode: Option<u64>) -> Listener {
    let (local, mapped) = address(service.local);
    let members = &service.members;
    let sum = |of: fn(&ListenerReport) -> Option<u64>| members.iter().map(of).sum::<Option<u64>>();
    Listener {
        local,
        mapped,
        v6_only: members.iter().any(|member| member.sample.v6_only),
        netns: service.netns,
        owner: Owner::of(service.owner()),
        accept_queue: Queue {
            length: sum(|member| Some(member.sample.accept_queue)),
            limit: sum(|member| Some(member.sample.accept_limit)),
        },
        syn_queue: SynQueue {
            queue: Queue {
                length: sum(|member| member.sample.syn_queue),
                limit: sum(|member| member.syn_limit),
            },
            young: sum(|member| member.sample.young),
            stuck: sum(|member| member.sample.stuck),
        },
        drops: drops(members),
        synack_retransmits: members.iter().map(|member| member.sample.synack_retransmits).sum(),
        cookies: Cookies { mode },
        members: members.iter().map(member).collect(),
    }
}

fn member(member: &ListenerReport) -> Member {
    let sample = &member.sample;
    Member {
        owner: Owner::of(member.owner.as_ref()),
        accept_queue: Queue { length: Some(sample.accept_queue), limit: Some(sample.accept_limit) },
        syn_queue: SynQueue {
            queue: Queue { length: sample.syn_queue, limit: member.syn_limit },
            young: sample.young,
            stuck: sample.stuck,
        },
        drops: drops(std::slice::from_ref(member)),
        synack_retransmits: sample.synack_retransmits,
    }
}

fn drops(members: &[ListenerReport]) -> DropCounts {
    let mut sum = Drops::default();
    for member in members {
        sum += member.drops;
    }
    DropCounts {
        accept_queue_syn: sum.accept_queue_syn,
        accept_queue_ack: sum.accept_queue_ack,
        syn_queue: sum.syn_queue,
        other: sum.other,
        unknown: sum.unknown,
        total: sum.total(),
        sk_drops: members.iter().map(|member| member.sk_drops).sum(),
        counted_twice: members.iter().map(|member| member.twice).sum(),
    }
}

fn namespace(netns: u64, drops: &NamespaceDrops, mode: Option<u64>) -> Namespace {
    Namespace {
        netns,
        listen_drops: drops.listen_drops,
        listen_overflows: drops.listen_overflows,
        unattributed: drops.unattributed,
        pending: drops.pending,
        cookies: Cookies { mode },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::Model;
    use crate::model::testing::{listener_at, sample_at};
    use crate::process::Process;
    use crate::sample::{ListenerSample, NetCounters, Sample, Sysctls};

    fn sample(seconds: f64, drops: u32) -> Sample {
        let mut sample = sample_at(seconds, 7);
        let mut counters = NetCounters::default();
        counters.ext.listen_drops = Some(u64::from(drops));
        counters.ext.listen_overflows = Some(u64::from(drops));
        sample.namespaces[0].counters = Some(counters);
        let sysctls = Sysctls { syncookies: Some(1), ..Sysctls::default() };
        sample.namespaces[0].sysctls = Some(Arc::new(sysctls));
        let busy = ListenerSample {
            pid: Some(42),
            accept_queue: 9,
            accept_limit: 8,
            drops,
            local: "[::ffff:10.0.0.1]:80".parse().expect("an address"),
            ..listener_at(7, 80)
        };
        let second = ListenerSample { id: 2, drops: 0, accept_queue: 1, ..busy.clone() };
        let unknown = ListenerSample { syn_queue: None, ..listener_at(8, 81) };
        sample.listeners = vec![busy, second, unknown];
        let process = Process {
            pid: 42,
            command: Some("httpd".into()),
            unit: Some("web.service".into()),
            user: Some("www".into()),
            ..Process::default()
        };
        sample.processes.insert(42, Arc::new(process));
        sample
    }

    #[test]
    fn members_of_a_service_and_drops_by_cause_are_shown() {
        let mut model = Model::default();
        model.apply(sample(1.0, 5));
        let report = model.apply(sample(2.0, 12));
        let shown = serde_json::to_value(listeners(&report, None)).expect("JSON");
        let expected = serde_json::json!({
            "local": "10.0.0.1:80", "mapped": true, "v6_only": false, "netns": 7,
            "owner": {"pid": 42, "process": "httpd", "container": null, "unit": "web.service", "user": "www"},
            "accept_queue": {"length": 10, "limit": 16},
            "syn_queue": {"length": 0, "limit": 16, "young": 0, "stuck": 0},
            "drops": {"accept_queue_syn": 7, "accept_queue_ack": 0, "syn_queue": 0, "other": 0, "unknown": 0, "total": 7,
                "sk_drops": 7, "counted_twice": 0},
            "synack_retransmits": 0,
            "cookies": {"mode": 1},
        });
        for (name, value) in expected.as_object().expect("an object") {
            assert_eq!(&shown["listeners"][0][name], value, "{name}");
        }
        let members = shown["listeners"][0]["members"].as_array().expect("members");
        assert_eq!(members.len(), 2);
        assert_eq!(members[0]["accept_queue"], serde_json::json!({"length": 9, "limit": 8}));
        assert_eq!(members[1]["drops"]["total"], 0);
        assert_eq!(
            shown["netns"],
            serde_json::json!([{"netns": 7, "listen_drops": 7, "listen_overflows": 7, "unattributed": 0, "pending": 0,
                "cookies": {"mode": 1}}])
        );
    }

    #[test]
    fn unknown_is_null_and_one_namespace_can_be_chosen() {
        let report = Model::default().apply(sample(1.0, 5));
        let shown = serde_json::to_value(listeners(&report, Some(8))).expect("JSON");
        let found = shown["listeners"].as_array().expect("a list");
        assert_eq!(found.len(), 1);
        assert!(found[0]["syn_queue"]["length"].is_null() && found[0]["syn_queue"]["limit"].is_null());
        assert!(found[0]["cookies"]["mode"].is_null() && found[0]["owner"]["pid"].is_null());
        assert_eq!(shown["netns"], serde_json::json!([]));
    }
}
