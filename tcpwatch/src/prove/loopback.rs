//! Scenes over the loopback device: they need no peer but this process.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tcpwatch_common::TcpState::{
    Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent, TimeWait,
};

use super::Scene;
use super::stage::{Pairs, Stage, Trouble, abort, fill, read_to_end, shut_down};
use crate::lab::sock;

/// The minimum: all of them together take every way that needs no other device.
pub const SCENES: &[Scene] = &[
    Scene { name: "client closes first", play: client_closes_first },
    Scene { name: "server closes first", play: server_closes_first },
    Scene { name: "half-close", play: half_close },
    Scene { name: "close() after shutdown()", play: closed_after_shutdown },
    Scene { name: "refused", play: refused },
    Scene { name: "abort", play: aborted },
    Scene { name: "abort after half-close", play: aborted_after_half_close },
    Scene { name: "listener closed before accept()", play: never_accepted },
    Scene { name: "connected to itself", play: connected_to_itself },
    Scene { name: "reset while a FIN waits", play: reset_while_a_fin_waits },
    Scene { name: "both close while a FIN waits", play: both_close },
    Scene { name: "last FIN waits", play: last_fin_waits },
];

/// What not every kernel can do.
pub const DESTROY: Scene = Scene { name: "listener destroyed", play: destroyed };

fn client_closes_first(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let Pairs { listener, clients, servers } = stage.pairs()?;
    close_in_turn(stage, clients, servers)?;
    stage.end(listener)
}

fn server_closes_first(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let Pairs { listener, clients, servers } = stage.pairs()?;
    close_in_turn(stage, servers, clients)?;
    stage.end(listener)
}

/// An orphan whose FIN is acknowledged is handed to a mini-socket, before the other side closes. A few may stay whole
/// until then, if the acknowledgement comes while `close()` still has the socket: netlink shows the same, and in the end
/// the same has happened.
fn close_in_turn<T, U>(stage: &mut Stage<'_>, first: Vec<T>, second: Vec<U>) -> Result<(), Trouble> {
    drop(first);
    stage.walk(&[Established, FinWait1, FinWait2, Close]);
    stage.ledger.mini(stage.times, FinWait2);
    stage.walk(&[Established, CloseWait]);
    stage.settle()?;
    drop(second);
    stage.walk(&[CloseWait, LastAck, Close]);
    stage.ledger.minis_end(stage.times);
    stage.settle()
}

/// The clients' side is closed, the other not yet.
fn half_closed(stage: &mut Stage<'_>) -> Result<Pairs, Trouble> {
    let pairs = stage.pairs()?;
    half_close_of(stage, &pairs)?;
    Ok(pairs)
}

pub fn half_close_of(stage: &mut Stage<'_>, pairs: &Pairs) -> Result<(), Trouble> {
    shut_down(&pairs.clients)?;
    stage.walk(&[Established, FinWait1, FinWait2]);
    stage.walk(&[Established, CloseWait]);
    stage.settle()
}

fn half_close(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let Pairs { listener, clients, servers } = half_closed(stage)?;
    drop(servers);
    stage.walk(&[CloseWait, LastAck, Close]);
    stage.walk(&[FinWait2, Close]);
    stage.ledger.mini(stage.times, TimeWait);
    stage.settle()?;
    drop(clients);
    stage.end(listener)
}

fn closed_after_shutdown(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let Pairs { listener, clients, servers } = half_closed(stage)?;
    drop(clients);
    stage.walk(&[FinWait2, FinWait2, Close]);
    stage.ledger.mini(stage.times, FinWait2);
    stage.settle()?;
    drop(servers);
    stage.walk(&[CloseWait, LastAck, Close]);
    stage.ledger.minis_end(stage.times);
    stage.settle()?;
    stage.end(listener)
}

fn refused(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let listener = stage.listen()?;
    let unused = listener.local_addr()?;
    stage.end(listener)?;
    for _ in 0..stage.times {
        match std::net::TcpStream::connect(unused) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Err(Trouble::Otherwise("a connection where nobody listens".into())),
        }
    }
    stage.walk(&[Close, SynSent, Close]);
    stage.settle()
}

fn aborted(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let Pairs { listener, clients, servers } = stage.pairs()?;
    abort(clients)?;
    stage.walk(&[Established, Close]);
    stage.walk(&[Established, Close]);
    stage.settle()?;
    drop(servers);
    stage.end(listener)
}

