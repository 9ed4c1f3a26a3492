//! Findings over made-up time lines.

use std::sync::Arc;

use super::*;
use crate::finding::{Severity, Subject};
use crate::process::Process;

fn candidate(kind: Kind, key: &str, severity: Severity) -> Candidate {
    Candidate {
        kind,
        key: key.into(),
        earlier: Vec::new(),
        severity,
        verdict: None,
        subject: Subject::default(),
        confidence: 1.0,
        evidence: Vec::new(),
        summary: String::new(),
        meaning: String::new(),
        advice: Vec::new(),
        verify: Vec::new(),
    }
}

fn storm(key: &str) -> Candidate {
    candidate(Kind::ResetStorm, key, Severity::Warning)
}

fn moment(seconds: u64) -> Moment {
    let elapsed = Duration::from_secs(seconds);
    Moment { at: SystemTime::UNIX_EPOCH + elapsed, elapsed }
}

/// Ids that are open, opened now and closed now.
fn step(engine: &mut Engine, seconds: u64, seen: Vec<Candidate>) -> (usize, usize, usize) {
    let findings = engine.apply(seen, moment(seconds), &Limits::default());
    (findings.open.len(), findings.opened_now.len(), findings.closed_now.len())
}

#[test]
fn a_finding_opens_at_once_and_closes_late() {
    let mut engine = Engine::default();
    assert_eq!(step(&mut engine, 1, vec![storm("a")]), (1, 1, 0));
    assert_eq!(step(&mut engine, 2, vec![storm("a")]), (1, 0, 0));
    assert_eq!(step(&mut engine, 3, vec![]), (1, 0, 0), "missing since now");
    assert_eq!(step(&mut engine, 12, vec![]), (1, 0, 0));
    assert_eq!(step(&mut engine, 13, vec![]), (0, 0, 1));
    let findings = engine.apply(vec![], moment(14), &Limits::default());
    assert_eq!(findings.closed.len(), 1);
    let closed = &findings.closed[0];
    assert_eq!((closed.id.as_str(), closed.since), ("reset_storm:a", moment(1).at));
    assert_eq!(closed.closed, Some(moment(13).at));
}

#[test]
fn what_comes_and_goes_stays_open() {
    let mut engine = Engine::default();
    let mut changes = 0;
    for second in 0..200 {
        let seen = if second % 8 == 0 { vec![storm("a")] } else { vec![] };
        let (open, opened, closed) = step(&mut engine, second, seen);
        assert_eq!(open, 1);
        changes += opened + closed;
    }
    assert_eq!(changes, 1);
}

#[test]
fn one_that_comes_back_soon_is_the_same_one() {
    let mut engine = Engine::default();
    step(&mut engine, 1, vec![storm("a")]);
    step(&mut engine, 2, vec![]);
    assert_eq!(step(&mut engine, 12, vec![]), (0, 0, 1));
    let findings = engine.apply(vec![storm("a")], moment(21), &Limits::default());
    assert_eq!(findings.open[0].since, moment(1).at);
    assert_eq!(findings.opened_now.len(), 1, "the log said that it was over");
    assert!(findings.closed.is_empty());
    assert!(findings.totals == BTreeMap::from([(Kind::ResetStorm, 1)]));

    step(&mut engine, 22, vec![]);
    assert_eq!(step(&mut engine, 32, vec![]), (0, 0, 1));
    let findings = engine.apply(vec![storm("a")], moment(42), &Limits::default());
    assert_eq!(findings.open[0].since, moment(42).at, "another one");
    assert!(findings.totals == BTreeMap::from([(Kind::ResetStorm, 2)]));
}

#[test]
fn a_pause_between_samples_closes_nothing() {
    let mut engine = Engine::default();
    step(&mut engine, 1, vec![storm("a")]);
    assert_eq!(step(&mut engine, 500, vec![]), (1, 0, 0));
    assert_eq!(step(&mut engine, 501, vec![storm("a")]), (1, 0, 0));
}

#[test]
fn the_severity_may_change_and_the_worst_comes_first() {
    let mut engine = Engine::default();
    step(&mut engine, 1, vec![storm("a")]);
    step(&mut engine, 2, vec![storm("a"), storm("b")]);
    let worse = candidate(Kind::ResetStorm, "b", Severity::Critical);
    let findings = engine.apply(vec![storm("a"), storm("b"), worse], moment(3), &Limits::default());
    let order: Vec<_> = findings.open.iter().map(|open| (open.id.as_str(), open.seen.severity)).collect();
    assert_eq!(order, [("reset_storm:b", Severity::Critical), ("reset_storm:a", Severity::Warning)]);
    assert_eq!(findings.open[0].since, moment(2).at);
    assert!(findings.opened_now.is_empty());
}

#[test]
fn the_closed_are_bounded_by_number_and_age() {
    let mut engine = Engine::default();
    let many = |from: u32| (from..from + 300).map(|key| storm(&key.to_string())).collect::<Vec<_>>();
    step(&mut engine, 1, many(0));
    step(&mut engine, 2, vec![]);
    assert_eq!(step(&mut engine, 12, vec![]).2, 300);
    let closed = |engine: &mut Engine, at| engine.apply(vec![], moment(at), &Limits::default()).closed.len();
    assert_eq!(closed(&mut engine, 13), MOST_CLOSED);
    assert_eq!(closed(&mut engine, 3611), MOST_CLOSED);
    assert_eq!(closed(&mut engine, 3612), 0);
}

