//! Servers that close and servers that do not.

use super::*;
use crate::detect::testing::{NETNS, PID, assert_told, evidence, group, lasting, surveyed, window};
use crate::sample::Shortage;

fn held(count: u64, aged: u64, oldest: u64) -> Group {
    group(TcpState::CloseWait, count, aged, oldest)
}

fn found(window: &Window) -> Vec<Candidate> {
    detect(window, &Limits::default())
}

#[test]
fn a_server_that_never_closes_is_flagged() {
    let found = found(&lasting(&[held(12, 11, 300), group(TcpState::Established, 50, 50, 900)]));
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_told(one);
    assert_eq!((one.kind, one.verdict), (Kind::CloseWaitBuildup, Some("never_closed")));
    assert_eq!((one.key.as_str(), one.severity), ("7:pid-4711", Severity::Warning));
    assert_eq!(one.subject.owner.as_ref().map(|owner| owner.pid), Some(PID));
    assert_eq!(one.subject.listener.map(|local| local.port()), Some(8080));
    assert_eq!(evidence(one, "aged"), &Evidence::Count(11));
    assert_eq!(evidence(one, "oldest_seconds"), &Evidence::Number(300.0));
    assert_eq!(evidence(one, "growth_per_minute"), &Evidence::Number(0.0));
    assert_eq!(
        one.summary,
        "web (pid 4711) has not closed 11 sockets whose peers have closed, for 60 s or more, the oldest for 5 min"
    );
    assert_eq!(one.verify[0], "ss -tanpo state close-wait 'sport = :8080'");
}

#[test]
fn what_comes_and_goes_is_not_flagged() {
    for groups in [
        vec![],
        // Many, and none of them for long.
        vec![held(5_000, 0, 2)],
        // Too few.
        vec![held(500, 9, 300)],
        // Other states.
        vec![group(TcpState::Established, 900, 900, 900), group(TcpState::LastAck, 20, 20, 90)],
        // Together enough, of two owners.
        vec![held(6, 6, 300), Group { pid: Some(1), ..held(6, 6, 300) }],
    ] {
        assert!(found(&lasting(&groups)).is_empty(), "{groups:?}");
    }
}

#[test]
fn one_that_never_accepts_is_another_thing() {
    let waiting =
        Group { pid: None, never_accepted: true, unread: 20, unread_bytes: 340, ..held(20, 20, 90) };
    let both = found(&lasting(&[waiting.clone(), held(30, 30, 90)]));
    let [accepted, never] = both.as_slice() else { panic!("{both:?}") };
    assert_eq!(accepted.verdict, Some("never_closed"));
    assert_eq!((never.verdict, never.key.as_str()), (Some("never_accepted"), "7:port-8080:never_accepted"));
    assert_told(never);
    assert_eq!(never.subject.owner.as_ref().map(|owner| owner.pid), Some(PID), "by the listener");
    assert!(never.summary.starts_with("web (pid 4711) has never accepted 20 sockets"), "{}", never.summary);
    let known = Group { pid: Some(PID), ..waiting };
    assert_eq!(found(&lasting(&[known]))[0].key, "7:port-8080:never_accepted");
}

#[test]
fn groups_of_one_process_are_added_up() {
    let other_port = Group { port: 9090, unread_bytes: 7, ..held(6, 6, 500) };
    let found = found(&lasting(&[held(7, 7, 100), other_port]));
    assert_eq!(found.len(), 1);
    assert_eq!(evidence(&found[0], "count"), &Evidence::Count(13));
    assert_eq!(evidence(&found[0], "unread_bytes"), &Evidence::Count(7));
    assert_eq!(evidence(&found[0], "oldest_seconds"), &Evidence::Number(500.0));
}

/// `per_minute` more each minute, with so many files.
fn growing(per_minute: u64, files: (u64, u64)) -> Candidate {
    let samples = (0..=60).map(|second: u32| {
        let count = 100 + u64::from(second) * per_minute / 60;
        let mut sample = surveyed(600.0 + f64::from(second), vec![held(count, 50, 300)]);
        let process = sample.processes.get_mut(&PID).expect("there");
        Arc::make_mut(process).files = Some(files);
        sample
    });
    found(&window(samples)).remove(0)
}

#[test]
fn the_file_limit_makes_it_critical() {
    let calm = growing(0, (200, 1_024));
    assert_eq!(calm.severity, Severity::Warning);
    assert_eq!(evidence(&calm, "files"), &Evidence::Count(200));
    assert_eq!(evidence(&calm, "file_limit"), &Evidence::Count(1_024));
    assert!(calm.summary.ends_with("; it has 200 of 1024 files open"));
    assert_eq!(growing(0, (820, 1_024)).severity, Severity::Critical, "near");
    let soon = growing(120, (200, 1_024));
    assert_eq!(soon.severity, Severity::Critical, "within minutes");
    let Evidence::Number(growth) = evidence(&soon, "growth_per_minute") else { panic!("a rate") };
    assert!((110.0..=130.0).contains(growth), "{growth}");
    assert!(soon.meaning.contains("reached in about 7 min"), "{}", soon.meaning);
    assert_eq!(growing(60, (200, 1_024_000)).severity, Severity::Warning, "far");
}

