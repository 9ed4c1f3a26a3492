//! What is wrong, and who should do what about it: pure functions of the last minute of samples.
//!
//! Each kind of finding has a file of its own with the same two things in it: `Limits`, what it is measured by, and
//! `detect`, which looks at a window. A detector demands by itself that a trouble lasts; [`engine`] only keeps the
//! history. No clock, no I/O, nothing that can fail.

pub mod accept_queue_overflow;
mod backlog;
pub mod close_wait_buildup;
pub mod closing_stuck;
pub mod connect_failures;
pub mod engine;
pub mod illegal_transition;
pub mod memory_pressure;
pub mod port_exhaustion;
mod remote_ends;
pub mod reset_storm;
pub mod retransmit_burst;
#[cfg(test)]
mod scenes;
pub mod silent_peer;
pub mod syn_flood;
pub mod syn_queue_overflow;
mod tell;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod thresholds;
pub mod time_wait_storm;
pub mod zero_window_stall;

use std::sync::Arc;

use crate::finding::Candidate;
use crate::model::Window;
use crate::sample::Sample;
pub use engine::Findings;
use engine::{Engine, Moment};
pub use thresholds::{Thresholds, plan};

/// Looks at samples as they come.
#[derive(Debug, Default)]
pub struct Detectors {
    window: Option<Window>,
    engine: Engine,
}

impl Detectors {
    /// Takes the next sample: what is wrong now, and since when.
    pub fn apply(&mut self, sample: &Arc<Sample>, thresholds: &Thresholds) -> Findings {
        let window = match &mut self.window {
            None => self.window.insert(Window::new(Arc::clone(sample))),
            Some(window) => {
                window.push(Arc::clone(sample));
                window
            }
        };
        let now = Moment { at: sample.at, elapsed: sample.elapsed };
        self.engine.apply(detect(window, thresholds), now, &thresholds.findings)
    }
}

/// Everything that is wrong at the window's newest sample, in the order of [`crate::finding::Kind::ALL`].
pub fn detect(window: &Window, thresholds: &Thresholds) -> Vec<Candidate> {
    let mut found = Vec::new();
    found.extend(close_wait_buildup::detect(window, &thresholds.close_wait_buildup));
    found.extend(time_wait_storm::detect(window, &thresholds.time_wait_storm));
    found.extend(port_exhaustion::detect(window, &thresholds.port_exhaustion));
    found.extend(syn_flood::detect(window, &thresholds.syn_flood));
    found.extend(syn_queue_overflow::detect(window, &thresholds.syn_queue_overflow));
    found.extend(accept_queue_overflow::detect(window, &thresholds.accept_queue_overflow));
    found.extend(retransmit_burst::detect(window, &thresholds.retransmit_burst));
    found.extend(connect_failures::detect(window, &thresholds.connect_failures));
    found.extend(reset_storm::detect(window, &thresholds.reset_storm));
    found.extend(closing_stuck::detect(window, &thresholds.closing_stuck));
    found.extend(silent_peer::detect(window, &thresholds.silent_peer));
    found.extend(zero_window_stall::detect(window, &thresholds.zero_window_stall));
    found.extend(memory_pressure::detect(window, &thresholds.memory_pressure));
    found.extend(illegal_transition::detect(window, &thresholds.illegal_transition));
    found
}
