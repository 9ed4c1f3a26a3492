//! Counters of the whole host: one record per CPU, summed by user space.

use crate::cause::Cause;
use crate::failure::ConnectFailure;
use crate::histogram::Histogram;
use crate::state::TcpState;

/// What a retransmitted segment was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Retransmit {
    Data = 0,
    Syn = 1,
    SynAck = 2,
    /// The kernel tried to retransmit and could not (reported by newer kernels only).
    Failed = 3,
}

impl Retransmit {
    pub const COUNT: usize = 4;
    pub const ALL: [Self; Self::COUNT] = [Self::Data, Self::Syn, Self::SynAck, Self::Failed];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Syn => "syn",
            Self::SynAck => "synack",
            Self::Failed => "failed",
        }
    }
}

/// Which side opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    Active = 0,
    Passive = 1,
}

impl Role {
    pub const COUNT: usize = 2;
    pub const ALL: [Self; Self::COUNT] = [Self::Active, Self::Passive];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
        }
    }
}

/// Slots for the reasons of sent resets; the kernel's enum has fewer, and its numbers are named by BTF.
pub const RESET_REASONS: usize = 128;

/// Transitions that can be between two programs: a task's, and one that interrupted it.
pub const DONE: usize = 2;

/// Notes of tasks, where each can be preempted in the middle of a transition; a power of two, as many as there are
/// process ids on most hosts.
pub const TASK_NOTES: u32 = 1 << 16;
pub const TASK_NOTES_MASK: u32 = TASK_NOTES - 1;

/// What is under way on one CPU. Nothing of it is a counter.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Underway {
    /// 1 while this CPU's first program is running.
    pub busy: u64,
    /// The namespace that the first program met last on this CPU, and its row.
    pub last_namespace: [u64; 2],
    /// Transitions that were counted and that the last program has not yet seen, each by a number: a task's, and one
    /// that interrupted it. 0 is none.
    pub done: [u64; DONE],
}

/// The record of the program that counts nearly all transitions: it has one writer at a time, as the kernel lets the
/// program run once at a time on a CPU, and is added to without atomic instructions.
pub const OF_THE_FIRST: u32 = 0;
/// The record of all others.
pub const OF_OTHERS: u32 = 1;
/// Records per CPU.
pub const RECORDS: u32 = 2;

/// One CPU's counters, one of [`RECORDS`].
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct HostCounters {
    /// How long sockets stayed in a state, by [`TcpState::index`], observed when they leave it.
    pub time_in_state: [Histogram; TcpState::COUNT],
    /// Transitions out of a state whose beginning was not seen, so that no duration is known.
    pub unknown_age: [u64; TcpState::COUNT],
    /// Active: SYN sent to ESTABLISHED. Passive: the kernel's own measurement from SYN-ACK to ACK.
    pub handshake: [Histogram; Role::COUNT],
    /// From birth to CLOSE (TIME_WAIT is not part of it).
    pub lifetime: [Histogram; Role::COUNT],
    /// Endings by state before CLOSE and cause.
    pub endings: [[u64; Cause::COUNT]; TcpState::COUNT],
    pub retransmits: [u64; Retransmit::COUNT],
    /// Data sent again, by [`remote::cause`](crate::remote::cause).
    pub retransmit_causes: [u64; 4],
    /// Connects that failed, by [`ConnectFailure`].
    pub connect_failures: [u64; ConnectFailure::COUNT],
    /// Listeners for which there was no room.
    pub listeners_untracked: u64,
    /// Entries made for remotes, and for clients that left SYN-ACKs unanswered; most of them may have made room for
    /// others since.
    pub remotes_met: u64,
    pub clients_met: u64,
    /// What went wrong with remotes that got no entry of their own, as who met them had enough.
    pub remotes_folded: u64,
    pub resets_received: u64,
    pub resets_sent: u64,
    /// Resets sent that answered a segment for which there was no socket.
    pub resets_sent_no_socket: u64,
    /// Transitions of MPTCP meta-sockets, by the new state. They have a machine of their own.
    pub mptcp: [u64; TcpState::COUNT],
    /// Transitions that the machine calls illegal.
    pub illegal: u64,
    /// Transitions that the first program missed, as they interrupted it, and another noticed.
    pub nested: u64,
    /// An event's old state was not the socket's last known state.
    pub gaps: u64,
    /// Events of sockets for which the table had no room: counted, but of unknown age.
    pub untracked: u64,
    /// Sockets that came to be without a place in the table, and those of them that ended or got one since: the rest is
    /// open now.
    pub placeless: u64,
    pub placeless_gone: u64,
    /// Sockets that could not be entered while older ones were being met: counts may be wrong by as many.
    pub unmet: u64,
    /// Events counted in the overflow row because no row was left for their namespace.
    pub folded: u64,
    pub ring: RingCounters,
}

