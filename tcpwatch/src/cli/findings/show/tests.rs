//! What a person sees of findings.

use serde_json::json;

use super::*;

fn one() -> Value {
    json!({
        "id": "syn_flood:k", "kind": "syn_flood", "severity": "critical", "verdict": "flood",
        "since": "2026-01-01T00:00:05.000Z", "closed": null, "confidence": 0.5,
        "subject": {"netns": 1, "listener": "10.0.0.1:80", "destination": null, "remote": null,
            "owner": {"pid": 7, "process": "web\u{1b}[2J", "container": "ab".repeat(32), "runtime": "docker"}},
        "evidence": {"drops": 3, "rate": 0.5, "state": "listen", "unknown": null},
        "summary": "Half of all handshakes are not answered.",
        "meaning": "word ".repeat(40), "advice": ["First.", "Second."], "verify": ["ss -ltn 'sport = :80'"],
        "explain": "/api/v1/explain/syn_flood"
    })
}

fn answer(findings: &[Value]) -> Value {
    json!({"at": "2026-01-01T00:03:17.000Z", "findings": findings})
}

#[test]
fn in_short_a_finding_says_who_and_what_to_do() {
    let text = list(&answer(&[one()]), false, false);
    assert_eq!(
        text,
        "CRITICAL syn_flood (flood), for 3m 12s (since 00:00:05Z)\n  \
           listener 10.0.0.1:80, web?[2J[7] in docker abababababab, netns 1\n  \
           Half of all handshakes are not answered.\n  \
           > First.\n\n1 critical finding; --long says more\n"
    );
    let coloured = list(&answer(&[one()]), false, true);
    assert!(coloured.starts_with("\x1b[1;31mCRITICAL\x1b[0m syn_flood"), "{coloured}");
    let mut later = answer(&[one()]);
    later["at"] = "2026-01-04T04:03:17.000Z".into();
    assert!(list(&later, false, false).contains(", for 3d 4h (since 01-01 00:00Z)\n"));
    assert_eq!(coloured.matches('\x1b').count(), 2, "nothing else steers the terminal: {coloured:?}");
}

#[test]
fn at_length_it_says_everything() {
    let text = list(&answer(&[one()]), true, false);
    for part in [
        "\n  Meaning\n    word word",
        "\n    drops                            3\n",
        "\n    rate                             0.500\n",
        "\n    state                            listen\n",
        "\n    unknown                          unknown\n",
        "\n    confidence (0 to 1)              0.50\n",
        "\n  What to do\n    - First.\n    - Second.\n",
        "\n    ss -ltn 'sport = :80'\n",
        "\n  More: tcpwatch explain syn_flood\n",
        "\n1 critical finding\n",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
}

#[test]
fn closed_ones_and_those_of_nobody_are_told_as_such() {
    let mut closed = one();
    closed["closed"] = "2026-01-01T00:01:05.000Z".into();
    closed["subject"] = json!({"netns": null, "destination": "[::1]:5432", "owner": null});
    closed["severity"] = "warning".into();
    let text = list(&answer(&[closed]), false, false);
    assert!(text.contains("WARNING syn_flood (flood), lasted 1m 0s, ended 2m 12s ago\n"), "{text}");
    assert!(text.contains("\n  to [::1]:5432, owner unknown\n"), "{text}");
    assert!(text.ends_with("\nno open findings\n"), "{text}");
    assert_eq!(list(&answer(&[]), false, false), "no findings\n");
}

#[test]
fn what_could_not_be_found_is_said() {
    let mut answer = answer(&[]);
    answer["notes"] = json!(["one ".repeat(30), "two"]);
    let text = list(&answer, false, false);
    assert!(text.starts_with("no findings\n\none one") && text.ends_with("\n\ntwo\n"), "{text}");
}

#[test]
fn an_answer_of_another_version_is_shown_as_far_as_it_goes() {
    let text = list(&answer(&[json!({"kind": "new_kind", "severity": "worse"})]), true, false);
    assert!(text.starts_with("WORSE new_kind, for unknown (since unknown)\n"), "{text}");
}

#[test]
fn spans_have_two_units() {
    for (seconds, text) in [(-1, "0s"), (59, "59s"), (192, "3m 12s"), (7_500, "2h 5m"), (273_600, "3d 4h")] {
        assert_eq!(span(seconds), text);
    }
}

#[test]
fn changes_have_a_line() {
    let at = json!("2026-01-01T00:03:17.000Z");
    let text = change(Change::Opened, &one(), &at, false, false);
    assert!(text.starts_with("00:03:17 open CRITICAL syn_flood (listener 10.0.0.1:80, web?[2J[7]"), "{text}");
    let mut over = one();
    over["closed"] = at.clone();
    let text = change(Change::Closed, &over, &at, true, false);
    assert!(text.ends_with(", lasted 3m 12s, ended 0s ago") && text.lines().count() == 1, "{text}");
    let text = change(Change::Severity, &one(), &at, true, false);
    assert!(text.starts_with("00:03:17 now\nCRITICAL") && text.contains("What to do"), "{text}");
}
