//! A network of our own to make TCP do what it seldom does: devices, sockets, and a scripted peer.
//!
//! Everything acts on the calling thread's network namespace and talks to the kernel directly (netlink, `/proc`, a few
//! calls), so it works where nothing else is installed. `prove` uses it, and so do the live tests.

pub mod link;
pub mod netlink;
pub mod peer;
pub mod segment;
pub mod sock;
pub mod tun;

use std::io;

/// Says what was tried when an error came.
fn trying(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("cannot {what}: {error}"))
}
