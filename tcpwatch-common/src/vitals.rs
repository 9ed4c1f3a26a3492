//! How one connection fares, as the program `rows` tells it beside the rest of a row: what it waits for, whether it is
//! about to be given up, how much it has carried.

use crate::event::Reader;

/// The facts of one whole socket, as the kernel has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Vitals {
    /// Bytes that the peer has acknowledged.
    pub bytes_acked: u64,
    pub bytes_received: u64,
    pub segments_out: u32,
    /// The least round-trip time in microseconds, `u32::MAX` if none was measured.
    pub min_rtt: u32,
    /// Ticks in each phase of sending: busy, waiting for the peer's window, waiting for our send buffer.
    pub spent: [u32; 3],
    /// Ticks since the phase that goes on began; they are not in `spent` yet.
    pub spending_for: u32,
    /// The kernel's number of an error that has not ended the connection, 0 if there is none.
    pub soft_error: u32,
    /// Which phase goes on: 1 is the first of `spent`, 0 is none.
    pub spending: u8,
    /// Window and keepalive probes that were not answered.
    pub probes: u8,
    /// How often the timer's time was doubled.
    pub backoff: u8,
    /// Times in a row that the retransmit timer ran out.
    pub timeouts: u8,
    /// See [`known`].
    pub known: u8,
    pub unused: [u8; 7],
}

const _: () = assert!(size_of::<Vitals>() == 56);

/// Bits of [`Vitals::known`]: what this kernel tells.
pub mod known {
    /// `spent`, `spending` and `spending_for`.
    pub const SPENT: u8 = 1;
    pub const SOFT_ERROR: u8 = 2;
    pub const PROBES: u8 = 4;
    pub const BACKOFF: u8 = 8;
    pub const TIMEOUTS: u8 = 16;
    /// `bytes_acked` and `bytes_received`.
    pub const BYTES: u8 = 32;
    pub const SEGMENTS_OUT: u8 = 64;
    pub const MIN_RTT: u8 = 128;
}

impl Vitals {
    /// Where the fields are: part of [`Row::LAYOUT`](crate::event::Row::LAYOUT).
    pub(crate) const PLACES: [usize; 12] = {
        use core::mem::offset_of;
        [
            offset_of!(Self, bytes_acked),
            offset_of!(Self, bytes_received),
            offset_of!(Self, segments_out),
            offset_of!(Self, min_rtt),
            offset_of!(Self, spent),
            offset_of!(Self, spending_for),
            offset_of!(Self, soft_error),
            offset_of!(Self, spending),
            offset_of!(Self, probes),
            offset_of!(Self, backoff),
            offset_of!(Self, timeouts),
            offset_of!(Self, known),
        ]
    };

    /// Reads what follows in a record.
    pub(crate) fn take(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            bytes_acked: u64::from_ne_bytes(reader.take()?),
            bytes_received: u64::from_ne_bytes(reader.take()?),
            segments_out: u32::from_ne_bytes(reader.take()?),
            min_rtt: u32::from_ne_bytes(reader.take()?),
            spent: [
                u32::from_ne_bytes(reader.take()?),
                u32::from_ne_bytes(reader.take()?),
                u32::from_ne_bytes(reader.take()?),
            ],
            spending_for: u32::from_ne_bytes(reader.take()?),
            soft_error: u32::from_ne_bytes(reader.take()?),
            spending: u8::from_ne_bytes(reader.take()?),
            probes: u8::from_ne_bytes(reader.take()?),
            backoff: u8::from_ne_bytes(reader.take()?),
            timeouts: u8::from_ne_bytes(reader.take()?),
            known: u8::from_ne_bytes(reader.take()?),
            unused: reader.take()?,
        })
    }

    /// Ticks in each phase, with those of the phase that goes on, as `TCP_INFO` counts them.
    pub fn spent(&self) -> [u64; 3] {
        let mut spent = self.spent.map(u64::from);
        if let Some(open) = usize::from(self.spending).checked_sub(1).and_then(|place| spent.get_mut(place)) {
            *open += u64::from(self.spending_for);
        }
        spent
    }

    pub fn knows(&self, what: u8) -> bool {
        self.known & what != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_that_goes_on_is_counted_to_its_time() {
        let vitals = Vitals { spent: [5, 7, 0], spending_for: 3, ..Vitals::default() };
        assert_eq!(vitals.spent(), [5, 7, 0], "none goes on");
        assert_eq!(Vitals { spending: 1, ..vitals }.spent(), [8, 7, 0]);
        assert_eq!(Vitals { spending: 2, ..vitals }.spent(), [5, 10, 0]);
        assert_eq!(Vitals { spending: 3, ..vitals }.spent(), [5, 7, 3]);
        assert_eq!(
            Vitals { spent: [u32::MAX; 3], spending: 3, ..vitals }.spent()[2],
            u64::from(u32::MAX) + 3
        );
    }
}