#[test]
fn sockets_older_than_the_daemon_count_after_a_while() {
    let strangers = || vec![Group { unknown_age: 20, ..held(20, 0, 0) }];
    assert!(found(&window([surveyed(59.0, strangers())])).is_empty());
    let found_late = found(&window([surveyed(60.0, strangers())]));
    assert_eq!(found_late.len(), 1);
    assert!(!found_late[0].evidence.iter().any(|(name, _)| *name == "oldest_seconds"), "not known");
    let mut full = surveyed(60.0, strangers());
    let (what, since) = (What::Sockets, std::time::SystemTime::UNIX_EPOCH);
    full.shortages = vec![Shortage { what, count: 1, since, netns: None, pid: None }];
    assert!(found(&window([full])).is_empty(), "they may be young");
}

#[test]
fn without_an_owner_the_port_is_named_and_commands_find_the_namespace() {
    let mut sample = surveyed(600.0, vec![Group { pid: None, ..held(20, 20, 90) }]);
    sample.listeners.clear();
    sample.namespaces[0].is_own = false;
    let one = found(&window([sample])).remove(0);
    assert_eq!((one.key.as_str(), one.subject.netns), ("7:port-8080", Some(NETNS)));
    assert!(one.summary.starts_with("an unknown process"));
    assert!(one.confidence < 0.9);
    assert!(one.verify[0].ends_with("# inside the network namespace 7"), "{}", one.verify[0]);
}

#[test]
fn a_survey_that_is_older_than_their_end_is_not_believed() {
    let mut sample = surveyed(600.0, vec![held(20, 20, 90)]);
    assert_eq!(found(&window([sample.clone()])).len(), 1);
    // The exact counts know that most are gone.
    sample.namespaces[0].adopted[TcpState::CloseWait.index()] = 9;
    assert!(found(&window([sample])).is_empty());
}

/// A group of sockets: the port, and whose they are.
type Whose = (u16, Option<u32>);
/// A key, and those before.
type Keys<'a> = (&'a str, &'a [&'a str]);

#[test]
fn keys_from_before_the_owner_was_known_are_told() {
    let cases: &[(&[Whose], &[Keys<'_>])] = &[
        (&[(80, None)], &[("7:port-80", &[])]),
        (&[(80, Some(5))], &[("7:pid-5", &["7:port-80"])]),
        (&[(80, Some(5)), (81, Some(5))], &[("7:pid-5", &["7:port-80", "7:port-81"])]),
        (&[(80, Some(5)), (80, None)], &[("7:pid-5", &["7:port-80"]), ("7:port-80", &[])]),
    ];
    for (groups, expected) in cases {
        let groups: Vec<_> =
            groups.iter().map(|(port, pid)| Group { port: *port, pid: *pid, ..held(20, 20, 90) }).collect();
        let found = found(&lasting(&groups));
        let keys: Vec<(&str, Vec<&str>)> = found
            .iter()
            .map(|one| (one.key.as_str(), one.earlier.iter().map(String::as_str).collect()))
            .collect();
        let expected: Vec<_> = expected.iter().map(|(key, earlier)| (*key, earlier.to_vec())).collect();
        assert_eq!(keys, expected);
    }
    let waiting = Group { never_accepted: true, ..held(20, 20, 90) };
    assert!(found(&lasting(&[waiting]))[0].earlier.is_empty(), "it keeps its key");
}

#[test]
fn sockets_that_get_an_owner_have_not_grown() {
    let named_from = 10;
    let samples = (0..=90).map(|second: u32| {
        let pid = (second >= named_from).then_some(PID);
        let mut sample = surveyed(600.0 + f64::from(second), vec![Group { pid, ..held(900, 900, 300) }]);
        let process = sample.processes.get_mut(&PID).expect("there");
        Arc::make_mut(process).files = Some((200, 1_024));
        sample
    });
    let mut detectors = crate::detect::Detectors::default();
    let mut last = None;
    for (second, sample) in samples.enumerate() {
        let findings = detectors.apply(&Arc::new(sample), &crate::detect::Thresholds::default());
        let [one] = findings.open.as_slice() else { panic!("{second}: {:?}", findings.open) };
        assert_eq!(one.id, "close_wait_buildup:7:port-8080");
        assert_eq!(one.seen.severity, Severity::Warning, "{second}: {:?}", one.seen.evidence);
        assert_eq!(one.seen.subject.owner.as_ref().map(|owner| owner.pid), Some(PID));
        last = Some(one.clone());
    }
    let last = last.expect("seconds");
    assert_eq!(last.seen.key, "7:pid-4711");
    assert_eq!(evidence(&last.seen, "growth_per_minute"), &Evidence::Number(0.0), "of the last minute");
}
