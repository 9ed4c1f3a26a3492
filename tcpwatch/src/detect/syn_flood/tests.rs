//! Floods with cookies off, on and always; bursts; slow applications; and 5,000 real connections a second.

use super::*;
use crate::detect::scenes::{Second, listener, listeners};
use crate::detect::testing::{assert_told, evidence};
use crate::finding::{Evidence, Severity};

fn verdicts(cookies: u64, seconds: &[Second]) -> Vec<(&'static str, Severity)> {
    let found = detect(&listener(cookies, seconds), &Limits::default());
    found.iter().for_each(assert_told);
    found.iter().map(|one| (one.verdict.expect("always"), one.severity)).collect()
}

const FLOOD_WITHOUT_COOKIES: Second = Second {
    syn_queue: 129,
    young: 129,
    drops: 1_900,
    listen_drops: 1_900,
    queue_full: 1_900,
    accept_queue: 0,
    stuck: 0,
    overflows: 0,
    cookies_sent: 0,
    cookies_received: 0,
    made: 0,
    synack_retransmits: 0,
};

#[test]
fn floods_are_told_in_every_mode() {
    let with_cookies = Second { syn_queue: 129, young: 129, cookies_sent: 1_900, ..Second::default() };
    let always = Second { cookies_sent: 2_000, made: 5, cookies_received: 5, ..Second::default() };
    for (cookies, first, severity) in [
        (0, FLOOD_WITHOUT_COOKIES, Severity::Critical),
        (1, with_cookies, Severity::Warning),
        (2, always, Severity::Warning),
    ] {
        // At the first sample after it began.
        assert_eq!(verdicts(cookies, &[Second::default(), first]), [("flood", severity)], "{cookies}");
        let later = Second { young: 4, synack_retransmits: 100, ..first };
        assert_eq!(verdicts(cookies, &[first, later, later]), [("flood", severity)], "{cookies}");
    }
}

#[test]
fn a_flood_among_honest_clients_is_one() {
    // Honest clients get cookies too, and answer.
    let mixed = Second {
        syn_queue: 129,
        young: 3,
        cookies_sent: 7_000,
        cookies_received: 5_000,
        made: 5_000,
        ..Second::default()
    };
    assert_eq!(verdicts(1, &[mixed; 3]), [("flood", Severity::Warning)]);
    let window = listener(1, &[mixed; 3]);
    let one = &detect(&window, &Limits::default())[0];
    assert_eq!(evidence(one, "cookies_sent"), &Evidence::Count(21_000));
    assert_eq!(evidence(one, "cookies_received"), &Evidence::Count(15_000));
    assert_eq!(evidence(one, "unanswered"), &Evidence::Count(6_126));
    // A slow one that fills the queue beside a busy listener of the same namespace.
    let slow = Second { syn_queue: 120, young: 10, made: 9_000, ..Second::default() };
    assert_eq!(verdicts(1, &[slow; 3]), [("flood", Severity::Warning)]);
}

#[test]
fn a_burst_of_real_clients_is_none() {
    let burst = Second {
        syn_queue: 129,
        young: 128,
        drops: 300,
        listen_drops: 300,
        queue_full: 300,
        made: 1_500,
        ..Second::default()
    };
    assert_eq!(verdicts(0, &[burst; 3]), [("burst", Severity::Critical)]);
    let cookies = Second {
        cookies_sent: 1_500,
        cookies_received: 1_490,
        drops: 0,
        listen_drops: 0,
        queue_full: 0,
        ..burst
    };
    assert_eq!(verdicts(1, &[cookies; 3]), [], "cookies help, nobody is hurt");
}

#[test]
fn a_slow_application_is_none_either() {
    let slow = Second {
        accept_queue: 129,
        syn_queue: 120,
        young: 0,
        stuck: 100,
        drops: 200,
        overflows: 100,
        listen_drops: 100,
        synack_retransmits: 100,
        ..Second::default()
    };
    assert_eq!(verdicts(1, &[slow; 3]), [("slow_application", Severity::Critical)]);
    assert_eq!(verdicts(0, &[slow; 3]), [("slow_application", Severity::Critical)]);
}

