//! How a connection fares, read for a row: loads and nothing else, as the verifier walks each way that a branch opens.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use tcpwatch_common::offsets::Field;
use tcpwatch_common::vitals::{Vitals, known};

use crate::read::{Typed, has};

/// Reads what this kernel has; whether it has a field is a constant to the verifier.
#[inline(always)]
pub(super) fn read(vitals: &mut Vitals, tcp: Typed) {
    let mut told = 0;
    if has(Field::ChronoTimes) && has(Field::ChronoType) && has(Field::ChronoStart) {
        vitals.spent = tcp.load(Field::ChronoTimes);
        vitals.spending = tcp.bits(Field::ChronoType) & 3;
        // SAFETY: a helper without preconditions.
        let now = unsafe { bpf_jiffies64() } as u32;
        vitals.spending_for = now.wrapping_sub(tcp.load(Field::ChronoStart));
        told |= known::SPENT;
    }
    if has(Field::SoftError) {
        vitals.soft_error = tcp.load(Field::SoftError);
        told |= known::SOFT_ERROR;
    }
    if has(Field::ProbesOut) {
        vitals.probes = tcp.load(Field::ProbesOut);
        told |= known::PROBES;
    }
    if has(Field::Backoff) {
        vitals.backoff = tcp.load(Field::Backoff);
        told |= known::BACKOFF;
    }
    if has(Field::Retries) {
        vitals.timeouts = tcp.load(Field::Retries);
        told |= known::TIMEOUTS;
    }
    if has(Field::BytesAcked) && has(Field::BytesReceived) {
        vitals.bytes_acked = tcp.load(Field::BytesAcked);
        vitals.bytes_received = tcp.load(Field::BytesReceived);
        told |= known::BYTES;
    }
    if has(Field::SegmentsOut) {
        vitals.segments_out = tcp.load(Field::SegmentsOut);
        told |= known::SEGMENTS_OUT;
    }
    if has(Field::MinRtt) {
        // The first of three samples is the best; a sample is its time and its value.
        [_, vitals.min_rtt] = tcp.load::<[u32; 2]>(Field::MinRtt);
        told |= known::MIN_RTT;
    }
    vitals.known = told;
}
