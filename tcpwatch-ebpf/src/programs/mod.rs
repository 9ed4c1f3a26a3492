//! The programs, one file per subject.

mod empty;
mod ending;
mod holders;
mod listener;
mod nested;
mod observe;
mod remote;
mod reset;
mod retransmit;
mod snapshot;
mod survey;
mod transition;

pub(crate) use crate::add::{add, add_shared};
