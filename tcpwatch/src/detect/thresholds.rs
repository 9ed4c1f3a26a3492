//! What findings are measured by, of all detectors. The configuration file sets these.
//!
//! They also decide what the source has to look for, and when it has to look closer.

use std::time::Duration;

use tcpwatch_common::TcpState;

use super::{
    accept_queue_overflow, close_wait_buildup, closing_stuck, connect_failures, engine, illegal_transition,
    memory_pressure, port_exhaustion, reset_storm, retransmit_burst, silent_peer, syn_flood,
    syn_queue_overflow, time_wait_storm, zero_window_stall,
};
use crate::sample::Plan;

/// The limits of every detector, under its kind's name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thresholds {
    pub findings: engine::Limits,
    pub close_wait_buildup: close_wait_buildup::Limits,
    pub time_wait_storm: time_wait_storm::Limits,
    pub port_exhaustion: port_exhaustion::Limits,
    pub syn_flood: syn_flood::Limits,
    pub syn_queue_overflow: syn_queue_overflow::Limits,
    pub accept_queue_overflow: accept_queue_overflow::Limits,
    pub retransmit_burst: retransmit_burst::Limits,
    pub connect_failures: connect_failures::Limits,
    pub reset_storm: reset_storm::Limits,
    pub closing_stuck: closing_stuck::Limits,
    pub silent_peer: silent_peer::Limits,
    pub zero_window_stall: zero_window_stall::Limits,
    pub memory_pressure: memory_pressure::Limits,
    pub illegal_transition: illegal_transition::Limits,
}

/// Ephemeral ports of a kernel that was not told otherwise.
const DEFAULT_PORTS: u16 = port_exhaustion::PORT_RANGE.1 - port_exhaustion::PORT_RANGE.0 + 1;

/// What the source has to look for so that nothing of this can be missed.
pub fn plan(thresholds: &Thresholds) -> Plan {
    let Thresholds { close_wait_buildup, closing_stuck, silent_peer, zero_window_stall, .. } = thresholds;
    // Nobody asks for the age in other states; what may be wrong in ESTABLISHED is a trouble, not an age.
    let mut aged_after = [Duration::MAX; TcpState::COUNT];
    let mut suspicious_from = [u64::MAX; TcpState::COUNT];
    for state in closing_stuck::STATES {
        aged_after[state.index()] = closing_stuck.age;
        suspicious_from[state.index()] = closing_stuck.min_count;
    }
    aged_after[TcpState::FinWait2.index()] = closing_stuck.fin_wait2_age;
    aged_after[TcpState::CloseWait.index()] = close_wait_buildup.age;
    suspicious_from[TcpState::CloseWait.index()] = close_wait_buildup.min_count;
    // So many can be a whole range of ports. Fewer are common on a busy host, and found at the next regular walk.
    suspicious_from[TcpState::TimeWait.index()] = u64::from(DEFAULT_PORTS) * 4 / 5;
    Plan {
        aged_after,
        suspicious_from,
        silent_after: silent_peer.idle_age,
        unacknowledged_after: silent_peer.unacknowledged_age,
        stalled_after: zero_window_stall.age,
        tuples_from: thresholds.port_exhaustion.min_used,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_looks_for_what_the_detectors_ask() {
        let plan = plan(&Thresholds::default());
        let seconds = |state: TcpState| plan.aged_after[state.index()].as_secs();
        assert_eq!((seconds(TcpState::CloseWait), seconds(TcpState::LastAck)), (60, 220));
        assert_eq!((seconds(TcpState::FinWait2), seconds(TcpState::Closing)), (75, 220));
        assert_eq!(plan.aged_after[TcpState::Established.index()], Duration::MAX);
        let from = |state: TcpState| plan.suspicious_from[state.index()];
        assert_eq!((from(TcpState::CloseWait), from(TcpState::FinWait1)), (10, 5));
        assert_eq!((from(TcpState::TimeWait), from(TcpState::Established)), (22_585, u64::MAX));
        assert_eq!((plan.silent_after, plan.tuples_from), (Duration::from_hours(2), 500));
        let mut other = Thresholds::default();
        other.close_wait_buildup.min_count = 3;
        other.zero_window_stall.age = Duration::from_secs(7);
        let plan = super::plan(&other);
        assert_eq!(plan.suspicious_from[TcpState::CloseWait.index()], 3);
        assert_eq!(plan.stalled_after, Duration::from_secs(7));
    }
}
