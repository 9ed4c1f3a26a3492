//! The kernel side of tcpwatch: programs that count TCP facts where they happen.
//!
//! They run at the kernel's tracepoints, in the path of every connection, so each of them counts into maps and
//! returns. User space reads the maps on its own tick. Only rare facts, and those a `trace` subscriber asked for,
//! are told one by one through a ring buffer, and what that could not take is counted.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    allow(internal_features, reason = "the BPF target has no stable atomic addition")
)]
#![cfg_attr(
    target_arch = "bpf",
    allow(
        clippy::cast_possible_truncation,
        clippy::inline_always,
        clippy::needless_borrows_for_generic_args,
        clippy::needless_pass_by_value,
        clippy::no_mangle_with_rust_abi,
        reason = "numbers fit by the kernel's own types; calls cost, and hide from the verifier what it must see; a \
                  record that is not borrowed is copied; the rest is how programs are declared"
    )
)]
#![cfg_attr(not(target_arch = "bpf"), allow(dead_code, reason = "only a stub is built for the host"))]

#[cfg(target_arch = "bpf")]
mod add;
#[cfg(target_arch = "bpf")]
mod branchless;
#[cfg(target_arch = "bpf")]
mod emit;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod namespace;
#[cfg(target_arch = "bpf")]
mod older;
#[cfg(target_arch = "bpf")]
mod programs;
#[cfg(target_arch = "bpf")]
mod read;
#[cfg(target_arch = "bpf")]
mod rows;
#[cfg(target_arch = "bpf")]
mod settle;
#[cfg(target_arch = "bpf")]
mod table;
#[cfg(target_arch = "bpf")]
mod unlearn;
#[cfg(target_arch = "bpf")]
mod zero;

/// `cargo check --workspace` builds this crate for the host too.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier proves that this is never reached.
    loop {}
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
