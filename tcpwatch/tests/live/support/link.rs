//! Network devices of the calling thread's namespace: those of `tcpwatch::lab`, with panics for errors, and what only
//! tests need.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

pub use tcpwatch::lab::link::has_ipv6;
use tcpwatch::lab::link::{self, RTM_NEWLINK, family_and_bytes, ifinfomsg};
use tcpwatch::lab::netlink::{Message, NLM_F_CREATE_EXCL};

const RTM_NEWROUTE: u16 = 24;

const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;

const RTA_OIF: u16 = 4;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;

/// Sets the device up.
pub fn up(name: &str) {
    link::up(name).unwrap_or_else(|e| panic!("{e}"));
}

/// Gives a device that is up an address. IPv6 is left out if the kernel has none.
pub fn add_addr(name: &str, addr: IpAddr, prefix: u8) {
    link::add_addr(name, addr, prefix).unwrap_or_else(|e| panic!("{e}"));
}

/// Routes everything of the address family of `like` through the device.
pub fn default_route(name: &str, like: IpAddr) {
    let (family, _) = family_and_bytes(like);
    // struct rtmsg: family, two prefix lengths, tos, table, protocol, scope, type, flags
    let mut body = vec![family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST];
    body.extend(0u32.to_ne_bytes());
    let mut message = Message::new(RTM_NEWROUTE, NLM_F_CREATE_EXCL, &body);
    let index = link::index(name).unwrap_or_else(|e| panic!("{e}"));
    message.attr(RTA_OIF, &index.to_ne_bytes());
    send("add a default route by", name, message);
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
    send("make", name, message);
}

fn send(what: &str, name: &str, message: Message) {
    link::send(what, name, message).unwrap_or_else(|e| panic!("{e}"));
}
