//! Network devices of the calling thread's namespace, by rtnetlink: what `ip link` and `ip addr` would do.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

use super::netlink::{self, Message, NLM_F_CREATE_EXCL};
use super::trying;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFF_UP: u32 = 1;

pub const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// The address is usable at once, without duplicate address detection.
const IFA_F_NODAD: u8 = 0x02;

/// Whether the kernel has IPv6 at all.
pub fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// Sets the device up.
pub fn up(name: &str) -> io::Result<()> {
    let body = ifinfomsg(index(name)?, IFF_UP, IFF_UP);
    send("set up", name, Message::new(RTM_NEWLINK, 0, &body))
}

/// Gives a device that is up an address. IPv6 is left out if the kernel has none.
pub fn add_addr(name: &str, addr: IpAddr, prefix: u8) -> io::Result<()> {
    if addr.is_ipv6() && !has_ipv6() {
        return Ok(());
    }
    let (family, bytes) = family_and_bytes(addr);
    let flags = if addr.is_ipv6() { IFA_F_NODAD } else { 0 };
    // struct ifaddrmsg: family, prefix length, flags, scope, index
    let mut body = vec![family, prefix, flags, 0];
    body.extend(index(name)?.to_ne_bytes());
    let mut message = Message::new(RTM_NEWADDR, NLM_F_CREATE_EXCL, &body);
    message.attr(IFA_LOCAL, &bytes);
    message.attr(IFA_ADDRESS, &bytes);
    send(&format!("give the address {addr} to"), name, message)?;
    match addr {
        IpAddr::V6(addr) => await_local_route(addr),
        IpAddr::V4(_) => Ok(()),
    }
}

/// Waits for the route that makes the kernel take packets for its new address.
/// Even without duplicate address detection a kernel worker adds it, some time
/// after the address; a packet that comes sooner is lost.
fn await_local_route(addr: Ipv6Addr) -> io::Result<()> {
    const ROUTES: &str = "/proc/thread-self/net/ipv6_route";
    const RTF_LOCAL: u32 = 0x8000_0000;
    let dest = format!("{:032x} 80 ", u128::from(addr));
    let is_local = |line: &str| {
        let flags = line.split_whitespace().nth(8).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        line.starts_with(&dest) && flags.is_some_and(|flags| flags & RTF_LOCAL != 0)
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let routes = fs::read_to_string(ROUTES).map_err(trying(format_args!("read {ROUTES}")))?;
        if routes.lines().any(is_local) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(io::Error::other(format!(
                "no local route to {addr} appeared in {ROUTES}:\n{routes}"
            )));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// struct ifinfomsg: family, padding, type, index, flags, mask of changed flags.
pub fn ifinfomsg(index: u32, flags: u32, change: u32) -> Vec<u8> {
    [0, index, flags, change].iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// The number of a device.
pub fn index(name: &str) -> io::Result<u32> {
    let any_socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let index = netdevice::name_to_index(&any_socket, name);
    index.map_err(io::Error::from).map_err(trying(format_args!("find the network device {name}")))
}

/// The number of the address family, and the bytes of the address.
pub fn family_and_bytes(addr: IpAddr) -> (u8, Vec<u8>) {
    match addr {
        IpAddr::V4(addr) => (AF_INET, addr.octets().to_vec()),
        IpAddr::V6(addr) => (AF_INET6, addr.octets().to_vec()),
    }
}

/// Asks the kernel for something about a device.
pub fn send(what: &str, name: &str, message: Message) -> io::Result<()> {
    // Protocol 0 of netlink is the routing protocol.
    netlink::request(None, message).map_err(trying(format_args!("{what} the network device {name}")))
}
