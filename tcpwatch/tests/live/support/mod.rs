//! Support for live tests: namespaces, a TUN device with a scripted TCP peer
//! behind it, and sockets held in every TCP state.
//!
//! Everything talks to the kernel directly (netlink, /proc, two socket options
//! and one ioctl), because the same tests run in a guest that has only busybox.

#![allow(
    clippy::allow_attributes,
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "every test binary uses its own part of this library"
)]

pub mod bpf;
pub mod info;
pub mod link;
pub mod netns;
pub mod peer;
pub mod pty;
pub mod screen;
pub mod sock;
pub mod states;
pub mod timeline;
pub mod tun;
pub mod withheld;
pub mod work;

pub use tcpwatch::lab::segment;
