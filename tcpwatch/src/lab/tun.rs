//! A TUN device: whoever has it sees and writes every packet of the namespace that goes through it.
//!
//! The kernel owns 10.77.0.1 and `fd77::1`, the other side plays all other addresses.
//! As the kernel owns none of those, it never answers for them with an RST.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

use super::link;
use super::segment::Segment;
use super::trying;
use crate::kernel::make_tun;

/// The kernel's addresses, /24 and /64.
pub const KERNEL_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub const KERNEL_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
/// The usual addresses of the other side.
pub const PEER_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
pub const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);

pub const DEVICE: &str = "/dev/net/tun";
/// Segments kept for a receiver that has not asked yet; retransmissions that
/// nobody will ever ask for push the oldest out.
const INBOX: usize = 8192;
/// How soon a receiver sees a segment that another thread read for it.
const SLICE: Duration = Duration::from_millis(10);

/// A TUN device of the namespace that it was made in. It may be used by many threads at once.
#[derive(Debug)]
pub struct Tun {
    name: String,
    file: File,
    inbox: Mutex<VecDeque<Segment>>,
}

impl Tun {
    /// Makes the device with the usual addresses and sets it up.
    pub fn new(name: &str) -> io::Result<Self> {
        Self::with_addrs(name, (KERNEL_V4, 24), (KERNEL_V6, 64))
    }

    /// Makes the device with other addresses of the kernel.
    pub fn with_addrs(name: &str, v4: (Ipv4Addr, u8), v6: (Ipv6Addr, u8)) -> io::Result<Self> {
        let file = open(name)?;
        link::up(name)?;
        link::add_addr(name, v4.0.into(), v4.1)?;
        link::add_addr(name, v6.0.into(), v6.1)?;
        Ok(Self { name: name.to_owned(), file, inbox: Mutex::default() })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hands a packet to the kernel as it is. It has been worked on when this returns.
    pub fn write(&self, packet: &[u8]) -> io::Result<usize> {
        (&self.file).write(packet)
    }

    /// Hands a segment to the kernel.
    pub fn send(&self, segment: &Segment) -> io::Result<()> {
        let bytes = segment.to_bytes();
        let written = self.write(&bytes);
        match written.map_err(trying(format_args!("write {segment:?} to {}", self.name)))? {
            written if written == bytes.len() => Ok(()),
            _ => Err(io::Error::other(format!("{} took only a part of {segment:?}", self.name))),
        }
    }

    /// The next segment from the kernel that `wanted` accepts, or None after `timeout`; others are kept
    /// for later calls. Packets that are not TCP are skipped.
    pub fn recv_match(
        &self,
        timeout: Duration,
        wanted: impl Fn(&Segment) -> bool,
    ) -> io::Result<Option<Segment>> {
        let deadline = Instant::now() + timeout;
        loop {
            {
                // What another thread was about to add when it panicked is lost, no more.
                let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
                self.drain(&mut inbox).map_err(trying(format_args!("read from {}", self.name)))?;
                if let Some(at) = inbox.iter().position(&wanted) {
                    return Ok(inbox.remove(at));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.wait(left.min(SLICE)).map_err(trying(format_args!("wait for {}", self.name)))?;
        }
    }

    /// Moves everything the kernel has sent to the inbox.
    fn drain(&self, inbox: &mut VecDeque<Segment>) -> io::Result<()> {
        let mut packet = vec![0; 65536];
        loop {
            match (&self.file).read(&mut packet) {
                Ok(len) => inbox.extend(Segment::parse(&packet[..len])),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        let old = inbox.len().saturating_sub(INBOX);
        inbox.drain(..old);
        Ok(())
    }

    fn wait(&self, time: Duration) -> io::Result<()> {
        let time = Timespec::try_from(time).map_err(io::Error::other)?;
        retry_on_intr(|| poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&time)))?;
        Ok(())
    }
}

/// Opens the device in the calling thread's namespace.
fn open(name: &str) -> io::Result<File> {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(DEVICE);
    let file = opened.map_err(trying(format_args!("open {DEVICE} (is the driver loaded?)")))?;
    make_tun(&file, name).map_err(trying(format_args!("make the TUN device {name}")))?;
    // Less noise: no address of its own making, no router solicitations. Containers may not write there, and nobody
    // looks at what is no TCP.
    for (knob, value) in [("autoconf", "0"), ("addr_gen_mode", "1")] {
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/{knob}"), value);
    }
    Ok(file)
}

/// The other side's address in the family of the kernel's address.
pub fn peer_ip(v6: bool) -> IpAddr {
    if v6 { PEER_V6.into() } else { PEER_V4.into() }
}

/// The kernel's address of a family.
pub fn kernel_ip(v6: bool) -> IpAddr {
    if v6 { KERNEL_V6.into() } else { KERNEL_V4.into() }
}
