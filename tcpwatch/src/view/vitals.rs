//! How a connection fares, as the API has it. What is not known is `null`.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use crate::sample::Vitals as Sample;

#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Vitals {
    /// Seconds in which there was something to send.
    pub busy: Option<f64>,
    /// Those of them in which the peer's window was full.
    pub rwnd_limited: Option<f64>,
    /// Those of them in which the own send buffer was full.
    pub sndbuf_limited: Option<f64>,
    /// Times in a row that the retransmit timer ran out.
    pub timeouts: Option<u8>,
    /// How often the time of a timer was doubled.
    pub backoff: Option<u8>,
    /// Window and keepalive probes that were not answered.
    pub probes: Option<u8>,
    /// An error that has not ended it yet; `none` if there is none.
    pub soft_error: Option<Cow<'static, str>>,
    pub bytes_acked: Option<u64>,
    pub bytes_received: Option<u64>,
    pub segments_out: Option<u64>,
    /// Seconds.
    pub min_rtt: Option<f64>,
}

impl From<&Sample> for Vitals {
    fn from(sample: &Sample) -> Self {
        let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64());
        Self {
            busy: seconds(sample.busy),
            rwnd_limited: seconds(sample.rwnd_limited),
            sndbuf_limited: seconds(sample.sndbuf_limited),
            timeouts: sample.timeouts,
            backoff: sample.backoff,
            probes: sample.probes,
            soft_error: sample.soft_error_name(),
            bytes_acked: sample.bytes_acked,
            bytes_received: sample.bytes_received,
            segments_out: sample.segments_out,
            min_rtt: seconds(sample.min_rtt),
        }
    }
}
