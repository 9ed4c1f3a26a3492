//! Durations into histograms.

use tcpwatch_common::event::UNKNOWN;
use tcpwatch_common::histogram::{BUCKETS, Histogram, bucket};
use tcpwatch_common::host::Role;
use tcpwatch_common::offsets::Field;
use tcpwatch_common::socket::{BIRTH_UNKNOWN, PASSIVE, ROLE_UNKNOWN};
use tcpwatch_common::state::TcpState;

use crate::programs::record::{Record, counter};
use crate::read::{Typed, has};

/// The numbers of states are below it.
const STATES: usize = 16;
const _: () = assert!(BUCKETS < 64 && TcpState::COUNT < STATES);

/// How long a socket was in the state it leaves.
#[inline(always)]
pub(super) fn state(record: Record, state: u64, nanoseconds: u64) {
    observe(record, counter!(record, time_in_state), place_of(state), nanoseconds);
}

/// A socket leaves a state that it was in for nobody knows how long.
#[inline(always)]
pub(super) fn unknown_state(record: Record, state: u64) {
    record.add(counter!(record, unknown_age), place_of(state), 1);
}

/// A state's place in an array. The verifier takes the highest for possible: then it reads what comes behind the array.
#[inline(always)]
fn place_of(state: u64) -> usize {
    state.wrapping_sub(1) as usize & (STATES - 1)
}

/// How long a connection lived. A listener is none.
#[inline(always)]
pub(super) fn lifetime(record: Record, old: u64, flags: u8, nanoseconds: u64) {
    if flags & (BIRTH_UNKNOWN | ROLE_UNKNOWN) == 0 && old != TcpState::Listen as u64 {
        const { assert!(PASSIVE == 4 && Role::Active as u8 == 0 && Role::Passive as u8 == 1) };
        observe(record, counter!(record, lifetime), usize::from(flags >> 2 & 1), nanoseconds);
    }
}

/// How long a handshake took; `in_state` may be [`UNKNOWN`].
#[inline(always)]
pub(super) fn handshake(record: Record, tcp: Option<Typed>, old: u64, in_state: u64) {
    if old == TcpState::SynSent as u64 {
        if in_state != UNKNOWN {
            observe(record, counter!(record, handshake), Role::Active as usize, in_state);
        }
    } else if has(Field::Srtt)
        && let Some(tcp) = tcp
    {
        // The first sample is the time from SYN-ACK to ACK, in eighths of a microsecond. There is none when the
        // SYN-ACK was sent twice or was a cookie.
        let srtt: u32 = tcp.load(Field::Srtt);
        if srtt != 0 {
            observe(
                record,
                counter!(record, handshake),
                Role::Passive as usize,
                u64::from(srtt) * (1000 / 8),
            );
        }
    }
}

#[inline(always)]
fn observe(record: Record, first: *mut u64, histogram: usize, nanoseconds: u64) {
    const WORDS: usize = size_of::<Histogram>() / 8;
    const { assert!(core::mem::offset_of!(Histogram, buckets) == 0) };
    let first = first.wrapping_add(histogram * WORDS);
    // A bucket is below `BUCKETS`; the verifier only sees that it is below 64, and there is as much behind the last.
    record.add(first, bucket(nanoseconds) & 63, 1);
    record.add(first, core::mem::offset_of!(Histogram, sum_ns) / 8, nanoseconds);
}
