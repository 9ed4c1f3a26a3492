//! What findings are measured by, of all detectors. The configuration file sets these.
//!
//! They also decide when the source has to look closer: it walks the sockets of a namespace only where some state
//! holds so many that a detector might flag it.

use std::time::Duration;

use tcpwatch_common::TcpState;

use super::{
    close_wait_buildup, closing_stuck, engine, illegal_transition, memory_pressure, port_exhaustion,
    silent_peer, time_wait_storm, zero_window_stall,
};
use crate::sample::Trouble;

/// The limits of every detector, under its kind's name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thresholds {
    pub findings: engine::Limits,
    pub close_wait_buildup: close_wait_buildup::Limits,
    pub time_wait_storm: time_wait_storm::Limits,
    pub port_exhaustion: port_exhaustion::Limits,
    pub closing_stuck: closing_stuck::Limits,
    pub silent_peer: silent_peer::Limits,
    pub zero_window_stall: zero_window_stall::Limits,
    pub memory_pressure: memory_pressure::Limits,
    pub illegal_transition: illegal_transition::Limits,
}

/// From which age on a survey counts a socket as aged, by [`TcpState::index`]: [`Duration::MAX`] where nobody asks.
///
/// Established sockets with a trouble are counted by how long the trouble lasts, see [`trouble_after`].
pub fn aged_after(thresholds: &Thresholds) -> [Duration; TcpState::COUNT] {
    let mut ages = [Duration::MAX; TcpState::COUNT];
    ages[TcpState::CloseWait.index()] = thresholds.close_wait_buildup.age;
    for state in closing_stuck::STATES {
        ages[state.index()] = thresholds.closing_stuck.age;
    }
    ages[TcpState::FinWait2.index()] = thresholds.closing_stuck.fin_wait2_age;
    let troubles = [Trouble::Unacknowledged, Trouble::PeerWindowZero, Trouble::OwnWindowZero];
    let shortest = troubles.into_iter().map(|trouble| trouble_after(thresholds, trouble)).min();
    ages[TcpState::Established.index()] = shortest.unwrap_or(Duration::MAX);
    ages
}

/// How long a trouble must last for an established socket to be aged.
pub fn trouble_after(thresholds: &Thresholds, trouble: Trouble) -> Duration {
    match trouble {
        Trouble::None => Duration::MAX,
        Trouble::Unacknowledged => thresholds.silent_peer.unacknowledged_age,
        Trouble::NoKeepalive => thresholds.silent_peer.idle_age,
        Trouble::PeerWindowZero | Trouble::OwnWindowZero => thresholds.zero_window_stall.age,
    }
}

/// Whether a survey of a namespace with so many sockets by state could find anything. A number that is not known
/// could be large.
pub fn survey_is_due(counts: &[Option<u64>; TcpState::COUNT], thresholds: &Thresholds) -> bool {
    let count = |state: TcpState| counts[state.index()].unwrap_or(u64::MAX);
    let Thresholds { close_wait_buildup, closing_stuck, silent_peer, zero_window_stall, .. } = thresholds;
    let troubled =
        silent_peer.unacknowledged_count.min(silent_peer.idle_count).min(zero_window_stall.min_count).max(1);
    let with_ports = TcpState::RFC.into_iter().filter(|state| {
        // The others hold no local port of their own.
        !matches!(state, TcpState::Listen | TcpState::SynRecv | TcpState::Close)
    });
    let ports = with_ports.fold(0, |sum: u64, state| sum.saturating_add(count(state)));
    count(TcpState::CloseWait) >= close_wait_buildup.min_count
        || closing_stuck::STATES.into_iter().any(|state| count(state) >= closing_stuck.min_count)
        || count(TcpState::Established) >= troubled
        || count(TcpState::TimeWait) >= thresholds.time_wait_storm.min_stock
        || ports >= thresholds.port_exhaustion.min_used
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_those_of_the_detectors() {
        let ages = aged_after(&Thresholds::default());
        assert_eq!(ages[TcpState::CloseWait.index()], Duration::from_mins(1));
        assert_eq!(ages[TcpState::LastAck.index()], Duration::from_secs(220));
        assert_eq!(ages[TcpState::FinWait2.index()], Duration::from_secs(75));
        assert_eq!(ages[TcpState::Established.index()], Duration::from_secs(30));
        assert_eq!(ages[TcpState::Listen.index()], Duration::MAX);
        assert_eq!(trouble_after(&Thresholds::default(), Trouble::NoKeepalive), Duration::from_hours(2));
    }

    #[test]
    fn a_walk_is_due_where_something_could_be_found() {
        let due = |state: TcpState, count| {
            let mut counts = [Some(0); TcpState::COUNT];
            counts[state.index()] = count;
            survey_is_due(&counts, &Thresholds::default())
        };
        for (state, least) in [
            (TcpState::CloseWait, 10),
            (TcpState::Established, 1),
            (TcpState::FinWait1, 5),
            (TcpState::LastAck, 5),
            (TcpState::TimeWait, 50),
            (TcpState::SynSent, 50),
        ] {
            assert!(!due(state, Some(least - 1)), "{state:?}");
            assert!(due(state, Some(least)), "{state:?}");
            assert!(due(state, None), "{state:?}");
        }
        assert!(!due(TcpState::Listen, Some(5_000)) && !due(TcpState::SynRecv, Some(5_000)));
    }
}
