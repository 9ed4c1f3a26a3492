//! Remote ends that something goes wrong with.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use tcpwatch::sample::{RemoteSample, Sample};
use tcpwatch_common::failure::ConnectFailure;

use super::Host;
use crate::support::netns::Netns;
use crate::support::peer::Peer;
use crate::support::sock;
use crate::support::tun::{Tun, kernel_ip, peer_ip};

fn at(sample: &Sample, ns: &Netns, remote: SocketAddr) -> Option<RemoteSample> {
    let is = |found: &&RemoteSample| {
        found.netns == ns.inode()
            && (found.address, found.port) == (remote.ip(), remote.port())
            && !found.is_client
    };
    sample.remotes.iter().find(is).cloned()
}

#[test]
fn refused_connects_are_counted_by_service() {
    let ns = Netns::new("refused");
    let mut host = Host::open();
    let before = host.sample().host.expect("eBPF").connect_failures[ConnectFailure::Refused as usize];
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    for _ in 0..7 {
        ns.run(|| TcpStream::connect(nobody)).expect_err("nobody listens");
    }
    let remote = host.until("the remote", |sample| at(sample, &ns, nobody));
    assert_eq!(remote.counts.failures[ConnectFailure::Refused as usize], 7);
    assert_eq!(remote.counts.resets_received, 7);
    assert_eq!(remote.pid, Some(std::process::id()));
    let after = host.sample().host.expect("eBPF").connect_failures[ConnectFailure::Refused as usize];
    assert!(after - before >= 7, "{before} to {after}");
}

#[test]
fn retransmits_are_told_by_cause() {
    let ns = Netns::new("again");
    let tun = Tun::new(&ns, "tun0");
    let mut host = Host::open();
    let remote = SocketAddr::new(peer_ip(false), 30_100);
    let mut peer = Peer::new(&tun, remote, SocketAddr::new(kernel_ip(false), 0));
    let mut stream = ns.run(|| sock::connect_start(remote)).expect("connect");
    peer.accept_from_kernel();
    std::io::Write::write_all(&mut stream, b"lost").expect("write");
    let found =
        host.until("timeouts", |sample| at(sample, &ns, remote).filter(|remote| remote.counts.timeout >= 2));
    // The probe comes first, then timeouts with doubling.
    assert!(found.counts.probe <= 2 && found.counts.fast == 0, "{found:?}");
    let quiet = SocketAddr::new(peer_ip(false), 30_101);
    let _unanswered = ns.run(|| sock::connect_start(quiet)).expect("connect");
    let syn = host.until("a SYN again", |sample| at(sample, &ns, quiet));
    assert!(syn.counts.syn >= 1 && syn.counts.data() == 0, "{syn:?}");
}
