//! Words that ask how a connection fares, and whether the kernel has it.

use super::{facts, filter, unknown};
use crate::filter::{Filter, SocketFacts};
use crate::sample::Vitals;

#[test]
fn how_a_connection_fares_decides() {
    for text in [
        "backoff>3",
        "backoff=6",
        "backoff 5-7",
        "probes!=0",
        "retransmits>=4",
        "rwnd_limited > 10s",
        "rwnd-limited<=11s",
        "rtt<31ms",
        "soft-error=EHOSTUNREACH",
        "soft-error=ehost*",
        "soft-error *",
        "bytes-acked>999999",
        "not kernel",
    ] {
        assert!(filter(text).matches(&facts()), "{text}");
    }
    for text in [
        "backoff>6",
        "rwnd-limited>11s",
        "rtt>30ms",
        "soft-error=none",
        "kernel",
        // Not known.
        "timeouts<100",
        "not (sndbuf-limited>=0s or not sndbuf-limited<0s)",
        "min-rtt<1h",
    ] {
        assert!(!filter(text).matches(&facts()), "{text}");
    }
    for text in ["backoff<9", "rwnd-limited<1h", "soft-error=*", "soft-error=none", "bytes-acked>=0"] {
        assert!(!filter(text).matches(&unknown()), "{text}: it is not known");
    }
    let none = SocketFacts { vitals: Vitals { soft_error: Some(0), ..Vitals::default() }, ..facts() };
    assert!(filter("soft-error=none").matches(&none) && !filter("soft-error=*").matches(&none));
    let kernels = SocketFacts { is_kernels: true, pid: None, process: None, ..facts() };
    assert!(filter("kernel close_wait").matches(&kernels) && !filter("not kernel").matches(&kernels));
    for text in
        ["rwnd-limited=10s", "rwnd-limited>10", "backoff>much", "rtt 5ms", "soft-error>1", "kernel=no"]
    {
        Filter::parse(text).expect_err(text);
    }
}
