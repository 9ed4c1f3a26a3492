//! Trouble made on purpose: the finding that must come, whose it is, with which numbers, and that no other comes.
//!
//! Each scene has namespaces of its own, so that what other programs do on this host makes no finding in them.
//! Each is recorded, and when it ends the recording has to give the same findings again.
//!
//! Every kind, with the trouble that must be found and the look-alike that must not; tests of this directory where no
//! other is named:
//!
//! | kind | found | left alone |
//! |---|---|---|
//! | `close_wait_buildup` | `closing::a_server_that_never_closes`, `closing::a_server_that_never_accepts`, leaks of `owners` | `closing::close_waits_that_come_and_go` |
//! | `time_wait_storm` | `closing::short_connections_fill_the_buckets_of_whoever_closes_first` | `closing::the_same_number_of_ports_over_many_destinations` has none, and unit tests |
//! | `port_exhaustion` | `closing::ports_toward_one_destination_run_out` | `closing::the_same_number_of_ports_over_many_destinations` |
//! | `syn_flood` | `facts::floods::a_flood_is_one_whatever_the_cookies` | `facts::floods::thousands_of_real_connections_a_second_are_fine` |
//! | `syn_queue_overflow` | `facts::floods::a_flood_is_one_whatever_the_cookies` without cookies | the same with cookies |
//! | `accept_queue_overflow` | `facts::floods::a_queue_that_nobody_takes_from_overflows`, `owners` | `facts::floods::thousands_of_real_connections_a_second_are_fine` |
//! | `retransmit_burst` | `living::a_path_that_loses_segments`, `living::many_peers_that_vanish_while_data_is_under_way` | `living::a_path_that_loses_a_few_segments` |
//! | `connect_failures` | `facts::ends::connects_that_are_refused_are_found_and_a_single_one_is_not` | the same, once |
//! | `reset_storm` | `facts::ends::resets_are_told_by_who_is_at_fault` | the same with regular ends, `facts::ends::strangers_that_knock_at_closed_ports_are_no_finding` |
//! | `closing_stuck` | `closing::peers_that_answer_and_never_let_go` | `closing::peers_that_vanish_while_they_are_closed_are_given_up_in_time` |
//! | `silent_peer` | `living::peers_that_vanish_while_nothing_is_sent`, `living::a_peer_that_vanishes_while_data_is_under_way` | the same with keepalive, `living::one_of_many_older_clients_vanishes` |
//! | `zero_window_stall` | `stalls::peers_that_do_not_read`, `stalls::a_process_here_that_does_not_read` | `stalls::peers_that_stop_reading_for_a_moment_again_and_again` |
//! | `memory_pressure` | unit tests only: its limits are the whole host's | unit tests |
//! | `illegal_transition` | unit tests only: no kernel makes one | `living::a_socket_connected_to_itself`, whose transitions are unusual |

pub(crate) mod child;
mod closing;
mod crowded;
mod ended;
mod flooded;
mod healthy;
mod living;
mod owners;
mod pressure;
pub(crate) mod replay;
mod stalls;

use std::time::{Duration, Instant};

use tcpwatch::detect::{Detectors, Findings, Thresholds, plan};
use tcpwatch::finding::{Evidence, Finding, Kind};
use tcpwatch::kernel::Options;
use tcpwatch::model::listeners::{Drops, Listeners, Tally};
use tcpwatch::sample::Sample;
use tcpwatch::source::{Live, Source as _};

use crate::support::netns::Netns;

/// As the daemon's.
const TICK: Duration = Duration::from_secs(1);
/// A walk that was slow is not repeated soon.
const PATIENCE: Duration = Duration::from_secs(90);

