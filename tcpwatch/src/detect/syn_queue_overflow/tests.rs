//! SYN queues without cookies.

use std::time::Duration;

use super::*;
use crate::detect::scenes::{Second, listener};
use crate::detect::testing::{assert_told, evidence};

const FULL: Second = Second {
    accept_queue: 0,
    syn_queue: 129,
    young: 10,
    stuck: 0,
    drops: 40,
    overflows: 0,
    listen_drops: 40,
    queue_full: 40,
    cookies_sent: 0,
    cookies_received: 0,
    made: 0,
    synack_retransmits: 119,
};

#[test]
fn drops_of_a_full_queue_are_flagged() {
    let found = detect(&listener(0, &[FULL]), &Limits::default());
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_told(one);
    assert_eq!((one.key.as_str(), one.severity), ("7:0.0.0.0:8080", Severity::Critical));
    assert_eq!(evidence(one, "drops"), &Evidence::Count(40));
    assert_eq!(evidence(one, "syn_queue_limit"), &Evidence::Count(128));
    assert_eq!(evidence(one, "tcp_syncookies"), &Evidence::Count(0));
    assert!(
        one.summary.contains("dropped 40 SYNs") && one.summary.contains("129 half-open"),
        "{}",
        one.summary
    );
    assert!(one.advice[1].contains("as long as the accept queue may be"), "{}", one.advice[1]);
}

#[test]
fn the_sysctl_is_named_where_it_limits() {
    let mut window = listener(0, &[FULL]);
    let mut sample = window.now().clone();
    sample.listeners[0].accept_limit = 1024;
    sample.elapsed += Duration::from_secs(1);
    window.push(std::sync::Arc::new(sample));
    let found = detect(&window, &Limits::default());
    assert!(found[0].advice[1].contains("tcp_max_syn_backlog (512)"), "{}", found[0].advice[1]);
}

#[test]
fn what_is_not_dropped_there_is_no_finding() {
    for (cookies, second) in [
        (0, Second { syn_queue: 120, made: 5_000, ..Second::default() }),
        // Cookies take over.
        (1, Second { cookies_sent: 5_000, syn_queue: 129, ..Second::default() }),
        // The other queue.
        (0, Second { accept_queue: 129, drops: 9, overflows: 9, listen_drops: 9, ..Second::default() }),
        // Neither.
        (0, Second { drops: 9, listen_drops: 9, ..Second::default() }),
    ] {
        let found = detect(&listener(cookies, &[second; 5]), &Limits::default());
        assert!(found.is_empty(), "{found:?}");
    }
}
