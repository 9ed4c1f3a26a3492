//! What keeps a connection from going on, in a few words: whether it is about to be given up, or whose buffer it waits for.

use std::borrow::Cow;
use std::time::Duration;

use super::paper::age;
use crate::sample::Vitals;

/// A connection that was limited for less than this part of the time that it was busy has no trouble.
const WORTH_SAYING: u32 = 10;

/// `backoff 6, 3 probes, EHOSTUNREACH`, or `34s of 40s for the peer's window`; nothing if all is well, or not known.
pub(super) fn health(vitals: &Vitals) -> String {
    let mut parts = Vec::new();
    let some = |count: Option<u8>| count.filter(|count| *count > 0);
    parts.extend(some(vitals.backoff).map(|count| format!("backoff {count}")));
    parts.extend(some(vitals.probes).map(|count| format!("{count} probes")));
    let error = vitals.soft_error_name().filter(|_| vitals.soft_error != Some(0));
    parts.extend(error.map(Cow::into_owned));
    let busy = vitals.busy.unwrap_or_default();
    let waits = [(vitals.rwnd_limited, "the peer's window"), (vitals.sndbuf_limited, "its send buffer")];
    let waits = waits.into_iter().filter_map(|(time, what)| Some((time?, what)));
    let is_much = |time: Duration| time > Duration::ZERO && time * WORTH_SAYING >= busy;
    parts.extend(
        waits
            .filter(|(time, _)| is_much(*time))
            .map(|(time, what)| format!("{} of {} for {what}", age(time), age(busy))),
    );
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_is_said() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let fine = Vitals {
            busy: seconds(100),
            rwnd_limited: seconds(9),
            backoff: Some(0),
            probes: Some(0),
            soft_error: Some(0),
            ..Vitals::default()
        };
        assert_eq!((health(&fine), health(&Vitals::default())), (String::new(), String::new()));
        let dying = Vitals { backoff: Some(6), probes: Some(3), soft_error: Some(113), ..fine };
        assert_eq!(health(&dying), "backoff 6, 3 probes, EHOSTUNREACH");
        let waits = Vitals { rwnd_limited: seconds(34), busy: seconds(40), ..fine };
        assert_eq!(health(&waits), "34s of 40s for the peer's window");
    }
}
