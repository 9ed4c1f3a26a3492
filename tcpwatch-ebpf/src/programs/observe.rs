//! Durations into histograms.

use tcpwatch_common::event::UNKNOWN;
use tcpwatch_common::histogram::{Histogram, bucket};
use tcpwatch_common::host::{HostCounters, Role};
use tcpwatch_common::offsets::Field;
use tcpwatch_common::socket::{BIRTH_UNKNOWN, PASSIVE, ROLE_UNKNOWN};
use tcpwatch_common::state::TcpState;

use crate::programs::add;
use crate::read::Typed;

/// How long a socket was in the state it leaves; [`UNKNOWN`] is counted as such.
#[inline(always)]
pub(super) fn state(host: &mut HostCounters, state: u64, nanoseconds: u64) {
    let index = state.wrapping_sub(1) as usize;
    if nanoseconds == UNKNOWN {
        add(host.unknown_age.get_mut(index), 1);
    } else {
        observe(host.time_in_state.get_mut(index), nanoseconds);
    }
}

/// How long a connection lived. A listener is none.
#[inline(always)]
pub(super) fn lifetime(host: &mut HostCounters, old: u64, flags: u8, nanoseconds: u64) {
    if flags & (BIRTH_UNKNOWN | ROLE_UNKNOWN) == 0 && old != TcpState::Listen as u64 {
        let role = if flags & PASSIVE == 0 { Role::Active } else { Role::Passive };
        observe(host.lifetime.get_mut(role as usize), nanoseconds);
    }
}

/// How long a handshake took.
#[inline(always)]
pub(super) fn handshake(host: &mut HostCounters, socket: Typed, old: u64, in_state: u64) {
    if old == TcpState::SynSent as u64 {
        if in_state != UNKNOWN {
            observe(host.handshake.get_mut(Role::Active as usize), in_state);
        }
    } else if let Some(srtt) = socket.tcp_field::<u32>(Field::Srtt) {
        // The first sample is the time from SYN-ACK to ACK, in eighths of a microsecond. There is none when the
        // SYN-ACK was sent twice or was a cookie.
        if srtt != 0 {
            observe(host.handshake.get_mut(Role::Passive as usize), u64::from(srtt) * 1000 / 8);
        }
    }
}

#[inline(always)]
fn observe(histogram: Option<&mut Histogram>, nanoseconds: u64) {
    if let Some(histogram) = histogram {
        add(histogram.buckets.get_mut(bucket(nanoseconds)), 1);
        add(Some(&mut histogram.sum_ns), nanoseconds);
    }
}
