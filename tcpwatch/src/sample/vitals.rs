//! How one connection fares: is it the network, the peer or we ourselves that it waits for; is it about to be given up;
//! what has it carried.

use std::borrow::Cow;
use std::time::Duration;

use tcpwatch_common::vitals::{self, known};

/// What `TCP_INFO` and `ss -tieom` tell of a connection, too; what is `None` is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Time in which there was something to send, whatever it waited for.
    pub busy: Option<Duration>,
    /// Time of that in which the peer's window was full: it did not read as fast as we sent.
    pub rwnd_limited: Option<Duration>,
    /// Time of that in which our own send buffer was full, and too small to fill the network.
    pub sndbuf_limited: Option<Duration>,
    /// Times in a row that the retransmit timer ran out.
    pub timeouts: Option<u8>,
    /// How often the time of the retransmit or probe timer was doubled.
    pub backoff: Option<u8>,
    /// Window and keepalive probes that were not answered.
    pub probes: Option<u8>,
    /// The kernel's number of an error that has not ended the connection yet: it does if the timer gives up. 0 is none.
    pub soft_error: Option<u32>,
    /// Bytes that the peer has acknowledged.
    pub bytes_acked: Option<u64>,
    pub bytes_received: Option<u64>,
    pub segments_out: Option<u64>,
    /// The least round-trip time of the last minutes.
    pub min_rtt: Option<Duration>,
}

impl Vitals {
    /// What a row tells; times are not known unless it is known how long a tick is.
    pub fn of(row: &vitals::Vitals, tick: Option<Duration>) -> Self {
        let [busy, rwnd, sndbuf] = row.spent();
        let time = |ticks: u64| {
            let tick = tick.filter(|_| row.knows(known::SPENT))?;
            let nanoseconds = u64::try_from(tick.as_nanos()).ok()?;
            Some(Duration::from_nanos(ticks.saturating_mul(nanoseconds)))
        };
        Self {
            busy: time(busy + rwnd + sndbuf),
            rwnd_limited: time(rwnd),
            sndbuf_limited: time(sndbuf),
            timeouts: row.knows(known::TIMEOUTS).then_some(row.timeouts),
            backoff: row.knows(known::BACKOFF).then_some(row.backoff),
            probes: row.knows(known::PROBES).then_some(row.probes),
            soft_error: row.knows(known::SOFT_ERROR).then_some(row.soft_error),
            bytes_acked: row.knows(known::BYTES).then_some(row.bytes_acked),
            bytes_received: row.knows(known::BYTES).then_some(row.bytes_received),
            segments_out: row.knows(known::SEGMENTS_OUT).then_some(row.segments_out.into()),
            // None was measured yet.
            min_rtt: (row.knows(known::MIN_RTT) && row.min_rtt != u32::MAX)
                .then(|| Duration::from_micros(row.min_rtt.into())),
        }
    }

    /// The soft error in a word; `none` if there is none.
    pub fn soft_error_name(&self) -> Option<Cow<'static, str>> {
        self.soft_error.map(|error| if error == 0 { NO_ERROR.into() } else { error_name(error) })
    }
}

/// Stands for a soft error where it is known that there is none.
pub const NO_ERROR: &str = "none";

/// Errors that the kernel leaves on a connection, most of them after an ICMP message.
const ERRORS: [(u32, &str); 14] = [
    (13, "EACCES"),
    (64, "ENONET"),
    (71, "EPROTO"),
    (90, "EMSGSIZE"),
    (92, "ENOPROTOOPT"),
    (95, "EOPNOTSUPP"),
    (99, "EADDRNOTAVAIL"),
    (100, "ENETDOWN"),
    (101, "ENETUNREACH"),
    (104, "ECONNRESET"),
    (110, "ETIMEDOUT"),
    (111, "ECONNREFUSED"),
    (112, "EHOSTDOWN"),
    (113, "EHOSTUNREACH"),
];

/// An error as programs name it, or by its number.
pub fn error_name(number: u32) -> Cow<'static, str> {
    let known = ERRORS.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("errno-{number}").into(), |(_, name)| (*name).into())
}

/// What [`error_name`] says, as a number again.
pub fn error_number(name: &str) -> Option<u32> {
    let known = ERRORS.iter().find(|(_, known)| *known == name).map(|(number, _)| *number);
    known.or_else(|| name.strip_prefix("errno-")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells_is_known_and_nothing_else() {
        let row = vitals::Vitals {
            spent: [1, 2, 3],
            spending: 2,
            spending_for: 10,
            min_rtt: 70,
            backoff: 6,
            known: u8::MAX,
            ..vitals::Vitals::default()
        };
        let told = Vitals::of(&row, Some(Duration::from_millis(4)));
        let ms = |ms: u64| Some(Duration::from_millis(ms));
        assert_eq!((told.busy, told.rwnd_limited, told.sndbuf_limited), (ms(64), ms(48), ms(12)));
        assert_eq!((told.min_rtt, told.backoff), (Some(Duration::from_micros(70)), Some(6)));
        assert_eq!(told.soft_error_name().as_deref(), Some("none"));
        assert_eq!(Vitals::of(&row, None).busy, None, "it is not known how long a tick is");
        assert_eq!(Vitals::of(&row, None).backoff, Some(6));
        let unmeasured = vitals::Vitals { min_rtt: u32::MAX, ..row };
        assert_eq!(Vitals::of(&unmeasured, None).min_rtt, None);
        let unknown = vitals::Vitals { known: 0, ..row };
        assert_eq!(Vitals::of(&unknown, Some(Duration::from_millis(4))), Vitals::default());
    }

    #[test]
    fn errors_have_names() {
        assert_eq!((error_name(113), error_name(5)), ("EHOSTUNREACH".into(), "errno-5".into()));
        for number in 0..200 {
            assert_eq!(error_number(&error_name(number)), Some(number));
        }
        assert_eq!(error_number(NO_ERROR), None);
    }
}
