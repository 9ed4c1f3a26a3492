//! Tests on the live kernel: the real programs, real sockets, in network namespaces made for each test.
//!
//! They need root and fail loudly without it. The same binary runs on other kernels in a virtual machine
//! (`cargo xtask vm`), where there is nothing but busybox.

mod support;

mod churn;
mod daemon;
mod held;
mod retire;
mod transitions;
mod watch;
