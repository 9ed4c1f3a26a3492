//! The order that is asked for: only as many sockets are kept as are shown.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::columns::Column;
use super::line::Beside;
use super::vitals;
use crate::sample::SocketSample;

/// A column, and whether its order is turned around.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) column: Column,
    pub(super) is_reversed: bool,
}

/// The first so many sockets in an order.
pub(super) struct First {
    order: Order,
    limit: usize,
    /// The last of them on top, to be replaced by one that comes before it.
    heap: BinaryHeap<Kept>,
}

struct Kept {
    key: Key,
    socket: SocketSample,
}

/// What sockets are ordered by. What is not known comes last, whichever way round.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    is_unknown: bool,
    is_reversed: bool,
    number: u128,
    port: u16,
    text: String,
}

impl First {
    pub(super) fn new(order: Order, limit: usize) -> Self {
        Self { order, limit, heap: BinaryHeap::new() }
    }

    pub(super) fn add(&mut self, socket: &SocketSample, beside: Beside<'_>) {
        let key = Key::new(self.order, socket, beside);
        let kept = Kept { key, socket: *socket };
        if self.heap.len() < self.limit {
            self.heap.push(kept);
        } else if let Some(mut last) = self.heap.peek_mut()
            && kept < *last
        {
            *last = kept;
        }
    }

    pub(super) fn into_sorted(self) -> Vec<SocketSample> {
        self.heap.into_sorted_vec().into_iter().map(|kept| kept.socket).collect()
    }
}

impl Key {
    fn new(order: Order, socket: &SocketSample, beside: Beside<'_>) -> Self {
        let mut key = Self {
            is_unknown: false,
            is_reversed: order.is_reversed,
            number: 0,
            port: 0,
            text: String::new(),
        };
        let time = |time: Option<Duration>| time.map(|time| time.as_nanos());
        let size = |size: Option<u64>| size.map(u128::from);
        // Of numbers the largest are of interest, so they come first.
        let largest = match order.column {
            Column::State => {
                key.number = socket.state.index() as u128;
                return key;
            }
            Column::Local | Column::Remote => {
                let end = if order.column == Column::Local { socket.local } else { socket.remote };
                (key.number, key.port) = place(end);
                key.is_unknown = end.port() == 0;
                return key;
            }
            Column::Netns => {
                key.number = socket.netns.into();
                return key;
            }
            Column::Owner | Column::Process | Column::Container | Column::User => {
                let owner = beside.owner;
                let name = match order.column {
                    Column::Container => owner.and_then(|owner| Some(owner.container.as_ref()?.place())),
                    Column::User => beside.user.map(Into::into),
                    _ => owner.and_then(|owner| owner.command.as_deref()).map(Into::into),
                };
                key.is_unknown = name.is_none();
                key.text = name.unwrap_or_default().into_owned();
                key.number = socket.pid.unwrap_or(0).into();
                return key;
            }
            Column::RecvQueue => size(socket.recv_queue),
            Column::SendQueue => size(socket.send_queue),
            Column::Retransmits => size(socket.retransmits),
            Column::Pid => size(socket.pid.filter(|_| !socket.is_kernels()).map(u64::from)),
            Column::Inode => size(socket.inode),
            Column::Age => time(socket.age),
            Column::Lifetime => time(socket.lifetime),
            Column::Rtt => time(socket.rtt),
            Column::Keepalive => socket.keepalive.map(u128::from),
            Column::Role => socket.role.map(|role| role as u128),
            column => vitals::key(&socket.vitals, column),
        };
        key.is_unknown = largest.is_none();
        key.number = !largest.unwrap_or(0);
        key
    }
}

fn place(end: SocketAddr) -> (u128, u16) {
    let ip = match end.ip() {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    (ip, end.port())
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        // Names come before numbers: the text is empty where it does not count.
        let whole = |key: &Self| (key.number, key.port);
        let known = self.text.cmp(&other.text).then_with(|| whole(self).cmp(&whole(other)));
        let known = if self.is_reversed { known.reverse() } else { known };
        self.is_unknown.cmp(&other.is_unknown).then(known)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> Ordering {
        let rest = |kept: &Self| (kept.socket.netns, kept.socket.local, kept.socket.remote, kept.socket.id);
        self.key.cmp(&other.key).then_with(|| rest(self).cmp(&rest(other)))
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Kept {}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpwatch_common::TcpState;

    fn ports(column: Column, is_reversed: bool, limit: usize) -> Vec<u16> {
        let mut first = First::new(Order { column, is_reversed }, limit);
        for (port, age) in [(5, Some(50)), (3, None), (9, Some(90)), (7, Some(70))] {
            let end = |port| SocketAddr::from(([10, 0, 0, 1], port));
            let mut socket = SocketSample::new(1, TcpState::Established, end(port), end(1000 - port));
            socket.age = age.map(Duration::from_secs);
            first.add(&socket, Beside::default());
        }
        first.into_sorted().iter().map(|socket| socket.local.port()).collect()
    }

    #[test]
    fn the_largest_come_first_and_the_unknown_last() {
        assert_eq!(ports(Column::Age, false, 10), [9, 7, 5, 3]);
        assert_eq!(ports(Column::Age, true, 10), [5, 7, 9, 3]);
        assert_eq!(ports(Column::Age, false, 2), [9, 7]);
        assert_eq!(ports(Column::Age, false, 0), [0_u16; 0]);
    }

    #[test]
    fn addresses_and_names_come_in_their_order() {
        assert_eq!(ports(Column::Local, false, 3), [3, 5, 7]);
        assert_eq!(ports(Column::Remote, false, 4), [9, 7, 5, 3]);
        assert_eq!(ports(Column::Owner, false, 4), [3, 5, 7, 9], "nothing is known: by address");
    }
}
