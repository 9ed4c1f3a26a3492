//! One socket as a line: each cell from what is known of the socket.

use tcpwatch_common::TcpState;
use tcpwatch_common::host::Role;

use super::columns::Column;
use super::{text, vitals};
use crate::process::{KERNEL, Process};
use crate::sample::SocketSample;

/// What is shown of a socket that is not in the sample.
#[derive(Clone, Copy, Default)]
pub(super) struct Beside<'a> {
    pub(super) owner: Option<&'a Process>,
    /// The name of the socket's user.
    pub(super) user: Option<&'a str>,
    /// What the namespace is called.
    pub(super) netns: Option<&'a str>,
}

/// Stands where something is not known, or does not exist.
const UNKNOWN: &[u8] = b"-";

/// Appends one cell, as long as it is.
pub(super) fn cell(out: &mut Vec<u8>, column: Column, socket: &SocketSample, beside: Beside<'_>) {
    let before = out.len();
    match column {
        Column::State => {
            let (word, length) = STATES[socket.state.index()];
            text::word(out, &word, length);
        }
        Column::RecvQueue => maybe(out, socket.recv_queue),
        Column::SendQueue => maybe(out, socket.send_queue),
        Column::Local => text::end(out, socket.local),
        Column::Remote if socket.remote.port() == 0 => out.push(b'*'),
        Column::Remote => text::end(out, socket.remote),
        Column::Age => socket.age.iter().for_each(|age| text::duration(out, *age)),
        Column::Lifetime => socket.lifetime.iter().for_each(|lifetime| text::duration(out, *lifetime)),
        Column::Rtt => socket.rtt.iter().for_each(|rtt| text::duration(out, *rtt)),
        Column::Role => socket.role.iter().for_each(|role: &Role| plain(out, role.name())),
        Column::Retransmits => maybe(out, socket.retransmits),
        Column::Keepalive => {
            socket.keepalive.iter().for_each(|on| plain(out, if *on { "on" } else { "off" }));
        }
        Column::Owner if socket.is_kernels() => plain(out, KERNEL),
        Column::Pid | Column::Process if socket.is_kernels() => {}
        Column::Owner => {
            beside.owner.and_then(|owner| owner.command.as_deref()).iter().for_each(|name| plain(out, name));
            if let Some(pid) = socket.pid {
                out.push(b'[');
                text::number(out, pid.into());
                out.push(b']');
            }
        }
        Column::Pid => maybe(out, socket.pid.map(u64::from)),
        Column::Process => {
            beside.owner.and_then(|owner| owner.command.as_deref()).iter().for_each(|name| plain(out, name));
        }
        Column::Container => {
            if let Some(container) = beside.owner.and_then(|owner| owner.container.as_ref()) {
                plain(out, &container.place());
            }
        }
        Column::User => match (beside.user, socket.uid) {
            (Some(name), _) => plain(out, name),
            (None, uid) => maybe(out, uid.map(u64::from)),
        },
        Column::Netns => match beside.netns {
            Some(name) => plain(out, name),
            None => text::number(out, socket.netns),
        },
        Column::Inode => maybe(out, socket.inode),
        column => vitals::cell(out, column, &socket.vitals),
    }
    if out.len() == before {
        out.extend_from_slice(UNKNOWN);
    }
}

/// What each state is called, and how long that is.
static STATES: [([u8; 16], usize); TcpState::COUNT] = {
    let mut words = [([0; 16], 0); TcpState::COUNT];
    let mut number = 0;
    while number < words.len() {
        let name = state(TcpState::ALL[number]).as_bytes();
        let mut place = 0;
        while place < name.len() {
            words[number].0[place] = name[place];
            place += 1;
        }
        words[number].1 = name.len();
        number += 1;
    }
    words
};

/// Half-open requests are called as `ss` calls them.
pub(super) const fn state(state: TcpState) -> &'static str {
    match state {
        TcpState::NewSynRecv => TcpState::SynRecv.name(),
        state => state.name(),
    }
}

pub(super) fn maybe(out: &mut Vec<u8>, value: Option<u64>) {
    if let Some(value) = value {
        text::number(out, value);
    }
}

/// Names come from others: nothing in them may steer a terminal, and a line stays a line of words.
pub(super) fn plain(out: &mut Vec<u8>, name: &str) {
    out.extend(name.bytes().map(|byte| if byte <= b' ' || byte == 0x7f { b'?' } else { byte }));
}

/// The width on a terminal of what `cell` wrote: a character each.
pub(super) fn width(cell: &[u8]) -> usize {
    cell.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}
