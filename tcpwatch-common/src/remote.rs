//! What goes wrong with one remote end, counted in the kernel.

use crate::failure::ConnectFailure;
use crate::survey::joined;

/// A remote address and service, in one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Key {
    pub address: [u8; 16],
    pub netns: u32,
    pub port: u16,
    /// 1 if the service is here and the remote is its client.
    pub client: u8,
    pub padding: u8,
}

/// Words of a [`Key`].
pub const KEY_WORDS: usize = 3;

const _: () = assert!(size_of::<Key>() == KEY_WORDS * 8);

impl Key {
    /// The record whose words these are.
    pub const fn from_words(words: &[u64; KEY_WORDS]) -> Self {
        let [a, b, c, d, port_0, port_1, client, _] = words[2].to_ne_bytes();
        Self {
            address: joined(words[0].to_ne_bytes(), words[1].to_ne_bytes()),
            netns: u32::from_ne_bytes([a, b, c, d]),
            port: u16::from_ne_bytes([port_0, port_1]),
            client,
            padding: 0,
        }
    }
}

/// What is counted: a place in [`Counts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Count {
    /// Data sent again after a timeout.
    Timeout = 0,
    /// Data sent again after duplicate ACKs.
    Fast = 1,
    /// A tail loss probe.
    Probe = 2,
    /// Data sent again, and the kernel does not tell why.
    Other = 3,
    Syn = 4,
    SynAck = 5,
    ResetSent = 6,
    ResetReceived = 7,
    /// The first of [`ConnectFailure::COUNT`] places.
    Failure = 8,
    /// Not a count: the process that met it last.
    Pid = 13,
    /// Nor is this: the user whose socket met it first.
    Uid = 14,
}

/// Counters of one remote.
pub type Counts = [u64; COUNTS];

/// Places in [`Counts`]; a power of two, so that an index can be masked.
pub const COUNTS: usize = 16;

const _: () = assert!(Count::Failure as usize + ConnectFailure::COUNT == Count::Pid as usize);

/// Who shares the map of remotes: one that meets very many of them gets no more than its part of the map, and what happens
/// with the others is added up for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Holder {
    pub netns: u32,
    /// A process, the port of a service here, or a user; by `kind`.
    pub id: u32,
    pub kind: u32,
}

/// Remotes that a process reached.
pub const PROCESS: u32 = 0;
/// Clients of a service here.
pub const SERVICE: u32 = 1;
/// Either, of a user: processes are made at will.
pub const USER: u32 = 2;

impl Holder {
    /// The two that an entry counts for: its process or service, and its user.
    pub const fn of(key: &Key, pid: u32, uid: u32) -> [Self; 2] {
        let (id, kind) = if key.client != 0 { (key.port as u32, SERVICE) } else { (pid, PROCESS) };
        [Self { netns: key.netns, id, kind }, Self { netns: key.netns, id: uid, kind: USER }]
    }

    /// The record whose words these are.
    pub const fn from_words([netns, id, kind]: [u32; 3]) -> Self {
        Self { netns, id, kind }
    }

    /// The most entries that it may have in a map of `entries`.
    pub const fn most(self, entries: u32) -> u64 {
        let part = match self.kind {
            PROCESS => entries / 16,
            SERVICE => entries / 8,
            _ => entries / 2,
        };
        part as u64
    }
}

/// Why data is sent again, from the congestion state: the first four of [`Count`].
#[inline]
pub const fn cause(congestion_state: Option<u8>) -> Count {
    /// `TCP_CA_Recovery` and `TCP_CA_Loss`; the field is five or six bits wide, and no number is above four.
    const RECOVERY: u8 = 3;
    const LOSS: u8 = 4;
    match congestion_state {
        None => Count::Other,
        Some(state) => match state & 7 {
            RECOVERY => Count::Fast,
            LOSS => Count::Timeout,
            _ => Count::Probe,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_congestion_state_tells_why() {
        assert_eq!(cause(Some(0)), Count::Probe);
        assert_eq!(cause(Some(3 | 0x60)), Count::Fast);
        assert_eq!(cause(Some(4)), Count::Timeout);
        assert_eq!(cause(None), Count::Other);
    }

    #[test]
    fn nobody_gets_the_whole_map() {
        let key = Key { netns: 7, port: 80, ..Key::default() };
        let of = |client| Holder::of(&Key { client, ..key }, 42, 1000).map(|one| (one.id, one.kind));
        assert_eq!((of(0), of(1)), ([(42, PROCESS), (1000, USER)], [(80, SERVICE), (1000, USER)]));
        let most = |client| Holder::of(&Key { client, ..key }, 42, 1000).map(|one| one.most(2048));
        assert_eq!((most(0), most(1)), ([128, 1024], [256, 1024]));
    }

    #[test]
    fn a_key_reads_back() {
        let words = [1, 2, u64::from_ne_bytes([3, 0, 0, 0, 4, 0, 1, 0])];
        let key = Key::from_words(&words);
        assert_eq!((key.netns.to_ne_bytes(), key.port.to_ne_bytes(), key.client), ([3, 0, 0, 0], [4, 0], 1));
    }
}
