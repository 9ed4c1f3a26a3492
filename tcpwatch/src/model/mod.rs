//! From samples to figures: pure functions of one sample, or of two and what was learned before.
//!
//! No clock, no I/O, nothing that can fail. A recording goes through exactly this code.

pub mod rates;
pub mod reconcile;
pub mod states;

use std::collections::BTreeMap;
use std::sync::Arc;

use tcpwatch_common::machine::EDGES;

use crate::sample::Sample;
pub use rates::Transition;
pub use reconcile::{Counter, Drift};
pub use states::NamespaceStates;

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
}

/// Turns samples into reports.
#[derive(Debug, Default)]
pub struct Model {
    previous: Option<Arc<Sample>>,
    reconciler: reconcile::Reconciler,
}

impl Model {
    /// Takes the next sample.
    pub fn apply(&mut self, sample: Sample) -> Report {
        let sample = Arc::new(sample);
        let drift = self.reconciler.apply(&sample);
        let transitions = rates::transitions(&sample, self.previous.as_deref());
        let states = states::by_namespace(&sample);
        self.previous = Some(Arc::clone(&sample));
        Report { sample, states, transitions, drift }
    }
}

const _: () = assert!(EDGES.len() == tcpwatch_common::cell::EDGES);
