//! Who gets series of their own, so that a page stays within its [`Budget`] on any host.

use tcpwatch_common::TcpState;

use crate::config::Budget;
use crate::finding::{Kind, Severity};
use crate::model::listeners::Drops;

/// Series of one listening address: two queues with their limits, drops by cause, and SYN-ACKs sent again.
pub(super) const OF_LISTENER: usize = 4 + Drops::CAUSES.len() + 1;
/// Series of one owner: states but `listen`.
pub(super) const OF_OWNER: usize = TcpState::RFC.len() - 1;
/// What may be needed for those that are added up, kept free in any case.
const OF_OTHERS: usize = OF_LISTENER + OF_OWNER + Kind::ALL.len() * Severity::ALL.len();

/// How many subjects there are, or are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subjects {
    pub(super) listeners: usize,
    pub(super) owners: usize,
    pub(super) findings: usize,
}

impl Subjects {
    /// How many of these get series of their own, beside `fixed` series that are there anyway.
    ///
    /// Findings come first, as they are what one is woken for. Owners and listeners have half of the rest each, and what
    /// one does not need is the other's.
    pub(super) fn shown(self, budget: Budget, fixed: usize) -> Self {
        let bound = |count: usize, bound: u64| count.min(usize::try_from(bound).unwrap_or(usize::MAX));
        let mut room = bound(usize::MAX, budget.series).saturating_sub(fixed + OF_OTHERS);
        let findings = bound(self.findings, budget.findings).min(room);
        room -= findings;
        let owners = bound(self.owners, budget.owners);
        let listeners = bound(self.listeners, budget.listeners);
        let left_by_listeners = room.saturating_sub(listeners * OF_LISTENER);
        let owners = owners.min((room / 2).max(left_by_listeners) / OF_OWNER);
        room -= owners * OF_OWNER;
        Self { listeners: listeners.min(room / OF_LISTENER), owners, findings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(listeners: usize, owners: usize, findings: usize) -> Subjects {
        Subjects { listeners, owners, findings }
    }

    #[test]
    fn each_bound_holds_and_all_together() {
        let many = subjects(5_000, 5_000, 5_000);
        assert_eq!(many.shown(Budget::default(), 600), subjects(100, 20, 100));
        assert_eq!(subjects(3, 2, 1).shown(Budget::default(), 600), subjects(3, 2, 1));
        let wide = Budget { listeners: 10_000, owners: 1_000, findings: 10_000, series: 2_000 };
        assert_eq!(many.shown(wide, 600), subjects(0, 0, 2_000 - 600 - OF_OTHERS));
        // What the one does not need is the other's.
        let room = 2_000 - 600 - OF_OTHERS;
        assert_eq!(
            subjects(5_000, 5_000, 0).shown(wide, 600),
            subjects((room - room / 20 * 10) / 10, room / 20, 0)
        );
        assert_eq!(subjects(5_000, 1, 0).shown(wide, 600), subjects((room - OF_OWNER) / OF_LISTENER, 1, 0));
        assert_eq!(subjects(1, 5_000, 0).shown(wide, 600), subjects(1, (room - OF_LISTENER) / OF_OWNER, 0));
        assert_eq!(many.shown(Budget { series: 100, ..wide }, 600), subjects(0, 0, 0), "no room at all");
        for series in (700..8_000).step_by(97) {
            let shown = many.shown(Budget { series, ..wide }, 600);
            let used = shown.listeners * OF_LISTENER + shown.owners * OF_OWNER + shown.findings;
            assert!(used + OF_OTHERS + 600 <= usize::try_from(series).expect("small"), "{series}: {shown:?}");
        }
    }
}
