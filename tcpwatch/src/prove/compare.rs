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

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything was provoked and counted, and each state held.
    fn all_is_well() -> (Tally, End) {
        let mut tally = Tally::default();
        tally.add(&[7; cell::EDGES], &[7; cell::EDGES]);
        for state in HELD {
            tally.held[state.index()] = 5;
        }
        let end = End {
            listed: tally.held,
            states: tally.held.map(Some),
            counters: vec![("ActiveOpens", 7, Some(7))],
            illegal: Vec::new(),
            programs: Vec::new(),
            lost_fields: Vec::new(),
        };
        (tally, end)
    }

    fn at(from: TcpState, to: TcpState) -> usize {
        tcpwatch_common::judge(from, to).cell.expect("legal")
    }

    use tcpwatch_common::TcpState::{self, Close, Established, FinWait1, SynRecv};

    fn verdict(proof: &Proof, edge: usize) -> Verdict {
        proof.transitions[edge].verdict
    }

    #[test]
    fn all_together_is_a_proof() {
        let (tally, end) = all_is_well();
        assert!(judge(&tally, &end).proven);
    }

    #[test]
    fn a_transition_that_was_not_counted_is_none() {
        let (mut tally, end) = all_is_well();
        let edge = at(Established, FinWait1);
        tally.counted[edge] -= 1;
        let proof = judge(&tally, &end);
        assert_eq!((proof.proven, verdict(&proof, edge)), (false, Verdict::Missed));
    }

    #[test]
    fn nor_is_one_too_many() {
        let (mut tally, end) = all_is_well();
        let edge = at(SynRecv, Close);
        tally.counted[edge] += 1;
        let proof = judge(&tally, &end);
        assert_eq!((proof.proven, verdict(&proof, edge)), (false, Verdict::Extra));
    }

    #[test]
    fn what_was_not_provoked_matters_in_the_minimum_only() {
        for (from, to, proven) in [(Established, FinWait1, false), (SynRecv, FinWait1, true)] {
            let (mut tally, end) = all_is_well();
            let edge = at(from, to);
            (tally.expected[edge], tally.counted[edge]) = (0, 0);
            let proof = judge(&tally, &end);
            assert_eq!((proof.proven, verdict(&proof, edge)), (proven, Verdict::NotProvoked));
            assert!(proof.transitions[edge].reason.is_some());
        }
    }

    #[test]
    fn a_scene_that_did_not_end_matters_in_the_minimum_only() {
        for is_minimum in [false, true] {
            let (mut tally, end) = all_is_well();
            let listed = tally.held;
            tally.failed("half-close", "why", is_minimum, &listed);
            assert_eq!(judge(&tally, &end).proven, !is_minimum);
        }
    }

    #[test]
    fn held_states_are_the_same_by_all_three() {
        let (tally, end) = all_is_well();
        let state = Established.index();
        let mut by_kernel = all_is_well().1;
        by_kernel.listed[state] += 1;
        let mut by_us = all_is_well().1;
        by_us.states[state] = Some(4);
        let mut unknown = all_is_well().1;
        unknown.states[state] = None;
        for end in [by_kernel, by_us, unknown] {
            let proof = judge(&tally, &end);
            let verdicts = proof.states.iter().map(|state| state.verdict);
            assert_eq!(verdicts.filter(|verdict| *verdict == Verdict::Differs).count(), 1);
            assert!(!proof.proven);
        }
        let mut none = Tally { held: [0; TcpState::COUNT], ..Tally::default() };
        none.add(&tally.expected, &tally.counted);
        assert!(!judge(&none, &end).proven, "nothing was held");
    }

    #[test]
    fn drift_and_illegal_transitions_are_none() {
        let (tally, mut end) = all_is_well();
        end.counters.push(("EstabResets", 7, Some(6)));
        let proof = judge(&tally, &end);
        assert_eq!((proof.proven, proof.counters[1].verdict), (false, Verdict::Drift));
        let (tally, mut end) = all_is_well();
        end.illegal.push("listen -> established once".into());
        assert!(!judge(&tally, &end).proven);
    }
}
