//! What a connection leaves behind at its end, added up for its service: how much it moved, how much of that was sent
//! again, how far away its peer was, and what limited it.
//!
//! The kernel keeps all of it on the socket, so nothing is done while the connection lives. The sums are shared by all
//! CPUs: one for each CPU would take 64 MiB on a host with 128 of them.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::bpf_jiffies64;
use tcpwatch_common::cause::found;
use tcpwatch_common::histogram::bucket;
use tcpwatch_common::offsets::Field;
use tcpwatch_common::service::{CONNECTED, EACH, FIN_QUEUED, OTHER, Words, key, word};
use tcpwatch_common::socket::{PASSIVE, ROLE_UNKNOWN};

use crate::add::add_shared_to;
use crate::maps::{ENDS, FREE_SERVICES, NEW_SERVICES, SERVICES};
use crate::read::{Typed, has};
use crate::unlearn::unlearn;

/// Where the sums of a service are.
#[derive(Clone, Copy)]
pub(super) struct Ends(*mut u64);

/// Whether a socket that leaves this state for CLOSE was a connection.
#[inline(always)]
pub(super) fn is_connection(old: u64) -> bool {
    CONNECTED >> (old & 15) & 1 != 0
}

/// The sums of the connection's service if it has a slot, or those of all others if it cannot get one now; nothing is
/// changed.
#[inline(always)]
pub(super) fn known(row: u32, flags: u8, tcp: Typed) -> Option<Ends> {
    // SAFETY: entries are removed by user space, and slots are given to others only when no event can add to them.
    let slot = match unsafe { SERVICES.get(key_of(row, flags, tcp)) } {
        Some(slot) => *slot,
        // SAFETY: a counter of the map.
        None if unsafe { core::ptr::read_volatile(NEW_SERVICES.get_ptr(row)?) } >= EACH => OTHER,
        None => return None,
    };
    ends(unlearn(slot.into()) as u32)
}

/// The sums of the connection's service, which gets a slot if it has none and there is one.
#[inline(always)]
pub(super) fn known_or_new(row: u32, flags: u8, tcp: Typed) -> Option<Ends> {
    let key = key_of(row, flags, tcp);
    // SAFETY: as above.
    let slot = match unsafe { SERVICES.get(key) } {
        Some(slot) => *slot,
        None => new(row, key),
    };
    ends(unlearn(slot.into()) as u32)
}

/// The port is still told where the socket has given it back.
#[inline(always)]
fn key_of(row: u32, flags: u8, tcp: Typed) -> u64 {
    key(row, flags, u16::from_be(tcp.load(Field::SourcePort)), u16::from_be(tcp.load(Field::RemotePort)))
}

#[inline(always)]
fn ends(slot: u32) -> Option<Ends> {
    ENDS.get_ptr_mut(slot).map(|words| Ends(words.cast()))
}

/// A slot for a service that has none. A namespace that makes up services gets no more than its part of the slots between
/// two ticks, and no more tries than that.
#[inline(never)]
fn new(row: u32, key: u64) -> u32 {
    let Some(count) = NEW_SERVICES.get_ptr_mut(row) else { return OTHER };
    // SAFETY: a counter of the map.
    if unsafe { core::ptr::read_volatile(count) } >= EACH {
        return OTHER;
    }
    let Ok(Some(slot)) = FREE_SERVICES.pop() else {
        // SAFETY: as above.
        unsafe { add_shared_to(count, EACH) };
        return OTHER;
    };
    if SERVICES.insert(key, slot, u64::from(BPF_NOEXIST)).is_ok() {
        // SAFETY: as above.
        unsafe { add_shared_to(count, 1) };
        return slot;
    }
    // Another CPU was faster: the slot goes back, its entry counts.
    let _ = FREE_SERVICES.push(slot, 0);
    // SAFETY: as in `known`.
    unsafe { SERVICES.get(key) }.map_or(OTHER, |slot| *slot)
}

