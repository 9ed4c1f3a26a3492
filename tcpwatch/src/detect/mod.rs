//! What is wrong, and who should do what about it: pure functions of the last minute of samples.
//!
//! Each kind of finding has a file of its own with the same two things in it: `Limits`, what it is measured by, and
//! `detect`, which looks at a window. A detector demands by itself that a trouble lasts; [`engine`] only keeps the
//! history. No clock, no I/O, nothing that can fail.

pub mod thresholds;

use crate::finding::Candidate;
use crate::model::Window;
pub use thresholds::Thresholds;

/// Everything that is wrong at the window's newest sample.
pub fn detect(window: &Window, thresholds: &Thresholds) -> Vec<Candidate> {
    // One line per detector, in the order of `finding::Kind::ALL`:
    // found.extend(close_wait_buildup::detect(window, &thresholds.close_wait_buildup));
    let _ = (window, thresholds);
    Vec::new()
}
