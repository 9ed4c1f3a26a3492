//! A walk over the kernel's table of connections without its iterator: an object of its own, loaded for one listing.
//!
//! The iterator takes the lock of each chain and of each socket, and one CPU walks. Sockets, requests and mini-sockets
//! are in memory that stays theirs as long as RCU lets nobody free it, which is the time of one run: so the table can
//! be read without any lock, as the kernel itself does for each packet. Each chain ends with its own number and each
//! socket knows its hash, so that a chain that has led into another is noticed and read again.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    allow(
        clippy::cast_possible_truncation,
        clippy::inline_always,
        clippy::needless_pass_by_value,
        reason = "numbers fit by the kernel's own types; calls cost, and hide from the verifier what it must see; the \
                  rest is how programs are declared"
    )
)]

#[cfg(target_arch = "bpf")]
mod connections;
#[cfg(target_arch = "bpf")]
mod read;

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
