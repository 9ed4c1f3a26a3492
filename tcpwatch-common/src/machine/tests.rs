//! The machine against the kernel's own table, and properties that hold for every pair of states.

use proptest::prelude::*;

use super::*;

/// The legal pairs of a protocol 6 socket as read in the kernel's source (Linux 5.8 to 6.18), by source state.
const LEGAL: &[(TcpState, &[TcpState])] = &[
    (Close, &[Listen, SynSent, Close]),
    (SynSent, &[Established, SynRecv, Close]),
    (Listen, &[SynRecv, Close]),
    (SynRecv, &[Established, FinWait1, CloseWait, Close]),
    (Established, &[FinWait1, CloseWait, Close]),
    (FinWait1, &[FinWait2, Closing, Close, FinWait1]),
    (FinWait2, &[Close, FinWait2]),
    (Closing, &[Close, Closing]),
    (CloseWait, &[LastAck, Close]),
    (LastAck, &[Close, LastAck]),
];

fn is_legal(from: TcpState, to: TcpState) -> bool {
    LEGAL.iter().any(|(source, targets)| *source == from && targets.contains(&to))
}

#[test]
fn the_table_is_the_kernels() {
    for from in TcpState::ALL {
        for to in TcpState::ALL {
            let legal = judge(from, to).verdict != Verdict::Illegal;
            assert_eq!(legal, is_legal(from, to), "{from:?} -> {to:?}");
        }
    }
}

#[test]
fn every_edge_has_its_own_cell() {
    for (position, edge) in EDGES.iter().enumerate() {
        assert_eq!(judge(edge.from, edge.to).cell, Some(position));
        assert_ne!(edge.verdict, Verdict::Illegal);
    }
}

#[test]
fn verdicts_are_what_people_are_told() {
    for (from, to, verdict) in [
        (Close, SynSent, Rfc),
        (Listen, SynRecv, Linux),
        (SynSent, SynRecv, Unusual),
        (FinWait1, Closing, Unusual),
        (FinWait2, Close, Linux),
        (FinWait2, FinWait2, Linux),
        (Close, Close, Linux),
        (Listen, Established, Verdict::Illegal),
        (FinWait1, CloseWait, Verdict::Illegal),
        (Close, Established, Verdict::Illegal),
    ] {
        assert_eq!(judge(from, to).verdict, verdict, "{from:?} -> {to:?}");
    }
}

fn any_state() -> impl Strategy<Value = TcpState> {
    proptest::sample::select(TcpState::ALL.to_vec())
}

proptest! {
    #[test]
    fn every_pair_is_judged_with_a_reason(from in any_state(), to in any_state()) {
        let judgement = judge(from, to);
        prop_assert!(!judgement.reason.is_empty());
        prop_assert_eq!(judgement.cell.is_some(), judgement.verdict != Verdict::Illegal);
    }

    #[test]
    fn only_rfc_states_take_part(from in any_state(), to in any_state()) {
        let hidden = [TimeWait, NewSynRecv, BoundInactive];
        if hidden.contains(&from) || hidden.contains(&to) {
            prop_assert_eq!(judge(from, to).verdict, Verdict::Illegal);
        }
    }

    /// Whatever way a socket takes through legal edges, it is in exactly one state, and it can always close.
    #[test]
    fn a_walk_of_one_socket_keeps_one_socket(choices in proptest::collection::vec(0usize..8, 0..40)) {
        let mut counts = [0; TcpState::COUNT];
        counts[Close.index()] = 1;
        let mut at = Close;
        for choice in choices {
            let next: Vec<_> = EDGES.iter().filter(|edge| edge.from == at && at != Listen).collect();
            let Some(edge) = next.get(choice % next.len().max(1)) else { break };
            apply(&mut counts, edge.from, edge.to, 1);
            at = edge.to;
            prop_assert_eq!(counts.iter().sum::<i64>(), 1);
            prop_assert_eq!(counts[at.index()], 1);
            prop_assert_ne!(judge(at, Close).verdict, Verdict::Illegal);
        }
    }

    #[test]
    fn applying_and_taking_back_changes_nothing(from in any_state(), to in any_state(), times in 0i64..1000) {
        let mut counts = [0; TcpState::COUNT];
        apply(&mut counts, from, to, times);
        apply(&mut counts, from, to, -times);
        prop_assert_eq!(counts, [0; TcpState::COUNT]);
    }
}

extern crate std;
use std::vec::Vec;
