//! The programs, one file per subject.

mod empty;
mod ending;
mod holders;
mod kernels_own;
mod listener;
mod nested;
mod observe;
mod record;
mod remote;
mod reset;
mod retransmit;
mod service;
mod snapshot;
mod survey;
mod told;
mod transition;
mod usual;
mod vitals;

pub(crate) use crate::add::add_shared;
