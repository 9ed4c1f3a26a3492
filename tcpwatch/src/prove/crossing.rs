//! Scenes with a scripted peer behind a TUN device: what two kernels do only if their segments cross on the way.

use std::io;
use std::net::{SocketAddr, TcpStream};

use tcpwatch_common::TcpState::{Close, Closing, Established, FinWait1, SynRecv, SynSent, TimeWait};

use super::Scene;
use super::stage::{Stage, Trouble};
use crate::lab::peer::Peer;
use crate::lab::segment::{ACK, FIN, SYN};
use crate::lab::sock;
use crate::lab::tun::{kernel_ip, peer_ip};

pub const SCENES: &[Scene] = &[
    Scene { name: "simultaneous open and close (TUN)", play: open_and_close },
    Scene { name: "close() during simultaneous open (TUN)", play: closed_while_opening },
    Scene { name: "RST during simultaneous open (TUN)", play: reset_while_opening },
];

/// Sockets whose SYN met one of the peer: they are in SYN_RECV.
fn opening<'a>(stage: &mut Stage<'a>) -> Result<Vec<(Peer<'a>, TcpStream)>, Trouble> {
    let Some(tun) = stage.tun else {
        return Err(io::Error::other("there is no TUN device").into());
    };
    let v6 = stage.ip.is_ipv6();
    let mut ends = Vec::new();
    for port in (10_000..).take(stage.times) {
        let local = SocketAddr::new(peer_ip(v6), port);
        let mut peer = Peer::new(tun, local, SocketAddr::new(kernel_ip(v6), 0));
        let stream = sock::connect_start(local)?;
        peer.expect(SYN)?;
        peer.syn()?;
        peer.expect(SYN | ACK)?;
        ends.push((peer, stream));
    }
    stage.walk(&[Close, SynSent, SynRecv]);
    stage.settle()?;
    Ok(ends)
}

fn open_and_close(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let ends = opening(stage)?;
    ends.iter().try_for_each(|(peer, _)| peer.ack())?;
    stage.walk(&[SynRecv, Established]);
    stage.settle()?;
    let mut peers: Vec<_> = ends.into_iter().map(|(peer, _closed)| peer).collect();
    stage.walk(&[Established, FinWait1]);
    stage.settle()?;
    // The kernel's FIN is out but not looked at, so this one does not acknowledge it.
    peers.iter_mut().try_for_each(Peer::fin)?;
    stage.walk(&[FinWait1, Closing]);
    stage.settle()?;
    for peer in &mut peers {
        peer.expect(FIN | ACK)?;
        peer.ack()?;
    }
    stage.walk(&[Closing, Close]);
    stage.ledger.mini(stage.times, TimeWait);
    stage.settle()
}

fn closed_while_opening(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let ends = opening(stage)?;
    let peers: Vec<_> = ends.into_iter().map(|(peer, _closed)| peer).collect();
    stage.walk(&[SynRecv, FinWait1]);
    stage.settle()?;
    peers.iter().try_for_each(Peer::rst)?;
    stage.walk(&[FinWait1, Close]);
    stage.settle()
}

fn reset_while_opening(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let ends = opening(stage)?;
    ends.iter().try_for_each(|(peer, _)| peer.rst())?;
    stage.walk(&[SynRecv, Close]);
    stage.settle()
}
