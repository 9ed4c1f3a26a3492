//! How connections fare, in a listing: as cells, as JSON, as an order, and as a daemon elsewhere tells it.

use std::time::Duration;

use serde_json::Value;

use super::columns::Column;
use super::{json, line, text};
use crate::sample::{NO_ERROR, Vitals, error_number};

/// Appends one cell.
pub(super) fn cell(out: &mut Vec<u8>, column: Column, vitals: &Vitals) {
    if let Some(time) = time(vitals, column) {
        text::duration(out, time);
    } else if column == Column::SoftError {
        vitals.soft_error_name().iter().for_each(|name| line::plain(out, name));
    } else {
        line::maybe(out, figure(vitals, column));
    }
}

/// What a column is sorted by.
pub(super) fn key(vitals: &Vitals, column: Column) -> Option<u128> {
    time(vitals, column).map(|time| time.as_nanos()).or_else(|| figure(vitals, column).map(u128::from))
}

fn time(vitals: &Vitals, column: Column) -> Option<Duration> {
    match column {
        Column::Busy => vitals.busy,
        Column::RwndLimited => vitals.rwnd_limited,
        Column::SndbufLimited => vitals.sndbuf_limited,
        Column::MinRtt => vitals.min_rtt,
        _ => None,
    }
}

fn figure(vitals: &Vitals, column: Column) -> Option<u64> {
    match column {
        Column::Timeouts => vitals.timeouts.map(u64::from),
        Column::Backoff => vitals.backoff.map(u64::from),
        Column::Probes => vitals.probes.map(u64::from),
        Column::SoftError => vitals.soft_error.map(u64::from),
        Column::BytesAcked => vitals.bytes_acked,
        Column::BytesReceived => vitals.bytes_received,
        Column::SegmentsOut => vitals.segments_out,
        _ => None,
    }
}

/// Appends them to a JSON object, in the order of the API.
pub(super) fn object(out: &mut Vec<u8>, vitals: &Vitals) {
    json::seconds(out, "busy", vitals.busy);
    json::seconds(out, "rwnd_limited", vitals.rwnd_limited);
    json::seconds(out, "sndbuf_limited", vitals.sndbuf_limited);
    json::maybe(out, "timeouts", vitals.timeouts.map(u64::from));
    json::maybe(out, "backoff", vitals.backoff.map(u64::from));
    json::maybe(out, "probes", vitals.probes.map(u64::from));
    json::name(out, "soft_error");
    match vitals.soft_error_name() {
        Some(name) => {
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
    json::maybe(out, "bytes_acked", vitals.bytes_acked);
    json::maybe(out, "bytes_received", vitals.bytes_received);
    json::maybe(out, "segments_out", vitals.segments_out);
    json::seconds(out, "min_rtt", vitals.min_rtt);
}

/// As the API has them.
pub(in crate::cli) fn parse(told: &Value) -> Vitals {
    let seconds = |told: &Value| told.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let small = |told: &Value| told.as_u64().and_then(|number| u8::try_from(number).ok());
    Vitals {
        busy: seconds(&told["busy"]),
        rwnd_limited: seconds(&told["rwnd_limited"]),
        sndbuf_limited: seconds(&told["sndbuf_limited"]),
        timeouts: small(&told["timeouts"]),
        backoff: small(&told["backoff"]),
        probes: small(&told["probes"]),
        soft_error: told["soft_error"]
            .as_str()
            .and_then(|name| if name == NO_ERROR { Some(0) } else { error_number(name) }),
        bytes_acked: told["bytes_acked"].as_u64(),
        bytes_received: told["bytes_received"].as_u64(),
        segments_out: told["segments_out"].as_u64(),
        min_rtt: seconds(&told["min_rtt"]),
    }
}
