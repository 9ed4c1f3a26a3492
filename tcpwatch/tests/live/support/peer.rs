//! The scripted TCP peer of `tcpwatch::lab`, with panics for errors.

use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use tcpwatch::lab::peer;
use tcpwatch::lab::segment::{ACK, SYN, Segment};

use super::tun::Tun;

/// One end of one connection.
pub struct Peer<'a>(peer::Peer<'a>);

/// Its addresses, its sequence numbers and its window.
impl<'a> Deref for Peer<'a> {
    type Target = peer::Peer<'a>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Peer<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<'a> Peer<'a> {
    pub fn new(tun: &'a Tun, local: SocketAddr, remote: SocketAddr) -> Peer<'a> {
        Peer(peer::Peer::new(&tun.device, local, remote))
    }

    /// Sends a bare SYN. After the kernel's SYN that is a simultaneous open.
    pub fn syn(&mut self) {
        done(self.0.syn());
    }

    /// Sends the bare SYN without noting it: a duplicate, or one of a flood.
    pub fn syn_raw(&self) {
        done(self.0.syn_raw());
    }

    /// Sends SYN and ACK, the answer to the kernel's SYN.
    pub fn synack(&mut self) {
        done(self.0.synack());
    }

    /// Acknowledges all that was received.
    pub fn ack(&self) {
        done(self.0.ack());
    }

    /// Sends data.
    pub fn data(&mut self, payload: &[u8]) {
        done(self.0.data(payload));
    }

    /// Sends FIN, which also acknowledges all that was received.
    pub fn fin(&mut self) {
        done(self.0.fin());
    }

    /// Sends a reset the kernel accepts.
    pub fn rst(&self) {
        done(self.0.rst());
    }

    /// Sends a segment as it is, without noting it.
    pub fn send(&self, segment: &Segment) {
        done(self.0.send(segment));
    }

    /// Waits for a segment with just these flags (PSH apart), passing over
    /// others and over retransmissions. Panics with what was seen instead.
    pub fn expect(&mut self, flags: u8) -> Segment {
        done(self.0.expect(flags))
    }

    /// Like `expect` with a time of its own; else all segments seen meanwhile.
    pub fn wait(&mut self, flags: u8, timeout: Duration) -> Result<Segment, Vec<Segment>> {
        done(self.0.wait(flags, timeout))
    }

    /// Opens a connection to a listening socket of the kernel.
    pub fn connect_to_kernel(&mut self) {
        self.syn();
        self.expect(SYN | ACK);
        self.ack();
    }

    /// Accepts a connection that the kernel has begun or is about to begin.
    pub fn accept_from_kernel(&mut self) {
        self.expect(SYN);
        self.synack();
        self.expect(ACK);
    }

    /// Answers the kernel's SYN as if both sides had begun: `SYN_SENT`, `SYN_RECV`,
    /// ESTABLISHED on its side.
    pub fn open_simultaneously(&mut self) {
        self.expect(SYN);
        self.syn();
        self.expect(SYN | ACK);
        self.ack();
    }
}

#[track_caller]
fn done<T>(done: io::Result<T>) -> T {
    done.unwrap_or_else(|e| panic!("{e}"))
}
