//! What must have happened by what was done: transitions, and the sockets that are there afterwards.

use tcpwatch_common::{TcpState, cell, judge, machine};

use crate::sample::StateCounts;

/// The transitions of a scene so far, by the number of their edge.
pub type Edges = [u64; cell::EDGES];

/// Kept by who makes sockets move, without looking at what tcpwatch counts.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub edges: Edges,
    /// Mini-sockets, in the state that `ss` shows them in.
    minis: [i64; TcpState::COUNT],
}

impl Ledger {
    /// So many sockets went this way from state to state.
    pub fn walk(&mut self, times: usize, way: &[TcpState]) {
        for step in way.windows(2) {
            // A way that is not legal is a mistake of a scene's, which then does not add up.
            if let Some(edge) = judge(step[0], step[1]).cell {
                self.edges[edge] += times as u64;
            }
        }
    }

    /// So many mini-sockets were made in this state.
    pub fn mini(&mut self, times: usize, state: TcpState) {
        self.minis[state.index()] += signed(times as u64);
    }

    /// So many mini-sockets in FIN_WAIT2 got the peer's FIN.
    pub fn minis_end(&mut self, times: usize) {
        self.minis[TcpState::FinWait2.index()] -= signed(times as u64);
        self.mini(times, TcpState::TimeWait);
    }

    /// The sockets there must be by state, where there were `before`. CLOSE means nothing here.
    pub fn after(&self, before: &StateCounts) -> StateCounts {
        let mut counts = self.minis;
        for (edge, times) in machine::EDGES.iter().zip(self.edges) {
            machine::apply(&mut counts, edge.from, edge.to, signed(times));
        }
        for (count, before) in counts.iter_mut().zip(before) {
            *count += signed(*before);
        }
        counts.map(|count| u64::try_from(count).unwrap_or(0))
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use TcpState::{Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent};

    use super::*;

    #[test]
    fn connections_end_in_time_wait() {
        let mut ledger = Ledger::default();
        ledger.walk(1, &[Close, Listen]);
        ledger.walk(5, &[Close, SynSent, Established, FinWait1, FinWait2, Close]);
        ledger.walk(5, &[Listen, SynRecv, Established, CloseWait]);
        ledger.mini(5, FinWait2);
        let mut before = [0; TcpState::COUNT];
        before[Listen.index()] = 2;
        let of = |ledger: &Ledger, state: TcpState| ledger.after(&before)[state.index()];
        assert_eq!((of(&ledger, Listen), of(&ledger, CloseWait), of(&ledger, FinWait2)), (3, 5, 5));
        ledger.walk(5, &[CloseWait, LastAck, Close]);
        ledger.minis_end(5);
        assert_eq!((of(&ledger, FinWait2), of(&ledger, TcpState::TimeWait), of(&ledger, LastAck)), (0, 5, 0));
        assert_eq!(ledger.edges.iter().sum::<u64>(), 1 + 5 * 5 + 3 * 5 + 2 * 5);
    }
}