#[test]
fn honest_traffic_is_not_flagged() {
    for (cookies, second) in [
        (1, Second::default()),
        // 5,000 real connections a second, at once or over slow links.
        (1, Second { made: 5_000, syn_queue: 2, young: 2, accept_queue: 40, ..Second::default() }),
        (1, Second { made: 5_000, syn_queue: 128, young: 126, ..Second::default() }),
        (0, Second { made: 5_000, syn_queue: 100, young: 99, ..Second::default() }),
        (
            1,
            Second {
                made: 5_000,
                syn_queue: 129,
                young: 128,
                cookies_sent: 800,
                cookies_received: 797,
                ..Second::default()
            },
        ),
        (2, Second { made: 5_000, cookies_sent: 5_000, cookies_received: 4_998, ..Second::default() }),
        // A few that never answer.
        (1, Second { syn_queue: 9, young: 0, made: 3, synack_retransmits: 9, ..Second::default() }),
        // An overflow of the accept queue is another finding.
        (1, Second { accept_queue: 129, drops: 40, overflows: 40, listen_drops: 40, ..Second::default() }),
    ] {
        assert_eq!(verdicts(cookies, &[second; 7]), [], "{second:?}");
    }
}

/// What is found of two listeners, by key.
fn of_two(cookies: u64, seconds: &[(Second, Second)]) -> Vec<(String, &'static str)> {
    let seconds: Vec<_> = seconds.iter().map(|(one, other)| (*one, Some(*other))).collect();
    let found = detect(&listeners(cookies, &seconds), &Limits::default());
    found.iter().for_each(assert_told);
    found.iter().map(|one| (one.key.clone(), one.verdict.expect("always"))).collect()
}

#[test]
fn two_listeners_that_are_flooded_at_once_are_flooded() {
    let flood = Second { syn_queue: 129, young: 4, cookies_sent: 400_000, ..Second::default() };
    let floods = ["7:0.0.0.0:8080", "7:0.0.0.0:8081"].map(|key| (key.to_owned(), "flood"));
    assert_eq!(of_two(1, &[(flood, flood); 3]), floods);
    // Requests of real clients are young: their listener has no part in the flood of the other.
    let burst = Second { young: 128, ..flood };
    let mixed = Second { made: 1_500, cookies_received: 1_490, ..flood };
    assert_eq!(of_two(1, &[(mixed, burst); 3]), floods[..1]);
    let honest = Second { young: 128, cookies_sent: 1_500, ..mixed };
    assert_eq!(of_two(1, &[(honest, burst); 3]), []);
    assert_eq!(of_two(1, &[(Second::default(), Second::default()); 3]), []);
}

#[test]
fn where_cookies_are_always_sent_it_is_one_of_several_listeners() {
    let quiet = Second::default();
    let flood = Second { cookies_sent: 2_000, made: 5, cookies_received: 5, ..quiet };
    let expected = [("7:cookies".to_owned(), "flood")];
    assert_eq!(of_two(2, &[(quiet, quiet), (flood, quiet)]), expected);
    assert_eq!(of_two(2, &[(flood, quiet); 3]), expected);
    let honest = Second { made: 5_000, cookies_sent: 5_000, cookies_received: 4_990, ..quiet };
    assert_eq!(of_two(2, &[(honest, quiet); 3]), []);
}

#[test]
fn connections_made_beside_a_flood_do_not_hide_it() {
    // One in eleven handshakes is not finished: as many as 5,000 a second.
    let diluted =
        Second { made: 50_000, cookies_sent: 55_000, cookies_received: 50_000, ..Second::default() };
    assert_eq!(verdicts(2, &[diluted; 3]), [("flood", Severity::Warning)]);
    let strict = Limits { rate: 6_000.0, ..Limits::default() };
    assert_eq!(detect(&listener(2, &[diluted; 3]), &strict), []);
}
