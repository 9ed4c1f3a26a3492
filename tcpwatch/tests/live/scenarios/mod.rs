//! Trouble made on purpose: the finding that must come, whose it is, with which numbers, and that no other comes.
//!
//! Each scene has namespaces of its own, so that what other programs do on this host makes no finding in them.

mod closing;
mod replay;

use std::time::{Duration, Instant};

use tcpwatch::detect::{Detectors, Findings, Thresholds, plan};
use tcpwatch::finding::{Evidence, Finding, Kind};
use tcpwatch::kernel::Options;
use tcpwatch::sample::Sample;
use tcpwatch::source::{Live, Source as _};

use crate::support::netns::Netns;

/// As the daemon's.
const TICK: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(40);

/// The daemon without its interfaces: samples go to the detectors, once a tick.
struct Scene {
    live: Live,
    detectors: Detectors,
    thresholds: Thresholds,
    next: Instant,
    /// Everything that was seen, as it is recorded, and what was said at each tick.
    recording: replay::Recording,
}

impl Scene {
    fn open() -> Scene {
        Scene::with(Thresholds::default())
    }

    /// With other thresholds than the daemon has by default, where its ages would take minutes.
    fn with(thresholds: Thresholds) -> Scene {
        let options =
            Options { sockets: 1 << 15, namespaces: 256, ring_bytes: 1 << 16, ..Options::default() };
        let mut live = Live::open(&options, |_| ()).expect("live tests need root and eBPF");
        live.set_plan(plan(&thresholds));
        let (detectors, recording) = (Detectors::default(), replay::Recording::default());
        let mut scene = Scene { live, detectors, thresholds, next: Instant::now(), recording };
        // What was before is no news.
        scene.tick();
        scene
    }

    /// Waits for the next tick, and looks.
    fn tick(&mut self) -> (std::sync::Arc<Sample>, Findings) {
        let now = Instant::now();
        std::thread::sleep(self.next.saturating_duration_since(now));
        self.next = now.max(self.next) + TICK;
        let sample = std::sync::Arc::new(self.live.sample(false).expect("a sample"));
        let findings = self.detectors.apply(&sample, &self.thresholds);
        self.recording.take(&sample, &findings);
        (sample, findings)
    }

    /// Looks until there is a finding of this kind in the namespace that `is` what was meant. No other may be there.
    #[track_caller]
    fn expect(&mut self, ns: &Netns, kind: Kind, is: impl Fn(&Finding) -> bool) -> Finding {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (sample, findings) = self.tick();
            let mine = of(&findings, ns);
            if let Some(other) = mine.iter().find(|finding| finding.seen.kind != kind) {
                panic!("another finding came: {other:#?}");
            }
            if let Some(found) = mine.iter().find(|finding| is(finding)) {
                return (*found).clone();
            }
            assert!(
                Instant::now() < deadline,
                "{} never came; there is {mine:#?} with {:#?}, {:#?}",
                kind.name(),
                sample.listeners.iter().filter(|listener| listener.netns == ns.inode()).collect::<Vec<_>>(),
                sample.namespaces.iter().find(|namespace| namespace.inode == ns.inode()).map(|n| &n.survey),
            );
        }
    }

    /// Looks for a while; nothing may be found.
    #[track_caller]
    fn expect_nothing(&mut self, ns: &Netns, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let (_, findings) = self.tick();
            let mine = of(&findings, ns);
            assert!(mine.is_empty(), "{mine:#?}");
        }
    }
}

/// Open findings about one namespace.
fn of<'a>(findings: &'a Findings, ns: &Netns) -> Vec<&'a Finding> {
    findings.open.iter().filter(|finding| finding.seen.subject.netns == Some(ns.inode())).collect()
}

/// A count among the evidence.
#[track_caller]
fn count(finding: &Finding, name: &str) -> u64 {
    match finding.seen.evidence.iter().find(|(evidence, _)| *evidence == name) {
        Some((_, Evidence::Count(count))) => *count,
        other => panic!("{name} is no count but {other:?} in {finding:#?}"),
    }
}

/// The pid of the process that a finding names.
fn owner(finding: &Finding) -> Option<u32> {
    finding.seen.subject.owner.as_ref().map(|owner| owner.pid)
}
