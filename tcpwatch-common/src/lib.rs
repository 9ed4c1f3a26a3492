//! What the kernel side and the daemon of tcpwatch share.
//!
//! TCP states, the reference state machine every transition is judged by, the cause of an ending, and the
//! plain records that cross the boundary between eBPF and user space. Nothing here allocates, reads a clock or
//! talks to the kernel; the crate depends on nothing, so the same table is compiled into both sides.

#![no_std]
#![forbid(unsafe_code)]

pub mod cause;
pub mod cell;
pub mod event;
pub mod failure;
pub mod histogram;
pub mod host;
pub mod listener;
pub mod machine;
pub mod names;
pub mod offsets;
pub mod remote;
pub mod service;
pub mod socket;
pub mod state;
pub mod survey;
pub mod sweep;
pub mod vitals;
pub mod walk;

pub use cause::Cause;
pub use machine::{Edge, Judgement, Verdict, judge};
pub use state::TcpState;