/// The daemon without its interfaces: samples go to the detectors, once a tick.
struct Scene {
    live: Live,
    detectors: Detectors,
    thresholds: Thresholds,
    tally: Tally,
    listeners: Listeners,
    next: Instant,
    /// For the last sample.
    took: Duration,
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
        let mut scene = Scene {
            live,
            detectors: Detectors::default(),
            thresholds,
            tally: Tally::default(),
            listeners: Listeners::default(),
            next: Instant::now(),
            took: Duration::ZERO,
            recording: replay::Recording::default(),
        };
        // What was before is no news.
        scene.tick();
        scene
    }

    /// Waits for the next tick, and looks.
    fn tick(&mut self) -> (std::sync::Arc<Sample>, Findings) {
        let now = Instant::now();
        std::thread::sleep(self.next.saturating_duration_since(now));
        self.next = now.max(self.next) + TICK;
        let started = Instant::now();
        let sample = std::sync::Arc::new(self.live.sample(false).expect("a sample"));
        self.took = started.elapsed();
        let findings = self.detectors.apply(&sample, &self.thresholds);
        self.listeners = self.tally.apply(&sample);
        self.recording.take(&sample, &findings);
        (sample, findings)
    }

    /// Looks until new listeners are known for sure: a sample that comes soon after another is left out.
    fn settle(&mut self) {
        for _ in 0..2 {
            self.tick();
        }
    }

    /// Looks until there is a finding of this kind in the namespace that `is` what was meant. No other may be there.
    #[track_caller]
    fn expect(&mut self, ns: &Netns, kind: Kind, is: impl Fn(&Finding) -> bool) -> Finding {
        let (found, _) = self.expect_all(ns, &[kind], |mine| mine.iter().any(&is));
        found.into_iter().find(is).expect("it was there")
    }

    /// The same where findings of some other kinds may be there too.
    #[track_caller]
    fn expect_among(
        &mut self,
        ns: &Netns,
        kind: Kind,
        allowed: &[Kind],
        is: impl Fn(&Finding) -> bool,
    ) -> Finding {
        let is = |finding: &Finding| finding.seen.kind == kind && is(finding);
        let (found, _) = self.expect_all(ns, allowed, |mine| mine.iter().any(is));
        found.into_iter().find(is).expect("it was there")
    }

    /// Looks until the findings in the namespace `are` what was meant, and tells how many ticks it took. None of another
    /// kind may be there.
    #[track_caller]
    fn expect_all(
        &mut self,
        ns: &Netns,
        kinds: &[Kind],
        are: impl Fn(&[Finding]) -> bool,
    ) -> (Vec<Finding>, u32) {
        let deadline = Instant::now() + PATIENCE;
        for ticks in 1.. {
            let (sample, findings) = self.tick();
            let mine = sorted(&findings, ns);
            if let Some(other) = mine.iter().find(|finding| !kinds.contains(&finding.seen.kind)) {
                panic!("another finding came: {other:#?}");
            }
            if are(&mine) {
                return (mine, ticks);
            }
            assert!(
                Instant::now() < deadline,
                "{kinds:?} never came as meant; there is {mine:#?} with {:#?}, {:#?}",
                sample.listeners.iter().filter(|listener| listener.netns == ns.inode()).collect::<Vec<_>>(),
                sample.namespaces.iter().find(|namespace| namespace.inode == ns.inode()).map(|n| &n.survey),
            );
        }
        unreachable!("the deadline comes first")
    }

    /// Looks a few times more: the findings of the namespace are of these kinds, all of them.
    #[track_caller]
    fn expect_to_stay(&mut self, ns: &Netns, kinds: &[Kind], ticks: u32) -> Vec<Finding> {
        let mut last = Vec::new();
        for _ in 0..ticks {
            let (_, findings) = self.tick();
            last = sorted(&findings, ns);
            let found: Vec<Kind> = last.iter().map(|finding| finding.seen.kind).collect();
            assert_eq!(found, kinds, "{last:#?}");
        }
        last
    }

    /// Once nothing happens any more: what the listeners of the namespace dropped, by cause. The sums are the kernel's
    /// counts since the namespace was made.
    #[track_caller]
    fn exact(&mut self, ns: &Netns) -> Drops {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = ns.snmp();
            self.tick();
            let found = &self.listeners;
            let space = found.namespaces[&ns.inode()];
            if ns.snmp() != before || space.pending > 0 {
                assert!(Instant::now() < deadline, "{} never comes to rest: {space:?}", ns.name());
                continue;
            }
            let (mut drops, mut sk_drops, mut twice) = (Drops::default(), 0, 0);
            for service in found.services.iter().filter(|service| service.netns == ns.inode()) {
                for member in &service.members {
                    drops += member.drops;
                    sk_drops += member.sk_drops;
                    twice += member.twice;
                    assert_eq!(member.sk_drops, u64::from(member.sample.drops), "since it listens");
                }
            }
            let kernel = |name: &str| before[&format!("TcpExt.{name}")];
            assert_eq!(space.unattributed, 0, "{drops:?}");
            assert_eq!(drops.total(), kernel("ListenDrops"), "{drops:?}");
            assert_eq!(drops.accept_queue() + drops.unknown, kernel("ListenOverflows"), "{drops:?}");
            assert_eq!(drops.total() + twice, sk_drops, "{drops:?}");
            return drops;
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

impl Drop for Scene {
    /// What was found is found again in the recording. A test that has failed has more to say.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.recording.replays_the_same(&self.thresholds);
        }
    }
}

/// Open findings about one namespace.
fn of<'a>(findings: &'a Findings, ns: &Netns) -> Vec<&'a Finding> {
    findings.open.iter().filter(|finding| finding.seen.subject.netns == Some(ns.inode())).collect()
}

/// The same, by kind.
fn sorted(findings: &Findings, ns: &Netns) -> Vec<Finding> {
    let mut mine: Vec<Finding> = of(findings, ns).into_iter().cloned().collect();
    mine.sort_by_key(|finding| finding.seen.kind);
    mine
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
