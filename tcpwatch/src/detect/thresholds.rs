//! What findings are measured by, of all detectors. The configuration file sets these.

/// The limits of every detector, under its kind's name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thresholds {
    // pub close_wait_buildup: super::close_wait_buildup::Limits,
}
