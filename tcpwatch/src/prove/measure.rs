//! What tcpwatch counts in the namespace of the proof, and what the kernel lists there.

use std::thread;
use std::time::Duration;

use tcpwatch_common::cell;

use super::ProveError;
use super::compare::Tally;
use super::known::HELD;
use super::ledger::Edges;
use crate::model::reconcile::figures;
use crate::model::{Counter, states};
use crate::sample::{NamespaceSample, ProgramSample, StateCounts};
use crate::source::{Live, Source, count_sockets};

/// An event is counted before the kernel lists what came of it, but some follow within microseconds on another CPU.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(20);

/// The running programs.
pub struct Measure {
    live: Live,
}

/// What there is once all sockets are held.
pub struct End {
    /// By the kernel's list.
    pub listed: StateCounts,
    /// By tcpwatch.
    pub states: [Option<u64>; 13],
    /// Name, the kernel's, ours.
    pub counters: Vec<(&'static str, u64, Option<u64>)>,
    pub illegal: Vec<String>,
    pub programs: Vec<ProgramSample>,
    pub lost_fields: Vec<(String, String)>,
}

impl Measure {
    pub fn new(live: Live) -> Self {
        Self { live }
    }

    fn namespace(&mut self, census: bool) -> Result<(crate::sample::Sample, NamespaceSample), ProveError> {
        let sample = self.live.sample(census)?;
        let own = sample.namespaces.iter().find(|namespace| namespace.is_own).cloned();
        Ok((sample, own.unwrap_or_default()))
    }

    pub fn cells(&mut self) -> Result<cell::Row, ProveError> {
        Ok(self.namespace(false)?.1.cells.unwrap_or([0; cell::CELLS]))
    }

    /// The transitions since `before`, as soon as they are those that are expected.
    pub fn counted_since(&mut self, before: &cell::Row, expected: &Edges) -> Result<Edges, ProveError> {
        let mut counted = [0; cell::EDGES];
        for _ in 0..TRIES {
            let now = self.cells()?;
            for ((counted, now), before) in counted.iter_mut().zip(now).zip(before) {
                *counted = now.saturating_sub(*before);
            }
            if counted == *expected {
                break;
            }
            thread::sleep(PAUSE);
        }
        Ok(counted)
    }

    /// All figures, once they agree or will not.
    pub fn end(&mut self, tally: &Tally) -> Result<End, ProveError> {
        let mut tries = 0..TRIES;
        loop {
            let before = listed()?;
            let (sample, own) = self.namespace(true)?;
            let listed = listed()?;
            let illegal = own
                .illegal
                .iter()
                .map(|(from, to, times)| format!("{} -> {} {times} times", from.name(), to.name()));
            let end = End {
                listed,
                states: states::of(&own).counts,
                counters: counters(&own),
                illegal: illegal.collect(),
                programs: sample.programs,
                lost_fields: sample.lost_fields,
            };
            let agrees = HELD.iter().all(|state| {
                let at = state.index();
                end.states[at] == Some(listed[at]) && listed[at] == tally.held[at]
            });
            let agrees = agrees && end.counters.iter().all(|(_, kernel, ours)| Some(*kernel) == *ours);
            if (before == listed && agrees) || tries.next().is_none() {
                return Ok(end);
            }
            thread::sleep(PAUSE);
        }
    }
}

/// The sockets that the kernel lists.
pub fn listed() -> Result<StateCounts, ProveError> {
    count_sockets().map_err(ProveError::Count)
}

/// The kernel's counters and ours. The namespace began with the programs, so both count from 0.
fn counters(own: &NamespaceSample) -> Vec<(&'static str, u64, Option<u64>)> {
    let mut rows: Vec<_> = Counter::ALL
        .iter()
        .filter_map(|counter| {
            figures(own, *counter).map(|(kernel, ours)| (counter.name(), kernel, Some(ours)))
        })
        .collect();
    if let Some(counters) = &own.counters {
        let whole = states::whole_sockets(own);
        let hashed = whole.map(|whole| HELD.iter().map(|state| whole[state.index()]).sum());
        rows.push(("sockstat inuse", counters.sock.inuse + counters.inuse6, hashed));
        let minis = own.census.and_then(|census| {
            let time_wait = census.counts[tcpwatch_common::TcpState::TimeWait.index()];
            Some(time_wait + census.minis?.fin_wait2)
        });
        rows.push(("sockstat tw", counters.sock.tw, minis));
    }
    rows
}
