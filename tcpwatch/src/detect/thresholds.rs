//! What findings are measured by, of all detectors. The configuration file sets these.

use super::{
    accept_queue_overflow, close_wait_buildup, connect_failures, engine, reset_storm, retransmit_burst,
    syn_flood, syn_queue_overflow,
};

/// The limits of every detector, under its kind's name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thresholds {
    pub findings: engine::Limits,
    pub close_wait_buildup: close_wait_buildup::Limits,
    pub syn_flood: syn_flood::Limits,
    pub syn_queue_overflow: syn_queue_overflow::Limits,
    pub accept_queue_overflow: accept_queue_overflow::Limits,
    pub retransmit_burst: retransmit_burst::Limits,
    pub connect_failures: connect_failures::Limits,
    pub reset_storm: reset_storm::Limits,
}
