//! A TUN device: the test sees and writes every packet of the namespace.
//!
//! The kernel owns 10.77.0.1 and `fd77::1`, the test plays all other addresses.
//! As the kernel owns none of those, it never answers for them with an RST.

use super::link;
use super::netns::{Netns, run_in};
use super::segment::Segment;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::io::retry_on_intr;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The kernel's addresses, /24 and /64.
pub const KERNEL_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub const KERNEL_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
/// The usual addresses of the test's side.
pub const PEER_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
pub const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);

const IFF_TUN: libc::c_short = 0x0001;
const IFF_NO_PI: libc::c_short = 0x1000;
const DEVICE: &str = "/dev/net/tun";
/// Segments kept for a receiver that has not asked yet; retransmissions that
/// nobody will ever ask for push the oldest out.
const INBOX: usize = 8192;
/// How soon a receiver sees a segment that another thread read for it.
const SLICE: Duration = Duration::from_millis(10);

/// A TUN device in a namespace. It may be used by many threads at once.
#[derive(Debug)]
pub struct Tun {
    name: String,
    file: File,
    ns: File,
    inbox: Mutex<VecDeque<Segment>>,
}

impl Tun {
    /// Makes the device with the usual addresses and sets it up.
    pub fn new(ns: &Netns, name: &str) -> Tun {
        Tun::with_addrs(ns, name, (KERNEL_V4, 24), (KERNEL_V6, 64))
    }

    /// Makes the device with other addresses of the kernel.
    pub fn with_addrs(ns: &Netns, name: &str, v4: (Ipv4Addr, u8), v6: (Ipv6Addr, u8)) -> Tun {
        let file = ns.run(|| {
            let file = open(name);
            link::up(name);
            link::add_addr(name, v4.0.into(), v4.1);
            link::add_addr(name, v6.0.into(), v6.1);
            file
        });
        Tun { name: name.to_owned(), file, ns: ns.file(), inbox: Mutex::default() }
    }

    /// Sends the kernel's answers to any address here, so that the test may
    /// write segments from addresses outside the device's own network.
    pub fn default_routes(&self) {
        self.run(|| {
            link::default_route(&self.name, KERNEL_V4.into());
            if link::has_ipv6() {
                link::default_route(&self.name, KERNEL_V6.into());
            }
        });
    }

    /// Hands a packet to the kernel as it is. It has been worked on when this returns.
    pub fn write(&self, packet: &[u8]) -> std::io::Result<usize> {
        (&self.file).write(packet)
    }

    /// Runs `f` in the device's namespace.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        run_in(&self.ns, f)
    }

    /// Hands a segment to the kernel.
    pub fn send(&self, segment: &Segment) {
        let bytes = segment.to_bytes();
        let written =
            (&self.file).write(&bytes).unwrap_or_else(|e| panic!("write {segment:?} to {}: {e}", self.name));
        assert_eq!(written, bytes.len(), "short write to {}", self.name);
    }

    /// The next segment from the kernel, or None after `timeout`.
    pub fn recv(&self, timeout: Duration) -> Option<Segment> {
        self.recv_match(timeout, |_| true)
    }

    /// The next segment from the kernel that `wanted` accepts; others are kept
    /// for later calls. Packets that are not TCP are skipped.
    pub fn recv_match(&self, timeout: Duration, wanted: impl Fn(&Segment) -> bool) -> Option<Segment> {
        let deadline = Instant::now() + timeout;
        loop {
            {
                let mut inbox = self.inbox.lock().expect("no receiver panicked");
                self.drain(&mut inbox);
                if let Some(at) = inbox.iter().position(&wanted) {
                    return inbox.remove(at);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.wait(left.min(SLICE));
        }
    }

    /// Moves everything the kernel has sent to the inbox.
    fn drain(&self, inbox: &mut VecDeque<Segment>) {
        let mut packet = vec![0; 65536];
        loop {
            match (&self.file).read(&mut packet) {
                Ok(len) => inbox.extend(Segment::parse(&packet[..len])),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => panic!("read from {}: {e}", self.name),
            }
        }
        let old = inbox.len().saturating_sub(INBOX);
        inbox.drain(..old);
    }

    fn wait(&self, time: Duration) {
        let time = Timespec::try_from(time).expect("a short time");
        retry_on_intr(|| poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&time)))
            .unwrap_or_else(|e| panic!("poll {}: {e}", self.name));
    }
}

/// Opens the device in the calling thread's namespace.
fn open(name: &str) -> File {
    if !Path::new(DEVICE).exists() {
        // A guest without udev may have the driver but no node for it.
        fs::create_dir_all("/dev/net").expect("create /dev/net");
        mknodat(CWD, DEVICE, FileType::CharacterDevice, Mode::from(0o600), makedev(10, 200))
            .unwrap_or_else(|e| panic!("make {DEVICE}: {e}"));
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(DEVICE)
        .unwrap_or_else(|e| panic!("open {DEVICE} (driver loaded?): {e}"));
    set_interface(&file, name).unwrap_or_else(|e| panic!("make TUN device {name}: {e}"));
    // Less noise: no address of its own making, no router solicitations.
    for (knob, value) in [("autoconf", "0"), ("addr_gen_mode", "1")] {
        let path = format!("/proc/sys/net/ipv6/conf/{name}/{knob}");
        if link::has_ipv6() {
            fs::write(&path, value).unwrap_or_else(|e| panic!("{path}: {e}"));
        }
    }
    file
}

fn set_interface(file: &File, name: &str) -> std::io::Result<()> {
    assert!(name.len() < libc::IFNAMSIZ, "device name too long: {name}");
    // SAFETY: ifreq is plain old data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_flags = IFF_TUN | IFF_NO_PI;
    // SAFETY: the fd is open and TUNSETIFF reads and writes one ifreq, which outlives the call.
    match unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// The test's address in the family of the kernel's address.
pub fn peer_ip(v6: bool) -> IpAddr {
    if v6 { PEER_V6.into() } else { PEER_V4.into() }
}

/// The kernel's address of a family.
pub fn kernel_ip(v6: bool) -> IpAddr {
    if v6 { KERNEL_V6.into() } else { KERNEL_V4.into() }
}
