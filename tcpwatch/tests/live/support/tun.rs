//! The TUN device of `tcpwatch::lab` in a test's namespace, with panics for errors.

use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use tcpwatch::lab::segment::Segment;
use tcpwatch::lab::tun::{self, DEVICE};
pub use tcpwatch::lab::tun::{KERNEL_V4, KERNEL_V6, PEER_V4, kernel_ip, peer_ip};

use super::link;
use super::netns::{Netns, run_in};

/// A TUN device in a namespace. It may be used by many threads at once.
#[derive(Debug)]
pub struct Tun {
    pub(super) device: tun::Tun,
    ns: File,
}

impl Tun {
    /// Makes the device with the usual addresses and sets it up.
    pub fn new(ns: &Netns, name: &str) -> Tun {
        Tun::with_addrs(ns, name, (KERNEL_V4, 24), (KERNEL_V6, 64))
    }

    /// Makes the device with other addresses of the kernel.
    pub fn with_addrs(ns: &Netns, name: &str, v4: (Ipv4Addr, u8), v6: (Ipv6Addr, u8)) -> Tun {
        make_node();
        let device = ns.run(|| tun::Tun::with_addrs(name, v4, v6)).unwrap_or_else(|e| panic!("{e}"));
        Tun { device, ns: ns.file() }
    }

    /// Sends the kernel's answers to any address here, so that the test may
    /// write segments from addresses outside the device's own network.
    pub fn default_routes(&self) {
        self.run(|| {
            link::default_route(self.device.name(), KERNEL_V4.into());
            if link::has_ipv6() {
                link::default_route(self.device.name(), KERNEL_V6.into());
            }
        });
    }

    /// Hands a packet to the kernel as it is. It has been worked on when this returns.
    pub fn write(&self, packet: &[u8]) -> std::io::Result<usize> {
        self.device.write(packet)
    }

    /// Runs `f` in the device's namespace.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        run_in(&self.ns, f)
    }

    /// Hands a segment to the kernel.
    pub fn send(&self, segment: &Segment) {
        self.device.send(segment).unwrap_or_else(|e| panic!("{e}"));
    }

    /// The next segment from the kernel, or None after `timeout`.
    pub fn recv(&self, timeout: Duration) -> Option<Segment> {
        self.device.recv_match(timeout, |_| true).unwrap_or_else(|e| panic!("{e}"))
    }
}

/// A guest without udev may have the driver but no node for it.
fn make_node() {
    if !Path::new(DEVICE).exists() {
        fs::create_dir_all("/dev/net").expect("create /dev/net");
        mknodat(CWD, DEVICE, FileType::CharacterDevice, Mode::from(0o600), makedev(10, 200))
            .unwrap_or_else(|e| panic!("make {DEVICE}: {e}"));
    }
}
