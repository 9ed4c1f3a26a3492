//! The page as Prometheus sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus::proto::MetricType;
use tcpwatch_common::histogram::{self, Histogram};
use tcpwatch_common::host::HostCounters;
use tcpwatch_common::{Cause, TcpState, cell, judge};

use super::*;
use crate::finding::{Candidate, Finding, Kind, Severity, Subject};
use crate::model::Model;
use crate::model::testing::{listener_at, sample_at};
use crate::process::Process;
use crate::sample::{
    Census, Example, Group, KernelCounters, ListenerSample, NetCounters, ProgramSample, RingSample, Sample,
    SourceKind, Survey, Sysctls, Trouble,
};
use crate::serve::ConfigRead;

mod budget;
mod histograms;
mod ledger;
mod listeners;
mod owners;

const DOCS: &str = include_str!("../../../../docs/metrics.md");
const USAGE: SelfUsage = SelfUsage {
    resident_bytes: Some(12_345_678),
    cpu_seconds: Some(1.25),
    tick_seconds: Some(0.003),
    config: Some(ConfigRead { at: SystemTime::UNIX_EPOCH, is_current: true }),
    pods: Some(PodsKnown { up: true, running: Some(31) }),
};

fn program(name: &str, error: Option<&str>, runs: u64) -> ProgramSample {
    ProgramSample {
        name: name.into(),
        id: None,
        hook: "tracepoint".into(),
        lost: None,
        error: error.map(str::to_owned),
        runs,
        nanoseconds: runs * 100,
        missed: 0,
    }
}

fn listener(port: u16, synack_retransmits: u64) -> ListenerSample {
    ListenerSample { synack_retransmits, pid: Some(42), ..listener_at(7, port) }
}

fn survey() -> Survey {
    let loopback = (Ipv4Addr::LOCALHOST, 80).into();
    let group = |pid, state, count| Group {
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
        unread_bytes: 0,
        unread: 0,
        unsent_bytes: 0,
        memory: None,
        example: Example { local: loopback, remote: loopback },
    };
    Survey {
        groups: vec![
            group(Some(7), TcpState::CloseWait, 30),
            group(Some(8), TcpState::Established, 2),
            group(None, TcpState::TimeWait, 5),
            group(None, TcpState::NewSynRecv, 6),
        ],
        folded: 9,
        ..Survey::default()
    }
}

fn observe(histogram: &mut Histogram, nanoseconds: u64, times: u64) {
    histogram.buckets[histogram::bucket(nanoseconds)] += times;
    histogram.sum_ns += nanoseconds * times;
}

fn listen_drops(count: u64) -> NetCounters {
    let mut counters = NetCounters::default();
    counters.ext.listen_drops = Some(count);
    counters.ext.listen_overflows = Some(count);
    counters
}

/// A sample in which something is known of everything.
fn full() -> Sample {
    let mut host = HostCounters::from_words(&[]);
    observe(&mut host.time_in_state[TcpState::Established.index()], 3_000, 2);
    observe(&mut host.time_in_state[TcpState::Established.index()], 1_500_000_000, 4);
    observe(&mut host.time_in_state[TcpState::Established.index()], u64::MAX / 8, 1);
    host.endings[TcpState::Established.index()][Cause::ResetReceived as usize] = 5;
    host.endings[TcpState::TimeWait.index()][Cause::Closed as usize] = 1;
    host.endings[TcpState::SynSent.index()][Cause::Refused as usize] = 6;
    host.retransmits = [9, 2, 7, 0];
    host.resets_received = 3;
    host.resets_sent = 10;
    host.nested = 1;
    host.folded = 6;
    host.illegal = 2;
    let mut sample = sample_at(10.0, 7);
    let namespace = &mut sample.namespaces[0];
    let cells = namespace.cells.as_mut().expect("cells");
    cells[judge(TcpState::Listen, TcpState::SynRecv).cell.expect("legal")] = 41;
    cells[cell::TIME_WAIT_ENTERED] = 12;
    namespace.adopted[TcpState::Listen.index()] = 4;
    namespace.illegal.push((TcpState::Listen, TcpState::Established, 2));
    namespace.census = Some(Census {
        elapsed: sample.elapsed,
        counts: [0; TcpState::COUNT],
        minis: Some(crate::sample::Minis::default()),
    });
    namespace.kernel = Some((KernelCounters::default(), KernelCounters::default()));
    namespace.counters = Some(listen_drops(0));
    let sysctls = Sysctls { syncookies: Some(1), ..Sysctls::default() };
    namespace.sysctls = Some(Arc::new(sysctls));
    namespace.survey = Some(Arc::new(survey()));
    let process = Process { pid: 7, command: Some("nginx".into()), ..Process::default() };
    sample.processes.insert(7, Arc::new(process));
    sample.host = Some(Box::new(host));
    sample.reset_reasons =
        vec![("no_socket".into(), 6), ("not_specified".into(), 0), ("tcp_state".into(), 1)];
    sample.listeners = vec![listener(443, 7)];
    sample.programs = vec![program("transition", None, 20), program("reset_sent", None, 0)];
    let process = Process { pid: 42, command: Some("httpd".into()), ..Process::default() };
    sample.processes.insert(42, Arc::new(process));
    sample.ring = RingSample { seen: 8, filtered: 5, lost: 1, delivered: 2 };
    sample.kernel_memory = Some(4_096);
    sample
}

