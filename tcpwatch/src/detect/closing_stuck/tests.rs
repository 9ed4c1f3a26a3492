//! Connections that close in time, and those that do not.

use std::sync::Arc;

use super::*;
use crate::detect::testing::{assert_told, evidence, group, lasting, surveyed, sysctls, window};

fn found(groups: &[Group]) -> Vec<Candidate> {
    detect(&lasting(groups), &Limits::default())
}

fn orphans(state: TcpState, count: u64, oldest: u64) -> Group {
    Group { orphan: true, pid: None, ..group(state, count, count, oldest) }
}

#[test]
fn patience_is_the_kernels() {
    let seconds = |retries| patience(retries).as_secs_f64();
    // Documentation/networking/ip-sysctl: 15 retries are 924.6 s; a comment in tcp_timer.c: 8 are over 100 s.
    for (retries, expected) in [(0, 0.2), (1, 0.6), (3, 3.0), (8, 102.2), (9, 204.6), (15, 924.6)] {
        assert!((seconds(retries) - expected).abs() < 1e-9, "{retries}: {}", seconds(retries));
    }
}

#[test]
fn settings_say_how_long_it_may_take() {
    let allowed = |sysctls: &Sysctls, state, orphan| allowed(sysctls, state, orphan).as_secs_f64();
    let default = sysctls();
    for (state, orphan, expected) in [
        (TcpState::FinWait1, true, 204.4),
        (TcpState::LastAck, true, 204.4),
        (TcpState::LastAck, false, 1044.6),
        (TcpState::FinWait2, true, 60.0),
    ] {
        let seconds = allowed(&default, state, orphan);
        assert!((seconds - expected).abs() < 1e-9, "{state:?} {orphan}: {seconds}");
        assert!(
            (allowed(&Sysctls::default(), state, orphan) - expected).abs() < 1e-9,
            "unknown is the default"
        );
    }
    let short = Sysctls { orphan_retries: Some(1), retries2: Some(3), fin_timeout: Some(5), ..default };
    assert!((allowed(&short, TcpState::Closing, true) - 1.2).abs() < 1e-9);
    assert!((allowed(&short, TcpState::Closing, false) - 6.0).abs() < 1e-9);
    assert!((allowed(&short, TcpState::FinWait2, true) - 5.0).abs() < 1e-9);
}

#[test]
fn within_what_is_allowed_nothing_is_stuck() {
    for groups in [
        vec![orphans(TcpState::FinWait1, 50, 219), orphans(TcpState::FinWait2, 50, 75)],
        vec![group(TcpState::LastAck, 50, 50, 1_059), orphans(TcpState::Closing, 50, 200)],
        // Half closed by its owner, which may last.
        vec![group(TcpState::FinWait2, 50, 50, 90_000)],
        // Other states.
        vec![group(TcpState::CloseWait, 50, 50, 90_000), group(TcpState::Established, 50, 50, 90_000)],
        // Few.
        vec![orphans(TcpState::FinWait1, 4, 9_000)],
    ] {
        assert!(found(&groups).is_empty(), "{groups:?}");
    }
}

#[test]
fn beyond_it_they_are_flagged_by_state_and_service() {
    let slow = Group { unsent_bytes: 9_000, ..orphans(TcpState::FinWait1, 6, 400) };
    let all = found(&[slow, orphans(TcpState::LastAck, 6, 221), orphans(TcpState::FinWait2, 6, 76)]);
    let keys: Vec<_> = all.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(keys, ["7:orphan-fin_wait1:8080", "7:orphan-fin_wait2:8080", "7:orphan-last_ack:8080"]);
    all.iter().for_each(assert_told);
    let first = &all[0];
    assert_eq!(
        first.summary,
        "6 sockets of web (pid 4711) on port 8080 are stuck in FIN_WAIT1, the oldest for 6 min where 3 min are allowed"
    );
    assert_eq!(evidence(first, "unsent_bytes"), &Evidence::Count(9_000));
    assert!(first.meaning.contains("9000 bytes") && first.meaning.contains("tcp_max_orphans"));
    assert_eq!(first.verify[0], "ss -tanoi state fin-wait-1 'sport = :8080'");
    assert_eq!(first.subject.listener.map(|local| local.port()), Some(8080));
}

#[test]
fn each_namespace_has_its_own_settings() {
    let hurried = |orphan_retries| {
        let mut sample = surveyed(600.0, vec![orphans(TcpState::LastAck, 6, 90)]);
        sample.namespaces[0].sysctls = Some(Arc::new(Sysctls { orphan_retries, ..sysctls() }));
        detect(&window([sample]), &Limits::default()).len()
    };
    assert_eq!((hurried(Some(0)), hurried(Some(3)), hurried(None)), (0, 1, 0));
}

#[test]
fn connections_opened_here_name_where_they_lead() {
    let active = Group { role: Some(Role::Active), port: 443, ..group(TcpState::FinWait1, 9, 9, 2_000) };
    let one = found(&[active]).remove(0);
    assert_eq!(one.key, "7:fin_wait1:443");
    assert!(one.subject.destination.is_some() && one.subject.listener.is_none());
    assert!(one.verify[0].ends_with("'dport = :443'"));
    assert!(one.advice.iter().any(|line| line.contains("TCP_USER_TIMEOUT")));
}