fn aborted_after_half_close(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let Pairs { listener, clients, servers } = half_closed(stage)?;
    abort(servers)?;
    stage.walk(&[CloseWait, Close]);
    stage.walk(&[FinWait2, Close]);
    stage.settle()?;
    drop(clients);
    stage.end(listener)
}

fn never_accepted(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let listener = stage.listen()?;
    let clients = (0..stage.times).map(|_| sock::connect_start(listener.local_addr()?));
    let clients = clients.collect::<std::io::Result<Vec<_>>>()?;
    stage.walk(&[Close, SynSent, Established]);
    stage.walk(&[Listen, SynRecv, Established]);
    stage.settle()?;
    stage.walk(&[Established, Close]);
    stage.walk(&[Established, Close]);
    stage.end(listener)?;
    drop(clients);
    stage.settle()
}

fn connected_to_itself(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let mut streams = Vec::new();
    for port in (20_000..).take(stage.times) {
        let address = SocketAddr::new(stage.ip, port);
        streams.push(sock::bind_connect(address, address)?);
    }
    stage.walk(&[Close, SynSent, SynRecv, Established]);
    stage.settle()?;
    drop(streams);
    stage.walk(&[Established, FinWait1, Closing, Close]);
    stage.ledger.mini(stage.times, TimeWait);
    stage.settle()
}

/// The clients' FINs wait behind data that the servers have no room for.
pub fn fin_waits(stage: &mut Stage<'_>) -> Result<Pairs, Trouble> {
    let pairs = stage.narrow_pairs()?;
    fill(&pairs.clients)?;
    shut_down(&pairs.clients)?;
    stage.walk(&[Established, FinWait1]);
    stage.settle()?;
    Ok(pairs)
}

/// FINs cross: the servers' arrive, the clients' still wait.
pub fn fins_cross(stage: &mut Stage<'_>) -> Result<Pairs, Trouble> {
    let pairs = fin_waits(stage)?;
    shut_down(&pairs.servers)?;
    stage.walk(&[Established, FinWait1, FinWait2]);
    stage.walk(&[FinWait1, Closing]);
    stage.settle()?;
    Ok(pairs)
}

/// The clients have closed, and the servers' FINs wait.
pub fn last_fin(stage: &mut Stage<'_>) -> Result<Pairs, Trouble> {
    let pairs = stage.narrow_pairs()?;
    fill(&pairs.servers)?;
    half_close_of(stage, &pairs)?;
    shut_down(&pairs.servers)?;
    stage.walk(&[CloseWait, LastAck]);
    stage.settle()?;
    Ok(pairs)
}

fn reset_while_a_fin_waits(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let Pairs { listener, clients, servers } = fin_waits(stage)?;
    drop(clients);
    stage.walk(&[FinWait1, FinWait1]);
    stage.settle()?;
    abort(servers)?;
    stage.walk(&[Established, Close]);
    stage.walk(&[FinWait1, Close]);
    stage.settle()?;
    stage.end(listener)
}

fn both_close(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let Pairs { listener, clients, servers } = fins_cross(stage)?;
    drop(clients);
    stage.walk(&[Closing, Closing]);
    stage.settle()?;
    read_to_end(&servers)?;
    stage.walk(&[Closing, Close]);
    stage.walk(&[FinWait2, Close]);
    stage.ledger.mini(2 * stage.times, TimeWait);
    stage.settle()?;
    drop(servers);
    stage.end(listener)
}

fn last_fin_waits(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let Pairs { listener, clients, servers } = last_fin(stage)?;
    drop(servers);
    stage.walk(&[LastAck, LastAck]);
    stage.settle()?;
    read_to_end(&clients)?;
    stage.walk(&[LastAck, Close]);
    stage.walk(&[FinWait2, Close]);
    stage.ledger.mini(stage.times, TimeWait);
    stage.settle()?;
    drop(clients);
    stage.end(listener)
}

/// The kernel takes the listener out of LISTEN and then aborts the closed socket.
fn destroyed(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let any = SocketAddr::new(if stage.ip.is_ipv6() { [0; 16].into() } else { [0; 4].into() }, 0);
    let mut listeners = Vec::new();
    for _ in 0..stage.times {
        let listener = stage.listen()?;
        let destroyed = sock::destroy(listener.local_addr()?, any);
        destroyed.map_err(|error| match error.kind() {
            ErrorKind::Unsupported => {
                std::io::Error::other("the kernel was built without CONFIG_INET_DIAG_DESTROY")
            }
            _ => error,
        })?;
        listeners.push(listener);
    }
    stage.walk(&[Listen, Close, Close]);
    stage.settle()
}