fn shown(sample: Sample, usage: SelfUsage) -> String {
    page(&Model::default().apply(sample), &Findings::default(), usage).expect("encodes")
}

fn first_page(sample: Sample) -> Vec<MetricFamily> {
    let (budget, ledger) = (Budget::default(), &mut Ledger::default());
    families(&Model::default().apply(sample), &Findings::default(), USAGE, budget, ledger)
}

/// The page's lines of one metric, comments aside.
fn lines<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    page.lines().filter(|line| line.split(['{', ' ']).next() == Some(name)).collect()
}

#[test]
fn the_text_is_exact() {
    let page = shown(full(), USAGE);
    let retransmits = page.split("# HELP ").find(|part| part.starts_with("tcpwatch_retransmits_total "));
    assert_eq!(
        retransmits.expect("there"),
        "tcpwatch_retransmits_total Segments sent again. Kind: data (FIN and probes among them), syn, synack, or \
         failed (it could not be sent; newer kernels only)\n\
         # TYPE tcpwatch_retransmits_total counter\n\
         tcpwatch_retransmits_total{kind=\"data\"} 9\n\
         tcpwatch_retransmits_total{kind=\"syn\"} 2\n\
         tcpwatch_retransmits_total{kind=\"synack\"} 7\n\
         tcpwatch_retransmits_total{kind=\"failed\"} 0\n"
    );
    for line in [
        "tcpwatch_sockets{state=\"listen\"} 2",
        "tcpwatch_sockets{state=\"time_wait\"} 0",
        "tcpwatch_transitions_total{from=\"listen\",to=\"syn_recv\",verdict=\"linux\"} 41",
        "tcpwatch_transitions_total{from=\"listen\",to=\"established\",verdict=\"illegal\"} 2",
        "tcpwatch_illegal_transitions_total 2",
        "tcpwatch_time_in_state_unknown_total{state=\"closing\"} 0",
        "tcpwatch_time_in_state_seconds_bucket{state=\"established\",le=\"0.000008192\"} 2",
        "tcpwatch_time_in_state_seconds_bucket{state=\"established\",le=\"2.147483648\"} 6",
        "tcpwatch_connection_ends_total{state=\"established\",cause=\"reset_received\"} 5",
        "tcpwatch_connection_ends_total{state=\"time_wait\",cause=\"closed\"} 1",
        "tcpwatch_time_wait_entered_total 12",
        "tcpwatch_connect_failures_total{reason=\"refused\"} 6",
        "tcpwatch_connect_failures_total{reason=\"timeout\"} 0",
        "tcpwatch_listener_accept_queue_length{listen_addr=\"0.0.0.0:443\",process=\"httpd\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",netns=\"7\"} 0",
        "tcpwatch_listener_accept_queue_limit{listen_addr=\"0.0.0.0:443\",process=\"httpd\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",netns=\"7\"} 4096",
        "tcpwatch_listener_syn_queue_limit{listen_addr=\"0.0.0.0:443\",process=\"httpd\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",netns=\"7\"} 4096",
        "tcpwatch_listener_drops_unattributed_total 0",
        "tcpwatch_subjects_folded{subject=\"listener\"} 0",
        "tcpwatch_series_limit 5000",
        "tcpwatch_listener_synack_retransmits_total{listen_addr=\"0.0.0.0:443\",process=\"httpd\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",netns=\"7\"} 7",
        "tcpwatch_listener_synack_retransmits_total{listen_addr=\"other\",process=\"other\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",netns=\"other\"} 0",
        "tcpwatch_workload_sockets{process=\"nginx\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",state=\"close_wait\"} 30",
        "tcpwatch_workload_sockets{process=\"nginx\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",state=\"established\"} 0",
        "tcpwatch_workload_sockets{process=\"unknown\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",state=\"established\"} 2",
        "tcpwatch_workload_sockets{process=\"kernel\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",state=\"time_wait\"} 5",
        "tcpwatch_workload_sockets{process=\"kernel\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",state=\"syn_recv\"} 6",
        "tcpwatch_data_retransmits_total{cause=\"probe\"} 0",
        "tcpwatch_mptcp_transitions_total{to=\"fin_wait2\"} 0",
        "tcpwatch_events_lost_total{reason=\"folded\"} 6",
        "tcpwatch_transitions_recovered_total 1",
        "tcpwatch_ring_events_total{fate=\"filtered\"} 5",
        "tcpwatch_program_loaded{program=\"transition\"} 1",
        "tcpwatch_program_seconds_total{program=\"transition\"} 0.000002",
        "tcpwatch_reconciliation_drift{counter=\"PassiveOpens\"} 0",
        "tcpwatch_namespaces 1",
        "tcpwatch_namespaces_incomplete 0",
        "tcpwatch_sockets_ungrouped 9",
        concat!("tcpwatch_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        "tcpwatch_source_info{source=\"ebpf\"} 1",
        "tcpwatch_self_kernel_memory_bytes 4096",
        "tcpwatch_self_resident_memory_bytes 12345678",
        "tcpwatch_self_cpu_seconds_total 1.25",
        "tcpwatch_self_tick_seconds 0.003",
        "tcpwatch_config_last_reload_successful 1",
        "tcpwatch_config_last_reload_success_timestamp_seconds 0",
        "tcpwatch_kubernetes_up 1",
        "tcpwatch_kubernetes_pods 31",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
    assert_eq!(lines(&page, "tcpwatch_program_runs_total").len(), 1, "no statistics, no series");
}

#[test]
fn what_did_not_happen_is_zero() {
    let mut sample = full();
    sample.namespaces[0].illegal.clear();
    sample.host = Some(Box::new(HostCounters::from_words(&[])));
    let page = shown(sample, USAGE);
    assert_eq!(lines(&page, "tcpwatch_sockets").len(), 11);
    assert_eq!(lines(&page, "tcpwatch_transitions_total").len(), 27);
    assert_eq!(lines(&page, "tcpwatch_time_in_state_seconds_count").len(), 11);
    assert_eq!(lines(&page, "tcpwatch_connection_ends_total").len(), 9 * Cause::COUNT);
    assert_eq!(lines(&page, "tcpwatch_handshake_seconds_sum").len(), 2);
}

#[test]
fn resets_sent_add_up_whatever_the_kernel_tells() {
    let sent = |reasons: &[(&str, u64)]| {
        let mut sample = full();
        sample.reset_reasons = reasons.iter().map(|(name, count)| ((*name).into(), *count)).collect();
        let page = shown(sample, USAGE);
        let prefix = "tcpwatch_resets_total{direction=\"sent\",";
        page.lines().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(sent(&[]), ["reason=\"unknown\"} 10"]);
    assert_eq!(sent(&[("b", 4), ("a", 6)]), ["reason=\"a\"} 6", "reason=\"b\"} 4", "reason=\"unknown\"} 0"]);
    assert_eq!(sent(&[("a", 0), ("b", 3)]), ["reason=\"b\"} 3", "reason=\"unknown\"} 7"]);
    // Sent while the figures were read.
    assert_eq!(sent(&[("a", 11)]), ["reason=\"a\"} 11", "reason=\"unknown\"} 0"]);
}

#[test]
fn what_cannot_be_known_is_absent() {
    let mut sample = full();
    sample.programs = ["retransmit", "retransmit_synack", "reset_sent", "reset_received"]
        .map(|name| program(name, Some("no such tracepoint"), 0))
        .into();
    sample.namespaces[0].census = None;
    let page = shown(sample, SelfUsage::default());
    for name in
        ["retransmits_total", "resets_total", "listener_synack_retransmits_total", "program_runs_total"]
    {
        assert!(!page.contains(&format!("tcpwatch_{name}")), "{name}");
    }
    assert!(page.contains("tcpwatch_program_loaded{program=\"reset_sent\"} 0\n"));
    assert!(!page.contains("tcpwatch_sockets{state=\"time_wait\"}"), "no census");
    assert!(page.contains("tcpwatch_sockets{state=\"established\"}"));
}

#[test]
fn without_ebpf_only_the_states_are_known() {
    let mut sample = sample_at(10.0, 7);
    sample.source = SourceKind::Netlink;
    sample.namespaces[0].cells = None;
    sample.namespaces[0].census =
        Some(Census { elapsed: sample.elapsed, counts: [3; TcpState::COUNT], minis: None });
    let page = shown(sample, SelfUsage::default());
    let names: BTreeSet<_> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next()?.strip_prefix("tcpwatch_"))
        .collect();
    let known = [
        "build_info",
        "namespaces",
        "namespaces_incomplete",
        "series",
        "series_limit",
        "sockets",
        "source_info",
        "subjects_folded",
    ];
    assert_eq!(names, BTreeSet::from(known), "{page}");
    assert!(page.contains("tcpwatch_sockets{state=\"established\"} 3\n"));
}

#[test]
fn the_series_are_counted_and_none_is_there_twice() {
    let page = shown(full(), USAGE);
    let series: Vec<_> = page.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(page.lines().last(), Some(format!("tcpwatch_series {}", series.len()).as_str()));
    let names: BTreeSet<_> =
        series.iter().filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name).collect();
    assert_eq!(names.len(), series.len());
    assert!(series.len() < 700, "{}", series.len());
}

/// Name, type and labels of each metric, as the table in the docs has them.
#[test]
fn the_docs_list_every_metric() {
    let families = first_page(full());
    let emitted: BTreeMap<_, _> = families
        .iter()
        .map(|family| {
            let kind = format!("{:?}", family.get_field_type()).to_lowercase();
            let labels = family.get_metric()[0].get_label().iter().map(|label| format!("`{}`", label.name()));
            (format!("`{}`", family.name()), (kind, labels.collect::<Vec<_>>().join(", ")))
        })
        .collect();
    let documented: BTreeMap<_, _> = DOCS
        .lines()
        .filter(|line| line.starts_with("| `tcpwatch_"))
        .map(|line| {
            let cells: Vec<_> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
            (cells[1].clone(), (cells[2].clone(), cells[3].clone()))
        })
        .collect();
    assert_eq!(documented, emitted);
}

/// A finding of a process named `process` at a listener's port.
fn finding(kind: Kind, severity: Severity, process: Option<&str>, port: Option<u16>) -> Finding {
    let owner = |name: &str| Arc::new(Process { command: Some(name.into()), ..Process::default() });
    let seen = Candidate {
        kind,
        key: String::new(),
        earlier: Vec::new(),
        severity,
        verdict: None,
        subject: Subject {
            owner: process.map(owner),
            listener: port.map(|port| ([0, 0, 0, 0], port).into()),
            ..Subject::default()
        },
        confidence: 1.0,
        evidence: Vec::new(),
        summary: String::new(),
        meaning: String::new(),
        advice: Vec::new(),
        verify: Vec::new(),
    };
    Finding { id: String::new(), since: SystemTime::UNIX_EPOCH, closed: None, seen }
}

fn with(findings: &Findings) -> String {
    page(&Model::default().apply(full()), findings, USAGE).expect("encodes")
}

#[test]
fn findings_are_counted_by_subject_and_zero_where_there_are_none() {
    let none = with(&Findings::default());
    assert_eq!(lines(&none, "tcpwatch_finding_active").len(), Kind::ALL.len() * 2);
    assert_eq!(lines(&none, "tcpwatch_findings_total").len(), Kind::ALL.len());
    assert!(none.contains(
        "tcpwatch_finding_active{kind=\"syn_flood\",severity=\"critical\",process=\"\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",listen_addr=\"\"} 0\n"
    ));
    let flood = || finding(Kind::SynFlood, Severity::Critical, Some("web"), Some(80));
    let some = with(&Findings {
        open: vec![flood(), flood(), finding(Kind::MemoryPressure, Severity::Warning, None, None)],
        totals: BTreeMap::from([(Kind::SynFlood, 5)]),
        ..Findings::default()
    });
    for line in [
        "tcpwatch_finding_active{kind=\"syn_flood\",severity=\"critical\",process=\"web\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",listen_addr=\"0.0.0.0:80\"} 2",
        "tcpwatch_finding_active{kind=\"memory_pressure\",severity=\"warning\",process=\"\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",listen_addr=\"\"} 1",
        "tcpwatch_finding_active{kind=\"memory_pressure\",severity=\"critical\",process=\"\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",listen_addr=\"\"} 0",
        "tcpwatch_findings_total{kind=\"syn_flood\"} 5",
        "tcpwatch_findings_total{kind=\"reset_storm\"} 0",
    ] {
        assert!(some.lines().any(|found| found == line), "{line} is not in\n{some}");
    }
}

#[test]
fn findings_are_bounded_and_the_rest_is_not_lost() {
    let mut open: Vec<_> =
        (1..=130).map(|port| finding(Kind::SynFlood, Severity::Warning, Some("web"), Some(port))).collect();
    open.push(finding(Kind::SynFlood, Severity::Critical, Some("web"), Some(200)));
    let page = with(&Findings { open, ..Findings::default() });
    let found = lines(&page, "tcpwatch_finding_active");
    assert_eq!(found.len(), Kind::ALL.len() * 2 + 100 + 1);
    assert!(page.contains("severity=\"warning\",process=\"other\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",listen_addr=\"other\"} 31\n"), "{page}");
    assert!(page.contains("severity=\"critical\",process=\"web\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",listen_addr=\"0.0.0.0:200\"} 1\n"));
}
