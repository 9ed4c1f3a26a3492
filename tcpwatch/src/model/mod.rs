//! From samples to figures: pure functions of one sample, or of two and what was learned before.
//!
//! No clock, no I/O, nothing that can fail. A recording goes through exactly this code.

pub mod listeners;
pub mod rates;
pub mod reconcile;
pub mod remotes;
pub mod services;
pub mod states;
#[cfg(test)]
pub(crate) mod testing;
pub mod window;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tcpwatch_common::machine::EDGES;

use crate::sample::Sample;
pub use listeners::Listeners;
pub use rates::Transition;
pub use reconcile::{Counter, Drift};
pub use remotes::Remotes;
pub use services::Services;
pub use states::NamespaceStates;
pub use window::Window;

/// What is known at one instant; every output renders this one value.
#[derive(Clone, Debug)]
pub struct Report {
    pub sample: Arc<Sample>,
    /// By inode number.
    pub states: BTreeMap<u64, NamespaceStates>,
    /// By inode number, in the order of the reference machine's edges, illegal ones last; only what happened.
    pub transitions: BTreeMap<u64, Vec<Transition>>,
    /// By inode number.
    pub drift: BTreeMap<u64, Vec<Drift>>,
    pub listeners: Listeners,
    /// The worst remotes of late.
    pub remotes: Remotes,
    /// Connections that ended within the last minute, by service.
    pub services: Services,
}

/// The shortest time over which a rate is told. Samples come when somebody asks as well, milliseconds after another.
const RATE_WINDOW: Duration = Duration::from_millis(500);

/// Remotes are ranked by what happened with them within so much time, and so many of each kind are told.
const REMOTES_WITHIN: Duration = Duration::from_secs(10);
const REMOTES: usize = 20;

/// Turns samples into reports.
#[derive(Debug, Default)]
pub struct Model {
    /// What rates are told against: at least [`RATE_WINDOW`] older than `recent`.
    baseline: Option<Arc<Sample>>,
    recent: Option<Arc<Sample>>,
    reconciler: reconcile::Reconciler,
    listeners: listeners::Tally,
    window: Option<Window>,
}

impl Model {
    /// Takes the next sample.
    pub fn apply(&mut self, sample: Sample) -> Report {
        let sample = Arc::new(sample);
        let drift = self.reconciler.apply(&sample);
        let is_due = self
            .recent
            .as_ref()
            .is_none_or(|recent| sample.elapsed.saturating_sub(recent.elapsed) >= RATE_WINDOW);
        if is_due {
            self.baseline = self.recent.replace(Arc::clone(&sample));
        }
        let transitions = rates::transitions(&sample, self.baseline.as_deref());
        let states = states::by_namespace(&sample);
        let listeners = self.listeners.apply(&sample);
        let window = self.look(&sample);
        let remotes = remotes::worst(window, REMOTES_WITHIN, REMOTES);
        let services = services::recent(window);
        Report { sample, states, transitions, drift, listeners, remotes, services }
    }

    fn look(&mut self, sample: &Arc<Sample>) -> &Window {
        match &mut self.window {
            Some(window) => {
                window.push(Arc::clone(sample));
                window
            }
            none => none.insert(Window::new(Arc::clone(sample))),
        }
    }
}

const _: () = assert!(EDGES.len() == tcpwatch_common::cell::EDGES);

#[cfg(test)]
mod tests {
    use tcpwatch_common::{TcpState, judge};

    use super::*;
    use testing::sample_at;

    #[test]
    fn a_report_that_was_asked_for_has_the_rates_of_a_whole_tick() {
        let mut model = Model::default();
        let cell = judge(TcpState::Close, TcpState::SynSent).cell.expect("legal");
        let mut rate = |seconds, count| {
            let mut sample = sample_at(seconds, 1);
            sample.namespaces[0].cells.as_mut().expect("cells")[cell] = count;
            model.apply(sample).transitions[&1][0].rate
        };
        assert_eq!(rate(1.0, 10), None);
        assert_eq!(rate(2.0, 110), Some(100.0));
        assert_eq!(rate(2.25, 135), Some(100.0), "asked for in between");
        assert_eq!(rate(3.0, 310), Some(200.0));
    }
}
