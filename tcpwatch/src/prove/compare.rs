//! Expected, listed and counted side by side: pure, so that a miss can be tested without one.

use tcpwatch_common::cell;

use super::known::{HELD, KNOWN, Needs};
use super::ledger::Edges;
use super::measure::End;
use super::stage::Stage;
use crate::sample::StateCounts;
use crate::view::proof::{CounterProof, EdgeProof, NotProven, Proof, StateProof, Verdict};

/// What came of the scenes so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// By scenes that came to their end.
    pub expected: Edges,
    pub counted: Edges,
    /// The sockets there must be.
    pub held: StateCounts,
    not_proven: Vec<NotProven>,
}

impl Tally {
    /// A scene came to its end.
    pub fn played(&mut self, stage: &Stage<'_>, counted: &Edges) {
        self.add(&stage.ledger.edges, counted);
        self.held = stage.expected();
    }

    fn add(&mut self, expected: &Edges, counted: &Edges) {
        for at in 0..cell::EDGES {
            self.expected[at] += expected[at];
            self.counted[at] += counted[at];
        }
    }

    /// A scene did not, so what happened in it is not known; the kernel lists what is left of it.
    pub fn failed(&mut self, what: &str, why: &str, is_minimum: bool, listed: &StateCounts) {
        self.held = *listed;
        self.not_proven.push(NotProven { what: what.to_owned(), why: why.to_owned(), minimum: is_minimum });
    }

    /// Something that cannot be done here and is not in the minimum.
    pub fn cannot(&mut self, what: &str, why: &str) {
        self.not_proven.push(NotProven { what: what.to_owned(), why: why.to_owned(), minimum: false });
    }

    /// From now on sockets are held. Of the mini-sockets that were left before, some may have ended meanwhile.
    pub fn begin_to_hold(&mut self, listed: &StateCounts) {
        self.held = *listed;
    }
}

/// Compares.
pub fn judge(tally: &Tally, end: &End) -> Proof {
    let transitions: Vec<_> = (0..cell::EDGES).map(|at| edge(tally, at)).collect();
    let states = HELD.iter().map(|state| {
        let at = state.index();
        state_of(state.name(), tally.held[at], end.listed[at], end.states[at])
    });
    let states: Vec<_> = states.collect();
    let counters = end.counters.iter().map(|&(counter, kernel, tcpwatch)| CounterProof {
        counter,
        kernel,
        tcpwatch,
        verdict: if tcpwatch == Some(kernel) { Verdict::Ok } else { Verdict::Drift },
    });
    let counters: Vec<_> = counters.collect();
    let mut not_proven = tally.not_proven.clone();
    not_proven.extend(end.programs.iter().filter_map(|program| {
        let error = program.error.as_deref()?.lines().next().unwrap_or_default();
        let lost = program.lost.as_deref().unwrap_or("everything");
        let why = format!("lost: {lost}. It does not run: {error}");
        Some(NotProven { what: format!("the program {}", program.name), why, minimum: false })
    }));
    let proven = transitions.iter().all(EdgeProof::is_fine)
        && states.iter().all(|state| state.verdict == Verdict::Ok)
        && counters.iter().all(|counter| counter.verdict == Verdict::Ok)
        && !not_proven.iter().any(|not| not.minimum)
        && end.illegal.is_empty();
    Proof {
        kernel: String::new(),
        architecture: "",
        proven,
        seconds: 0.0,
        transitions,
        states,
        counters,
        illegal: end.illegal.clone(),
        not_proven,
        lost_fields: end.lost_fields.iter().map(|(field, _)| field.clone()).collect(),
    }
}

fn edge(tally: &Tally, at: usize) -> EdgeProof {
    let known = &KNOWN[at];
    let (expected, counted) = (tally.expected[at], tally.counted[at]);
    let verdict = match (expected, counted) {
        (0, 0) => Verdict::NotProvoked,
        _ if counted < expected => Verdict::Missed,
        _ if counted > expected => Verdict::Extra,
        _ => Verdict::Ok,
    };
    let reason = (verdict == Verdict::NotProvoked).then_some(match known.needs {
        Needs::Loopback => "see below",
        Needs::Tun => "it needs a TUN device, see below",
        Needs::Destroy => "the kernel does not destroy sockets on demand, see below",
        Needs::Unknown => "no way is known to provoke it",
    });
    EdgeProof {
        from: known.from.name(),
        to: known.to.name(),
        minimum: known.needs == Needs::Loopback,
        how: known.how,
        expected,
        counted,
        verdict,
        reason,
    }
}

fn state_of(state: &'static str, held: u64, netlink: u64, tcpwatch: Option<u64>) -> StateProof {
    let verdict = match held {
        0 => Verdict::NotProvoked,
        _ if held == netlink && tcpwatch == Some(held) => Verdict::Ok,
        _ => Verdict::Differs,
    };
    StateProof { state, held, netlink, tcpwatch, verdict }
}
