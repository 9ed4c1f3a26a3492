//! A program that does nothing: the yardstick for the others in `cargo xtask bench`. The daemon never loads it.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn empty(_: BtfTracePointContext) -> i32 {
    0
}
