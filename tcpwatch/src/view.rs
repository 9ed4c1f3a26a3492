//! What people see, once: the plain types that the HTTP API and the command line share.
//!
//! Internal types know no serde; these are made from them. Fields may be added, none renamed. Times are RFC 3339,
//! durations seconds, an unknown value is `null` and never 0.

pub mod bar;
pub mod checkup;
pub mod event;
pub mod explain;
pub mod findings;
pub mod listeners;
pub mod overview;
pub mod owner;
pub mod owners;
pub mod pods;
pub mod proof;
pub mod remotes;
pub mod services;
pub mod shortages;
pub mod sockets;
pub mod states;
pub mod status;
pub mod transitions;
pub mod vitals;

use std::time::SystemTime;

/// A time as everything shows it.
pub fn timestamp(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(|_| String::from("unknown"), |at| format!("{at:.3}"))
}

/// An error as the API tells it.
#[derive(Debug, serde::Serialize)]
pub struct Error {
    pub error: String,
}
