//! Bytes of the socket diagnosis protocol, both directions.
//!
//! Requests are `nlmsghdr` + `inet_diag_req_v2`, answers `nlmsghdr` +
//! `inet_diag_msg`, all in native byte order but for ports and addresses.
//! Every length in an answer is checked; what does not fit is an error.

use super::diag::{DiagError, DiagSocket};
use std::io;
use std::net::{IpAddr, SocketAddr};

pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

const IPPROTO_TCP: u8 = 6;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x1 | 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

const HEADER: usize = 16;
const REQUEST: usize = HEADER + 56;
/// Size of `struct inet_diag_msg`; attributes may follow.
const BODY: usize = 72;

/// A dump request for the TCP sockets of one family in the states of the mask.
pub(super) fn request(family: u8, states: u32, seq: u32) -> [u8; REQUEST] {
    let mut out = [0; REQUEST];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &72_u32.to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &NLM_F_REQUEST_DUMP.to_ne_bytes());
    put(8, &seq.to_ne_bytes());
    put(HEADER, &[family, IPPROTO_TCP]);
    put(HEADER + 4, &states.to_ne_bytes());
    // The rest is a socket id that a dump takes as "any" when zero.
    out
}

/// What a received datagram said about the dump as a whole.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub done: bool,
    pub interrupted: bool,
}

/// Reads all messages of one datagram and hands every socket to `each`.
pub(super) fn read(
    datagram: &[u8],
    seq: u32,
    each: &mut impl FnMut(&DiagSocket),
) -> Result<Progress, DiagError> {
    let mut progress = Progress::default();
    let mut rest = datagram;
    while !rest.is_empty() {
        let at = datagram.len() - rest.len();
        let fail = |problem| DiagError::Malformed { at, problem };
        let header: &[u8; HEADER] = rest.first_chunk().ok_or(fail("cut short in a header"))?;
        let len = u32_at(header, 0) as usize;
        let body =
            rest.get(HEADER..len).ok_or(fail("a message longer than what was received, or too short"))?;
        // Messages start at multiples of 4; the padding of the last may lack.
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        if u32_at(header, 8) != seq {
            return Err(fail("an answer to another request"));
        }
        let flags = u16::from_ne_bytes([header[6], header[7]]);
        progress.interrupted |= flags & NLM_F_DUMP_INTR != 0;
        match u16::from_ne_bytes([header[4], header[5]]) {
            SOCK_DIAG_BY_FAMILY => each(&socket(body).map_err(fail)?),
            NLMSG_DONE => {
                // A dump that failed on its way says so here.
                if let Some(code) = body.first_chunk() {
                    check(*code)?;
                }
                progress.done = true;
                break;
            }
            NLMSG_ERROR => {
                let code = body.first_chunk().ok_or(fail("an error without a code"))?;
                check(*code)?;
            }
            NLMSG_NOOP => {}
            _ => return Err(fail("a message of unknown type")),
        }
    }
    Ok(progress)
}

/// A negative errno from the kernel, 0 meaning success.
fn check(code: [u8; 4]) -> Result<(), DiagError> {
    const ENOENT: i32 = 2;
    match i32::from_ne_bytes(code).wrapping_neg() {
        0 => Ok(()),
        errno => {
            let source = io::Error::from_raw_os_error(errno);
            Err(match errno {
                // No handler for the family, or none for TCP.
                ENOENT => DiagError::Unsupported { source },
                _ => DiagError::Refused { source },
            })
        }
    }
}

fn socket(body: &[u8]) -> Result<DiagSocket, &'static str> {
    let body: &[u8; BODY] = body.first_chunk().ok_or("a socket cut short")?;
    let [family, state, timer, retransmits, ..] = *body;
    if !(1..=12).contains(&state) {
        return Err("a socket in a state that does not exist");
    }
    let endpoint = |port: usize, address: usize| {
        let ip = match family {
            AF_INET => IpAddr::from(bytes::<4>(body, address)),
            AF_INET6 => IpAddr::from(bytes::<16>(body, address)),
            _ => return Err("a socket of an unknown family"),
        };
        Ok(SocketAddr::new(ip, u16::from_be_bytes(bytes(body, port))))
    };
    Ok(DiagSocket {
        family,
        state,
        timer,
        retransmits,
        local: endpoint(4, 8)?,
        remote: endpoint(6, 24)?,
        cookie: u64::from(u32_at(body, 44)) | u64::from(u32_at(body, 48)) << 32,
        expires_ms: u32_at(body, 52),
        rqueue: u32_at(body, 56),
        wqueue: u32_at(body, 60),
        uid: u32_at(body, 64),
        inode: u32_at(body, 68),
    })
}

/// `N` bytes of a structure whose size has been checked.
fn bytes<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|i| from[at + i])
}

fn u32_at(from: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes(from, at))
}

#[cfg(test)]
#[path = "diag_wire_tests.rs"]
mod tests;
