//! Tests on the live kernel: the real programs, real sockets, in network namespaces made for each test.
//!
//! They need root and fail loudly without it. The same binary runs on other kernels in a virtual machine
//! (`cargo xtask vm`), where there is nothing but busybox.

#![allow(
    clippy::allow_attributes,
    clippy::print_stdout,
    reason = "tests tell what they found; only some of them do on any one kernel"
)]

mod support;

mod churn;
mod daemon;
mod deploy;
mod facts;
mod held;
mod privileges;
mod prove;
mod retire;
mod scenarios;
mod transitions;
mod verified;
mod watch;
