//! Network devices of the calling thread's namespace, by rtnetlink: what
//! `ip link`, `ip addr` and `ip route` would do.

use super::netlink::{self, Message, NLM_F_CREATE_EXCL};
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFF_UP: u32 = 1;

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;

const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// The address is usable at once, without duplicate address detection.
const IFA_F_NODAD: u8 = 0x02;

const RTA_OIF: u16 = 4;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;

/// Whether the kernel has IPv6 at all.
pub fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// Sets the device up.
pub fn up(name: &str) {
    send("set link up", name, Message::new(RTM_NEWLINK, 0, &ifinfomsg(index(name), IFF_UP, IFF_UP)));
}

/// Gives a device that is up an address. IPv6 is left out if the kernel has none.
pub fn add_addr(name: &str, addr: IpAddr, prefix: u8) {
    if addr.is_ipv6() && !has_ipv6() {
        return;
    }
    let (family, bytes) = family_and_bytes(addr);
    let flags = if addr.is_ipv6() { IFA_F_NODAD } else { 0 };
    // struct ifaddrmsg: family, prefix length, flags, scope, index
    let mut body = vec![family, prefix, flags, 0];
    body.extend(index(name).to_ne_bytes());
    let mut message = Message::new(RTM_NEWADDR, NLM_F_CREATE_EXCL, &body);
    message.attr(IFA_LOCAL, &bytes);
    message.attr(IFA_ADDRESS, &bytes);
    send("add address", name, message);
    if let IpAddr::V6(addr) = addr {
        await_local_route(addr);
    }
}

/// Waits for the route that makes the kernel take packets for its new address.
/// Even without duplicate address detection a kernel worker adds it, some time
/// after the address; a packet that comes sooner is lost.
fn await_local_route(addr: Ipv6Addr) {
    const RTF_LOCAL: u32 = 0x8000_0000;
    let dest = format!("{:032x} 80 ", u128::from(addr));
    let is_local = |line: &str| {
        let flags = line.split_whitespace().nth(8).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        line.starts_with(&dest) && flags.is_some_and(|flags| flags & RTF_LOCAL != 0)
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let routes = fs::read_to_string("/proc/thread-self/net/ipv6_route").expect("read the IPv6 routes");
        if routes.lines().any(is_local) {
            return;
        }
        assert!(Instant::now() < deadline, "no local route to {addr} in\n{routes}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Routes everything of the address family of `like` through the device.
pub fn default_route(name: &str, like: IpAddr) {
    let (family, _) = family_and_bytes(like);
    // struct rtmsg: family, two prefix lengths, tos, table, protocol, scope, type, flags
    let mut body = vec![family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST];
    body.extend(0u32.to_ne_bytes());
    let mut message = Message::new(RTM_NEWROUTE, NLM_F_CREATE_EXCL, &body);
    message.attr(RTA_OIF, &index(name).to_ne_bytes());
    send("add default route", name, message);
}

/// Makes a veth pair: one end here, the other in the namespace `peer_ns`.
pub fn new_veth(name: &str, peer_name: &str, peer_ns: BorrowedFd<'_>) {
    let mut message = Message::new(RTM_NEWLINK, NLM_F_CREATE_EXCL, &ifinfomsg(0, 0, 0));
    message.attr_str(IFLA_IFNAME, name);
    let info = message.open(IFLA_LINKINFO);
    message.attr_str(IFLA_INFO_KIND, "veth");
    let data = message.open(IFLA_INFO_DATA);
    let peer = message.open(VETH_INFO_PEER);
    message.bytes(&ifinfomsg(0, 0, 0));
    message.attr_str(IFLA_IFNAME, peer_name);
    message.attr(IFLA_NET_NS_FD, &peer_ns.as_raw_fd().to_ne_bytes());
    message.close(peer);
    message.close(data);
    message.close(info);
    send("make veth", name, message);
}

/// struct ifinfomsg: family, padding, type, index, flags, mask of changed flags.
fn ifinfomsg(index: u32, flags: u32, change: u32) -> Vec<u8> {
    [0, index, flags, change].iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn index(name: &str) -> u32 {
    let any_socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .expect("open a socket");
    netdevice::name_to_index(&any_socket, name).unwrap_or_else(|e| panic!("no network device {name}: {e}"))
}

fn family_and_bytes(addr: IpAddr) -> (u8, Vec<u8>) {
    match addr {
        IpAddr::V4(addr) => (AF_INET, addr.octets().to_vec()),
        IpAddr::V6(addr) => (AF_INET6, addr.octets().to_vec()),
    }
}

fn send(what: &str, name: &str, message: Message) {
    // Protocol 0 of netlink is the routing protocol.
    netlink::request(None, message).unwrap_or_else(|e| panic!("{what} {name}: {e}"));
}
