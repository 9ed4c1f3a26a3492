//! Scenes that end with sockets held in a state.
//!
//! None needs a silent peer: a FIN behind data that the other side has no room for is not sent, a listener whose queue
//! is full answers no SYN, and one that defers `accept()` keeps a connection as a half-open request.

use std::time::Duration;

use tcpwatch_common::TcpState::{
    Close, CloseWait, Established, FinWait2, LastAck, Listen, SynRecv, SynSent, TimeWait,
};

use super::Scene;
use super::loopback::{fin_waits, fins_cross, half_close_of, last_fin};
use super::stage::{Pairs, Stage, Trouble};
use crate::kernel::defer_accept;
use crate::lab::sock;

const PATIENCE: Duration = Duration::from_secs(5);
/// Longer than any proof takes.
const DEFERRED_SECONDS: i32 = 100;
/// Connections that the queue of a listener with a backlog of 1 holds.
const QUEUED: usize = 2;

pub const SCENES: &[Scene] = &[
    Scene { name: "hold LISTEN", play: listen },
    Scene { name: "hold SYN_SENT", play: syn_sent },
    Scene { name: "hold SYN_RECV and ESTABLISHED", play: syn_recv },
    Scene { name: "hold FIN_WAIT1 and ESTABLISHED", play: fin_wait1 },
    Scene { name: "hold FIN_WAIT2 and CLOSE_WAIT", play: fin_wait2 },
    Scene { name: "hold orphans in FIN_WAIT2", play: orphans },
    Scene { name: "hold CLOSING and FIN_WAIT2", play: closing },
    Scene { name: "hold LAST_ACK and FIN_WAIT2", play: last_ack },
    Scene { name: "hold TIME_WAIT", play: time_wait },
];

/// Descriptors that one of each takes at most.
pub const DESCRIPTORS: usize = 14;

fn listen(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    for _ in 0..stage.times {
        let listener = stage.listen()?;
        stage.keep([listener])?;
    }
    stage.settle()
}

fn syn_sent(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let full = stage.listen_for(1)?;
    let address = full.local_addr()?;
    stage.keep([full])?;
    for _ in 0..QUEUED {
        let queued = sock::connect_within(address, PATIENCE, |_| Ok(()))?;
        stage.keep([queued])?;
    }
    stage.ledger.walk(QUEUED, &[Close, SynSent, Established]);
    stage.ledger.walk(QUEUED, &[Listen, SynRecv, Established]);
    stage.settle()?;
    for _ in 0..stage.times {
        let unanswered = sock::connect_start(address)?;
        stage.keep([unanswered])?;
    }
    stage.walk(&[Close, SynSent]);
    stage.settle()
}

fn syn_recv(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let listener = stage.listen()?;
    defer_accept(&listener, DEFERRED_SECONDS)?;
    for _ in 0..stage.times {
        let client = sock::connect_within(listener.local_addr()?, PATIENCE, |_| Ok(()))?;
        stage.keep([client])?;
    }
    stage.keep([listener])?;
    stage.walk(&[Close, SynSent, Established]);
    stage.ledger.mini(stage.times, SynRecv);
    stage.settle()
}

fn fin_wait1(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let pairs = fin_waits(stage)?;
    keep(stage, pairs)
}

fn fin_wait2(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let pairs = stage.pairs()?;
    half_close_of(stage, &pairs)?;
    keep(stage, pairs)
}

/// Shut down before they are closed: a `close()` that meets the acknowledgement of its FIN on another CPU leaves a whole
/// socket for a minute, and not a mini-socket.
fn orphans(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let pairs = stage.pairs()?;
    half_close_of(stage, &pairs)?;
    let Pairs { listener, clients, servers } = pairs;
    drop(clients);
    stage.walk(&[FinWait2, FinWait2, Close]);
    stage.ledger.mini(stage.times, FinWait2);
    stage.keep(servers)?;
    stage.keep([listener])?;
    stage.settle()
}

fn closing(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let pairs = fins_cross(stage)?;
    keep(stage, pairs)
}

fn last_ack(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let pairs = last_fin(stage)?;
    keep(stage, pairs)
}

fn time_wait(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let pairs = stage.pairs()?;
    half_close_of(stage, &pairs)?;
    drop(pairs.servers);
    stage.walk(&[CloseWait, LastAck, Close]);
    stage.walk(&[FinWait2, Close]);
    stage.ledger.mini(stage.times, TimeWait);
    stage.settle()?;
    drop(pairs.clients);
    stage.end(pairs.listener)
}

fn keep(stage: &mut Stage<'_>, Pairs { listener, clients, servers }: Pairs) -> Result<(), Trouble> {
    stage.keep([listener])?;
    stage.keep(clients)?;
    stage.keep(servers)
}
