//! What findings are measured by, of all detectors. The configuration file sets these.



use super::{close_wait_buildup, engine};

/// The limits of every detector, under its kind's name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thresholds {
    pub findings: engine::Limits,
    pub close_wait_buildup: close_wait_buildup::Limits,
}
