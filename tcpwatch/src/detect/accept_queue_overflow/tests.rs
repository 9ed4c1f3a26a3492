//! Slow accept loops and bursts, and queues that are only long.

use std::time::Duration;

use super::*;
use crate::detect::scenes::{Second, listener};
use crate::detect::testing::{PID, assert_told, evidence};

fn found(seconds: &[Second]) -> Vec<Candidate> {
    detect(&listener(1, seconds), &Limits::default())
}

/// A full queue, with drops at the SYN and at the last ACK.
fn full(at_syn: u32, at_ack: u32) -> Second {
    Second {
        accept_queue: 129,
        syn_queue: u64::from(at_ack > 0) * 3,
        drops: at_syn + 2 * at_ack,
        overflows: u64::from(at_syn + at_ack),
        listen_drops: u64::from(at_syn + at_ack),
        ..Second::default()
    }
}

#[test]
fn the_first_drop_is_flagged_at_the_next_sample() {
    let found = found(&[Second { accept_queue: 100, made: 900, ..Second::default() }, full(1, 0)]);
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_told(one);
    assert_eq!(
        (one.key.as_str(), one.severity, one.verdict),
        ("7:0.0.0.0:8080", Severity::Warning, Some("burst"))
    );
    assert_eq!(one.subject.owner.as_ref().map(|owner| owner.pid), Some(PID));
    assert_eq!(evidence(one, "drops_at_syn"), &Evidence::Count(1));
    assert!(one.advice[0].contains("The limit of 128 is the application's own"), "{}", one.advice[0]);
}

#[test]
fn an_application_that_does_not_accept_is_told_by_stage() {
    let found = found(&[full(20, 4); 7]);
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_told(one);
    assert_eq!((one.severity, one.verdict), (Severity::Critical, Some("slow_accept")));
    // The last five seconds.
    assert_eq!(evidence(one, "drops_at_syn"), &Evidence::Count(100));
    assert_eq!(evidence(one, "drops_at_last_ack"), &Evidence::Count(20));
    assert_eq!(evidence(one, "accept_queue_limit"), &Evidence::Count(128));
    assert!(one.meaning.contains("believe that they are connected"), "{}", one.meaning);
}

#[test]
fn an_application_that_has_accepted_nothing_is_told_at_once() {
    let verdict = |made| found(&[Second { made, ..full(5, 0) }])[0].verdict;
    assert_eq!((verdict(129), verdict(130)), (Some("slow_accept"), Some("burst")));
    // It has caught up since.
    let after = [full(5, 0), full(5, 0), Second { made: 900, ..Second::default() }];
    assert_eq!(found(&after)[0].verdict, Some("burst"));
}

#[test]
fn overflows_of_unknown_stage_are_told_though_the_queue_was_never_seen_full() {
    let burst = Second {
        drops: 5,
        overflows: 5,
        listen_drops: 5,
        cookies_received: 9,
        made: 100,
        ..Second::default()
    };
    let found = found(&[burst]);
    assert_eq!(evidence(&found[0], "drops"), &Evidence::Count(5));
    assert_eq!(evidence(&found[0], "drops_at_unknown_stage"), &Evidence::Count(5));
    assert_eq!(found[0].verdict, Some("burst"));
}

#[test]
fn what_is_accepted_in_time_is_no_finding() {
    for seconds in [
        vec![],
        vec![Second::default(); 7],
        // Long, even full, and nothing dropped.
        vec![Second { accept_queue: 129, made: 5_000, ..Second::default() }; 7],
        // Stray segments that the kernel counts on the socket.
        vec![Second { accept_queue: 100, drops: 30, ..Second::default() }; 7],
        // Drops of the SYN queue.
        vec![Second { syn_queue: 129, drops: 9, listen_drops: 9, queue_full: 9, ..Second::default() }; 7],
        // Long ago.
        [vec![full(50, 0)], vec![Second::default(); 8]].concat(),
    ] {
        assert!(found(&seconds).is_empty(), "{seconds:?}");
    }
}

#[test]
fn somaxconn_is_named_where_it_limits() {
    let mut window = listener(1, &[full(1, 0)]);
    let mut sample = window.now().clone();
    let mut sysctls = **sample.namespaces[0].sysctls.as_ref().expect("given");
    sysctls.somaxconn = Some(128);
    sample.namespaces[0].sysctls = Some(std::sync::Arc::new(sysctls));
    sample.elapsed += Duration::from_secs(1);
    window.push(std::sync::Arc::new(sample));
    let found = detect(&window, &Limits::default());
    assert!(found[0].advice.iter().any(|text| text.contains("may be net.core.somaxconn, which is 128")));
}

#[test]
fn two_full_listeners_that_cannot_be_told_apart_are_both_named() {
    let two = |window: &Window| {
        window
            .recent(Duration::from_mins(1))
            .map(|sample| {
                let mut sample = sample.clone();
                let mut other = sample.listeners[0].clone();
                (other.id, other.local) = (2, "0.0.0.0:81".parse().expect("an address"));
                sample.listeners.push(other);
                std::sync::Arc::new(sample)
            })
            .collect::<Vec<_>>()
    };
    // Both hold requests, and there are more drops on the sockets than overflows.
    let mut samples = two(&listener(1, &[full(0, 0), full(3, 4)])).into_iter();
    let mut window = Window::new(samples.next().expect("one"));
    samples.for_each(|sample| window.push(sample));
    let found = detect(&window, &Limits::default());
    assert_eq!(found.len(), 2, "{found:?}");
    for one in &found {
        assert_told(one);
        assert!(one.confidence < 0.7);
        assert_eq!(evidence(one, "drops"), &Evidence::Count(0));
        assert_eq!(evidence(one, "drops_of_several_listeners"), &Evidence::Count(7));
    }
}

#[test]
fn of_several_processes_the_one_with_the_fullest_queue_is_named() {
    let base = listener(1, &[full(20, 0); 7]);
    let mut sample = base.now().clone();
    let other = PID + 1;
    let mut second = sample.listeners[0].clone();
    (second.id, second.pid, second.accept_queue) = (second.id + 1, Some(other), 3);
    sample.listeners.push(second.clone());
    sample
        .processes
        .insert(other, std::sync::Arc::new(crate::process::Process { pid: other, ..Default::default() }));
    let told = |sample: Sample| {
        let mut window = base.clone();
        window.push(std::sync::Arc::new(sample));
        let all = detect(&window, &Limits::default());
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(evidence(one, "members"), &Evidence::Count(2));
        (one.subject.owner.as_ref().map(|owner| owner.pid), one.summary.clone())
    };
    let (owner, summary) = told(sample.clone());
    assert_eq!(owner, Some(PID));
    assert!(summary.contains("web (pid 4711), one of 2 processes, does not accept"), "{summary}");
    let last = sample.listeners.len() - 1;
    sample.listeners[last].accept_queue = 129;
    sample.listeners[0].accept_queue = 0;
    assert_eq!(told(sample.clone()).0, Some(other));
    // Two sockets of one process are nobody else's.
    sample.listeners[last].pid = Some(PID);
    assert!(!told(sample).1.contains("one of"));
}