impl Ends {
    /// Adds a connection that ends from the state `old`.
    #[inline(always)]
    pub(super) fn add(self, socket: Typed, tcp: Typed, flags: u8, old: u64) {
        const { assert!(size_of::<Words>() == word::COUNT * 8 && word::RTT == 0) };
        self.count(word::CONNECTIONS, 1);
        self.bytes(socket, tcp, flags, old);
        if has(Field::DataSegmentsOut) {
            self.count_any(word::SEGMENTS, tcp.load::<u32>(Field::DataSegmentsOut).into());
        }
        if has(Field::Retransmitted) {
            let again = u64::from(tcp.load::<u32>(Field::Retransmitted));
            if again != 0 {
                self.count(word::RETRANSMITTED, again);
                self.count(word::RETRANSMITTING, 1);
            }
        }
        self.times(tcp);
        if has(Field::MinRtt) {
            // Microseconds, all bits set if there was no measurement. The time of a measurement is in front of it.
            let rtt = u64::from(tcp.load_at::<u32>(Field::MinRtt, 4));
            let is_unknown = (rtt + 1) >> 32;
            let place = bucket(rtt * 1000) as u64 * (is_unknown ^ 1) + word::RTT_UNKNOWN as u64 * is_unknown;
            self.count(place as usize, 1);
        }
    }

    /// Bytes of data, both ways. The kernel counts our SYN as one, and each FIN that was acknowledged: what was opened here
    /// had a SYN of ours, all that was written is acknowledged with our FIN, and `SOCK_DONE` is set with the peer's.
    #[inline(always)]
    fn bytes(self, socket: Typed, tcp: Typed, flags: u8, old: u64) {
        const { assert!(PASSIVE == 1 << 2 && ROLE_UNKNOWN == 1 << 3 && found::DONE == 1 << 1) };
        if has(Field::BytesAcked) && has(Field::SendUnacknowledged) && has(Field::WriteSequence) {
            let open = tcp.load::<u32>(Field::SendUnacknowledged) ^ tcp.load::<u32>(Field::WriteSequence);
            let fin = FIN_QUEUED >> (old & 15) & (u64::from(open).wrapping_sub(1) >> 63);
            let syn = u64::from(flags >> 2 | flags >> 3) & 1 ^ 1;
            self.count_any(word::BYTES_OUT, tcp.load::<u64>(Field::BytesAcked).saturating_sub(fin + syn));
        }
        if has(Field::BytesReceived) {
            let fin = socket.load::<u64>(Field::Flags) >> 1 & 1;
            self.count_any(word::BYTES_IN, tcp.load::<u64>(Field::BytesReceived).saturating_sub(fin));
        }
    }

    /// What limited the sending of data, and for how long. One of the three may still go on.
    #[inline(always)]
    fn times(self, tcp: Typed) {
        if !has(Field::ChronoTimes) || !has(Field::ChronoStart) || !has(Field::ChronoType) {
            return;
        }
        let [mut busy, mut window, mut buffer] =
            [0, 4, 8].map(|beyond| tcp.load_at::<u32>(Field::ChronoTimes, beyond));
        let kind = tcp.load_bits(Field::ChronoType) & 3;
        if kind != 0 {
            // SAFETY: a helper without preconditions.
            let ticks = unsafe { bpf_jiffies64() } as u32;
            let more = ticks.wrapping_sub(tcp.load(Field::ChronoStart));
            busy += more * u32::from(kind == 1);
            window += more * u32::from(kind == 2);
            buffer += more * u32::from(kind == 3);
        }
        self.count_any(word::BUSY, unlearn(busy.into()));
        self.count_any(word::WINDOW, unlearn(window.into()));
        self.count_any(word::BUFFER, unlearn(buffer.into()));
    }

    /// Adds to a word that nearly every connection adds to.
    #[inline(always)]
    fn count(self, word: usize, value: u64) {
        // SAFETY: a word of the slot. All CPUs add to it.
        unsafe { add_shared_to(self.0.add(word & (word::COUNT - 1)), value) }
    }

    /// Adds to a word if there is something to add, as an addition that all CPUs share costs more than to look.
    #[inline(always)]
    fn count_any(self, word: usize, value: u64) {
        if value != 0 {
            self.count(word, value);
        }
    }
}
