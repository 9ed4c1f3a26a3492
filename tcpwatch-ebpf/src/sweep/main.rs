//! One walk over the sockets of all network namespaces, an object of its own that works on the maps of the daemon's
//! programs.
//!
//! It reads the kernel's tables without locks, as [the walk for listings](../walk) does: what a chain leads to stays a
//! socket as long as the run lasts, and a chain that has led into another is read again.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    allow(internal_features, reason = "the BPF target has no stable atomic addition")
)]
#![cfg_attr(
    target_arch = "bpf",
    allow(
        dead_code,
        clippy::cast_possible_truncation,
        clippy::inline_always,
        clippy::needless_pass_by_value,
        clippy::no_mangle_with_rust_abi,
        reason = "it shares files with the daemon's programs; numbers fit by the kernel's own types; calls cost, and \
                  hide from the verifier what it must see; the rest is how programs are declared"
    )
)]

#[cfg(target_arch = "bpf")]
#[path = "../add.rs"]
mod add;
#[cfg(target_arch = "bpf")]
mod chain;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod nets;
#[cfg(target_arch = "bpf")]
#[path = "../older.rs"]
mod older;
#[cfg(target_arch = "bpf")]
#[path = "../walk/read.rs"]
mod read;
#[cfg(target_arch = "bpf")]
#[path = "../rows.rs"]
mod rows;
#[cfg(target_arch = "bpf")]
mod socket;
#[cfg(target_arch = "bpf")]
#[path = "../table.rs"]
mod table;
#[cfg(target_arch = "bpf")]
#[path = "../unlearn.rs"]
mod unlearn;

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