#[test]
fn the_same_samples_give_the_same_findings() {
    let run = || {
        let mut engine = Engine::default();
        let step = |second: u64| {
            let seen =
                ["a", "b", "c"].into_iter().filter(|key| !(second + key.len() as u64).is_multiple_of(3));
            engine.apply(seen.map(storm).collect(), moment(second), &Limits::default())
        };
        (0..50).map(step).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn who_it_was_is_not_forgotten() {
    let mut engine = Engine::default();
    let owner = Arc::new(Process { pid: 7, ..Process::default() });
    let mut known = storm("a");
    known.subject.owner = Some(Arc::clone(&owner));
    known.subject.listener = Some(([127, 0, 0, 1], 80).into());
    step(&mut engine, 1, vec![known.clone()]);
    let open = engine.apply(vec![storm("a")], moment(2), &Limits::default()).open;
    assert_eq!(open[0].seen.subject, known.subject);
    let mut other = storm("a");
    other.subject.owner = Some(Arc::new(Process { pid: 8, ..Process::default() }));
    let open = engine.apply(vec![other], moment(3), &Limits::default()).open;
    assert_eq!(open[0].seen.subject.owner.as_ref().map(|owner| owner.pid), Some(8), "known better now");
}

/// Of the process, or of nobody known.
fn leak(pid: Option<u32>) -> Candidate {
    let key = pid.map_or_else(|| String::from("port"), |pid| format!("pid-{pid}"));
    let earlier = pid.map(|_| String::from("port")).into_iter().collect();
    Candidate { earlier, ..candidate(Kind::CloseWaitBuildup, &key, Severity::Warning) }
}

/// What is seen each second, and what is open at last: since when, and as whose.
type Course<'a> = (&'a str, &'a [&'a [Option<u32>]], &'a [(&'a str, u64, &'a str)]);

#[test]
fn one_whose_owner_becomes_known_is_the_same_one() {
    let cases: &[Course<'_>] = &[
        ("named late", &[&[None], &[None], &[Some(1)], &[Some(1)]], &[("port", 0, "pid-1")]),
        ("not named for a moment", &[&[None], &[Some(1)], &[None], &[Some(1)]], &[("port", 0, "pid-1")]),
        ("missing in between", &[&[None], &[], &[], &[Some(1)]], &[("port", 0, "pid-1")]),
        ("named at once", &[&[Some(1)], &[Some(1)]], &[("pid-1", 0, "pid-1")]),
        (
            "one of two takes it over",
            &[&[None], &[Some(1), Some(2)], &[Some(1), Some(2)]],
            &[("port", 0, "pid-1"), ("pid-2", 1, "pid-2")],
        ),
        // What has no owner yet is part of it.
        ("the rest is named later", &[&[None], &[Some(1)], &[Some(1), None]], &[("port", 0, "pid-1")]),
        // Some sockets are nobody's all the time.
        ("two at once", &[&[None, Some(1)], &[None, Some(1)]], &[("pid-1", 0, "pid-1"), ("port", 0, "port")]),
        // One that is open of its own is not taken from itself.
        (
            "known before",
            &[&[Some(1)], &[None, Some(1)], &[Some(1)]],
            &[("pid-1", 0, "pid-1"), ("port", 1, "port")],
        ),
        // The first process is not the second.
        (
            "another process",
            &[&[None], &[Some(1)], &[Some(2)]],
            &[("port", 0, "pid-1"), ("pid-2", 2, "pid-2")],
        ),
    ];
    for (what, seconds, expected) in cases {
        let mut engine = Engine::default();
        let mut findings = Findings::default();
        let mut opened = Vec::new();
        for (second, seen) in (0..).zip(*seconds) {
            let seen = seen.iter().map(|pid| leak(*pid)).collect();
            findings = engine.apply(seen, moment(second), &Limits::default());
            opened.extend(findings.opened_now.iter().map(|finding| finding.id.clone()));
            assert!(findings.closed_now.is_empty(), "{what}");
        }
        let seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).expect("later").as_secs();
        let short = |id: &str| id.replace("close_wait_buildup:", "");
        let open = findings.open.iter();
        let mut open: Vec<_> =
            open.map(|open| (short(&open.id), seconds(open.since), open.seen.key.clone())).collect();
        open.sort();
        let mut expected: Vec<_> =
            expected.iter().map(|(id, at, key)| ((*id).into(), *at, (*key).into())).collect();
        expected.sort();
        assert_eq!(open, expected, "{what}");
        assert_eq!(opened.len(), expected.len(), "{what}: {opened:?}");
        assert_eq!(findings.totals[&Kind::CloseWaitBuildup], expected.len() as u64, "{what}");
    }
}

#[test]
fn one_that_comes_back_with_its_owner_is_the_same_one() {
    // Closed without an owner or with one, and back with one or without.
    for (before, after) in [(&[None][..], Some(1)), (&[None, Some(1)], Some(1)), (&[None, Some(1)], None)] {
        let mut engine = Engine::default();
        for (second, pid) in (0..).zip(before) {
            step(&mut engine, second, vec![leak(*pid)]);
        }
        step(&mut engine, 2, vec![]);
        assert_eq!(step(&mut engine, 12, vec![]), (0, 0, 1));
        let findings = engine.apply(vec![leak(after)], moment(15), &Limits::default());
        let open = &findings.open[0];
        assert_eq!((open.id.as_str(), open.since), ("close_wait_buildup:port", moment(0).at));
        assert!(findings.closed.is_empty());
        assert_eq!(findings.totals[&Kind::CloseWaitBuildup], 1);
        let again = engine.apply(vec![leak(Some(1))], moment(16), &Limits::default());
        assert_eq!((again.open.len(), again.open[0].since), (1, moment(0).at));
    }
}
