//! Programs that the daemon never loads: the yardstick of `cargo xtask bench`, and what a test looks into.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::macros::{btf_tracepoint, raw_tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, RawTracePointContext};
use tcpwatch_common::histogram::bucket;

/// Does nothing: the yardstick for the others.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn empty(_: BtfTracePointContext) -> i32 {
    0
}

/// The bucket of its argument and nothing else, so that a test can see that it has no branch.
#[raw_tracepoint]
pub(crate) fn bucket_of(ctx: RawTracePointContext) -> i32 {
    // SAFETY: every raw tracepoint has an argument.
    let bucket = bucket(unsafe { *ctx.as_ptr().cast::<u64>() });
    // The lowest bits, which are all that there are.
    (bucket as u32).cast_signed()
}
