//! Namespaces in which a listener is under pressure: nothing else tells of what it drops.

use std::collections::{HashMap, HashSet};

use tcpwatch_common::listener::Listener;

/// What each listener had dropped when it was read last.
#[derive(Debug, Default)]
pub(super) struct Queues {
    drops: HashMap<u64, u32>,
}

impl Queues {
    /// The namespaces of listeners whose queues are not empty, or that have dropped something since the last time.
    pub(super) fn busy(&mut self, listeners: &[(u64, Listener)]) -> HashSet<u64> {
        let before = std::mem::take(&mut self.drops);
        let mut busy = HashSet::new();
        for (id, listener) in listeners {
            let has_dropped = before.get(id).is_some_and(|before| *before != listener.drops);
            if has_dropped || listener.accept_queue > 0 || !matches!(listener.syn_queue, 0 | u32::MAX) {
                busy.insert(listener.netns.into());
            }
            self.drops.insert(*id, listener.drops);
        }
        busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_that_are_not_empty_and_new_drops_are_pressure() {
        let mut queues = Queues::default();
        let calm = Listener { netns: 1, drops: 7, ..Listener::default() };
        let full = Listener { netns: 2, syn_queue: 3, ..Listener::default() };
        let waiting = Listener { netns: 3, accept_queue: 1, ..Listener::default() };
        let unknown = Listener { netns: 4, syn_queue: u32::MAX, ..Listener::default() };
        let all = [(1, calm), (2, full), (3, waiting), (4, unknown)];
        assert_eq!(queues.busy(&all), HashSet::from([2, 3]));
        let dropped = Listener { drops: 8, ..calm };
        assert_eq!(queues.busy(&[(1, dropped)]), HashSet::from([1]));
        assert_eq!(queues.busy(&[(1, dropped)]), HashSet::new());
    }
}
