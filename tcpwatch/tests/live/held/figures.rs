//! Holds what tcpwatch says of a namespace against what the kernel says of it.
//!
//! Nothing here waits for a time: a figure that is not right yet is looked at again until [`PATIENCE`] is over. A
//! count that was lost does not come back by looking, so patience hides nothing.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tcpwatch::kernel::Options;
use tcpwatch::model::{Counter, Model, NamespaceStates, Report};
use tcpwatch::sample::NamespaceSample;
use tcpwatch::source::{Live, Source};
use tcpwatch_common::event::Event;
use tcpwatch_common::machine::{self, EDGES};
use tcpwatch_common::{TcpState, cell, judge};

use crate::support::netns::Netns;
use crate::support::states::proc_states;

/// How long the kernel may take to come to rest: softirqs of a slow machine, and timers of a second.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const PAUSE: Duration = Duration::from_millis(20);

/// Small maps, which are enough for every test and quick to make.
pub fn small() -> Options {
    Options { sockets: 1 << 14, namespaces: 128, ring_bytes: 1 << 14, ..Options::default() }
}

/// A source and the model behind it.
pub struct Watcher<S> {
    pub source: S,
    model: Model,
}

impl Watcher<Live> {
    #[expect(clippy::print_stdout, reason = "shown with the test that fails, or by --nocapture")]
    pub fn live(options: &Options) -> Self {
        // Nobody subscribes here, so what is told is a gap or an illegal transition. Where there is one there are many.
        let mut told = 0;
        let tell = move |event: &Event| {
            told += 1;
            if told <= 5 {
                println!("told of {event:?}");
            }
        };
        Self::new(Live::open(options, tell).expect("open the live source (root?)"))
    }
}

impl<S: Source> Watcher<S> {
    pub fn new(source: S) -> Self {
        Self { source, model: Model::default() }
    }

    /// A report of now, with a census.
    pub fn report(&mut self) -> Report {
        self.model.apply(self.source.sample(true).expect("sample"))
    }

    /// Looks until the report has the very numbers that /proc has for `ns`; panics with both if it never does.
    pub fn agree(&mut self, ns: &Netns) -> Report {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = ns.run(proc_states);
            let report = self.report();
            let after = ns.run(proc_states);
            let states = states(&report, ns);
            if before == after && equal(states, &before) {
                compare_with_ss(ns, &before);
                return report;
            }
            assert!(
                Instant::now() < deadline,
                "{} differs from /proc:\n{}{}",
                ns.name(),
                table(states, &before, &after),
                details(&report, ns)
            );
            thread::sleep(PAUSE);
        }
    }

    /// Looks until nothing moves in `ns`, its states are those of /proc, and every identity with a counter of the
    /// kernel's holds exactly.
    pub fn reconciled(&mut self, ns: &Netns) -> Report {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = self.agree(ns);
            let drift = &report.drift[&ns.inode()];
            assert_eq!(drift.len(), Counter::ALL.len());
            if drift.iter().all(|drift| drift.drift == Some(0)) {
                assert_never_negative(sample(&report, ns));
                return report;
            }
            assert!(Instant::now() < deadline, "{} drifts: {drift:#?}", ns.name());
            thread::sleep(PAUSE);
        }
    }
}

/// The states of a namespace that is known to the report.
pub fn states<'a>(report: &'a Report, ns: &Netns) -> &'a NamespaceStates {
    report
        .states
        .get(&ns.inode())
        .unwrap_or_else(|| panic!("the report knows nothing of {}: {:#?}", ns.name(), report.states))
}

/// The sample of a namespace that exists.
pub fn sample<'a>(report: &'a Report, ns: &Netns) -> &'a NamespaceSample {
    let mut samples = report.sample.namespaces.iter();
    samples.find(|sample| sample.is_alive && sample.inode == ns.inode()).expect("the namespace was sampled")
}

/// What happened from one state to another, by the counters of one namespace.
pub fn edge(cells: &cell::Row, from: TcpState, to: TcpState) -> u64 {
    cells[judge(from, to).cell.expect("a legal transition")]
}

/// The counts of whole sockets before the model rounds those below zero up.
fn signed(namespace: &NamespaceSample) -> Option<[i64; TcpState::COUNT]> {
    let mut counts = namespace.adopted.map(u64::cast_signed);
    for (edge, times) in EDGES.iter().zip(namespace.cells.as_ref()?) {
        machine::apply(&mut counts, edge.from, edge.to, times.cast_signed());
    }
    Some(counts)
}

/// No socket may ever leave a state it was not seen in.
pub fn assert_never_negative(namespace: &NamespaceSample) {
    let counts = signed(namespace).expect("transitions are seen");
    for state in TcpState::ALL.into_iter().filter(|state| *state != TcpState::Close) {
        let count = counts[state.index()];
        assert!(count >= 0, "{count} sockets in {}: {counts:?}", state.name());
    }
}

/// Nothing was lost or out of order anywhere on the host.
pub fn assert_nothing_lost(report: &Report) {
    let host = report.sample.host.as_ref().expect("the source has host counters");
    let lost = (host.gaps, host.illegal, host.untracked, report.sample.missed_transitions());
    assert_eq!(lost, (0, 0, 0, 0), "{}", losses(report));
}

fn equal(states: &NamespaceStates, kernel: &[u64; 13]) -> bool {
    TcpState::RFC.iter().all(|state| states.counts[state.index()] == Some(kernel[*state as usize]))
}

fn table(states: &NamespaceStates, before: &[u64; 13], after: &[u64; 13]) -> String {
    let row = |state: TcpState| {
        let number = state as usize;
        let ours = states.counts[state.index()];
        format!("{:<12} {ours:?}, /proc {} then {}\n", state.name(), before[number], after[number])
    };
    TcpState::RFC.into_iter().map(row).collect()
}

/// What may explain a difference.
fn details(report: &Report, ns: &Netns) -> String {
    let sample = sample(report, ns);
    let (adopted, counts, problems) = (sample.adopted, signed(sample), &report.sample.problems);
    let losses = losses(report);
    format!("{losses}\nadopted {adopted:?}\nwhole sockets {counts:?}\nproblems {problems:?}")
}

/// What the programs themselves know to be lost.
pub fn losses(report: &Report) -> String {
    let missed: Vec<_> = report.sample.programs.iter().map(|program| program.missed).collect();
    let Some(host) = &report.sample.host else { return "no host counters".into() };
    let (gaps, illegal, untracked, recovered) = (host.gaps, host.illegal, host.untracked, host.nested);
    format!("gaps {gaps}, illegal {illegal}, untracked {untracked}, recovered {recovered}, missed {missed:?}")
}

/// Where `ss` is installed, it has the numbers of /proc too. It may not find the namespace as it was, so the numbers
/// are compared only while they stay.
fn compare_with_ss(ns: &Netns, kernel: &[u64; 13]) {
    let Some(shown) = ns.run(ss_states) else { return };
    if ns.run(proc_states) == *kernel {
        assert_eq!(shown, *kernel, "ss and /proc differ in {}", ns.name());
    }
}

/// What `ss` counts in the calling thread's namespace; `None` where it is not installed.
pub fn ss_states() -> Option<[u64; 13]> {
    let output = Command::new("ss").arg("-Htan").output().ok()?;
    assert!(output.status.success(), "ss failed: {}", String::from_utf8_lossy(&output.stderr));
    let mut counts = [0; 13];
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let name = line.split_whitespace().next().expect("a state");
        let state = TcpState::parse(name).unwrap_or_else(|| panic!("ss shows the state {name:?}"));
        counts[state as usize] += 1;
    }
    Some(counts)
}
