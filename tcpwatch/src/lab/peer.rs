//! A scripted TCP peer: it sends only what it is told to, and answers nothing
//! by itself, so that a kernel socket can be held in any state.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::segment::{ACK, FIN, PSH, RST, SYN, Segment, flag_names};
use super::tun::Tun;

/// How long the kernel may take to send what is expected.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum segment size 1460.
const MSS: [u8; 4] = [2, 4, 0x05, 0xb4];
/// Initial sequence numbers grow, so that a reused 4-tuple is new to `TIME_WAIT`.
static NEXT_ISS: AtomicU32 = AtomicU32::new(0x1000_0000);

/// One end of one connection.
#[derive(Debug)]
pub struct Peer<'a> {
    tun: &'a Tun,
    pub local: SocketAddr,
    /// The kernel's end. Port 0 stands for any until a SYN from there is seen.
    pub remote: SocketAddr,
    /// The next sequence number to send.
    pub snd_nxt: u32,
    /// The next sequence number expected: all that `expect` has passed over
    /// counts as received and will be acknowledged by what is sent next.
    pub rcv_nxt: u32,
    /// The window in every segment sent; 0 makes the kernel probe.
    pub window: u16,
    iss: u32,
    /// The flags of the last SYN seen, None before any.
    syn_seen: Option<u8>,
}

impl<'a> Peer<'a> {
    pub fn new(tun: &'a Tun, local: SocketAddr, remote: SocketAddr) -> Peer<'a> {
        let iss = NEXT_ISS.fetch_add(0x1_0000, Ordering::Relaxed);
        Peer { tun, local, remote, snd_nxt: iss, rcv_nxt: 0, window: 65535, iss, syn_seen: None }
    }

    /// Sends a bare SYN. After the kernel's SYN that is a simultaneous open.
    pub fn syn(&mut self) -> io::Result<()> {
        self.syn_raw()?;
        self.snd_nxt = self.iss.wrapping_add(1);
        Ok(())
    }

    /// Sends the bare SYN without noting it: a duplicate, or one of a flood.
    pub fn syn_raw(&self) -> io::Result<()> {
        self.send(&Segment { seq: self.iss, ack: 0, options: MSS.to_vec(), ..self.segment(SYN) })
    }

    /// Sends SYN and ACK, the answer to the kernel's SYN.
    pub fn synack(&mut self) -> io::Result<()> {
        self.send(&Segment { seq: self.iss, options: MSS.to_vec(), ..self.segment(SYN | ACK) })?;
        self.snd_nxt = self.iss.wrapping_add(1);
        Ok(())
    }

    /// Acknowledges all that was received.
    pub fn ack(&self) -> io::Result<()> {
        self.send(&self.segment(ACK))
    }

    /// Sends data.
    pub fn data(&mut self, payload: &[u8]) -> io::Result<()> {
        self.send_next(&Segment { payload: payload.to_vec(), ..self.segment(PSH | ACK) })
    }

    /// Sends FIN, which also acknowledges all that was received.
    pub fn fin(&mut self) -> io::Result<()> {
        self.send_next(&self.segment(FIN | ACK))
    }

    /// Sends a reset the kernel accepts.
    pub fn rst(&self) -> io::Result<()> {
        self.send(&self.segment(RST | ACK))
    }

    /// The next segment in sequence, without data, to be changed and given to
    /// [`Peer::send`].
    pub fn segment(&self, flags: u8) -> Segment {
        Segment {
            src: self.local,
            dst: self.remote,
            seq: self.snd_nxt,
            ack: if flags & ACK == 0 { 0 } else { self.rcv_nxt },
            flags,
            window: self.window,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// Sends a segment as it is, without noting it.
    pub fn send(&self, segment: &Segment) -> io::Result<()> {
        if segment.dst.port() == 0 {
            return Err(io::Error::other("the kernel's port is not known yet"));
        }
        self.tun.send(segment)
    }

    fn send_next(&mut self, segment: &Segment) -> io::Result<()> {
        self.send(segment)?;
        self.snd_nxt = self.snd_nxt.wrapping_add(segment.len());
        Ok(())
    }

    /// Waits for a segment with just these flags (PSH apart), passing over
    /// others and over retransmissions. The error says what was seen instead.
    pub fn expect(&mut self, flags: u8) -> io::Result<Segment> {
        self.wait(flags, TIMEOUT)?.map_err(|seen| {
            let (local, flags) = (self.local, flag_names(flags));
            io::Error::other(format!("{local} waited for {flags}, but saw {seen:?}"))
        })
    }

    /// Like `expect` with a time of its own; else all segments seen meanwhile.
    pub fn wait(&mut self, flags: u8, timeout: Duration) -> io::Result<Result<Segment, Vec<Segment>>> {
        const COMPARED: u8 = FIN | SYN | RST | ACK;
        let deadline = Instant::now() + timeout;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(segment) = self.tun.recv_match(left, |s| self.is_mine(s))? else {
                return Ok(Err(seen));
            };
            if self.note(&segment) && segment.flags & COMPARED == flags & COMPARED {
                return Ok(Ok(segment));
            }
            seen.push(segment);
        }
    }

    fn is_mine(&self, segment: &Segment) -> bool {
        let port = self.remote.port();
        segment.dst == self.local
            && segment.src.ip() == self.remote.ip()
            && (segment.src.port() == port || port == 0 && segment.flags & SYN != 0)
    }

    /// Notes what the kernel sent. False for a retransmission.
    fn note(&mut self, segment: &Segment) -> bool {
        let end = segment.seq.wrapping_add(segment.len());
        if segment.flags & SYN != 0 {
            // In a simultaneous open SYN and then SYN-ACK come, of one sequence number.
            let again = self.syn_seen == Some(segment.flags);
            self.syn_seen = Some(segment.flags);
            if !again {
                self.rcv_nxt = end;
                self.remote = segment.src;
            }
            return !again;
        }
        if segment.seq == self.rcv_nxt {
            self.rcv_nxt = end;
            return true;
        }
        // A bare ACK or RST takes no sequence number and is never one.
        let behind = end.wrapping_sub(self.rcv_nxt).cast_signed() <= 0;
        segment.is_empty() || !behind
    }
}