/// The fate of every fact that was to be told one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RingCounters {
    /// Facts looked at while somebody asked for them, and rare facts always.
    pub seen: u64,
    /// Not wanted by the subscriber's filter.
    pub filtered: u64,
    /// The ring had no room.
    pub lost: u64,
}

const _: () = assert!(size_of::<Histogram>() == 328);
const _: () = assert!(size_of::<HostCounters>().is_multiple_of(8));

impl HostCounters {
    /// The record is nothing but counters of 64 bits.
    pub const WORDS: usize = size_of::<Self>() / 8;

    /// The record whose words these are; missing words are 0.
    pub fn from_words(words: &[u64]) -> Self {
        let mut words = words.iter().copied();
        let words = &mut words;
        Self {
            time_in_state: array(words, histogram),
            unknown_age: array(words, word),
            handshake: array(words, histogram),
            lifetime: array(words, histogram),
            endings: array(words, |words| array(words, word)),
            retransmits: array(words, word),
            retransmit_causes: array(words, word),
            connect_failures: array(words, word),
            listeners_untracked: word(words),
            remotes_met: word(words),
            clients_met: word(words),
            remotes_folded: word(words),
            resets_received: word(words),
            resets_sent: word(words),
            resets_sent_no_socket: word(words),
            mptcp: array(words, word),
            illegal: word(words),
            nested: word(words),
            gaps: word(words),
            untracked: word(words),
            placeless: word(words),
            placeless_gone: word(words),
            unmet: word(words),
            folded: word(words),
            ring: RingCounters { seen: word(words), filtered: word(words), lost: word(words) },
        }
    }
}

fn word(words: &mut impl Iterator<Item = u64>) -> u64 {
    words.next().unwrap_or(0)
}

fn array<I: Iterator<Item = u64>, T, const N: usize>(
    words: &mut I,
    mut item: impl FnMut(&mut I) -> T,
) -> [T; N] {
    core::array::from_fn(|_| item(words))
}

fn histogram(words: &mut impl Iterator<Item = u64>) -> Histogram {
    Histogram { buckets: array(words, word), sum_ns: word(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_fill_the_record_in_its_own_order() {
        let mut words = [0u64; HostCounters::WORDS];
        for (place, word) in words.iter_mut().enumerate() {
            *word = place as u64;
        }
        let host = HostCounters::from_words(&words);
        let first = core::mem::offset_of!(HostCounters, time_in_state) as u64 / 8;
        assert_eq!(host.time_in_state[0].buckets[0], first);
        assert_eq!(host.unknown_age[0], core::mem::offset_of!(HostCounters, unknown_age) as u64 / 8);
        assert_eq!(host.endings[1][0], core::mem::offset_of!(HostCounters, endings) as u64 / 8 + 8);
        assert_eq!(host.folded, core::mem::offset_of!(HostCounters, folded) as u64 / 8);
        assert_eq!(host.ring.lost, HostCounters::WORDS as u64 - 1);
    }
}
