//! One alert for each kind of finding, with the severity of the finding and the words of its explanation.

use tcpwatch::explain;
use tcpwatch::finding::Kind;

use super::cases::{Case, Fired, STEP, of};
use super::{Alert, link};
use crate::documented::Metrics;
use crate::runbooks;
use crate::text::Text;

const METRIC: &str = "tcpwatch_finding_active";

/// The detector demands by itself that the trouble lasts for long; who has the sockets is known some seconds later, and
/// until then the finding has a series of its own, which shall not alert.
const OWNER_IS_KNOWN: u32 = 30;
/// The detector looks at some seconds: what is over by itself wakes nobody.
const NO_BURST: u32 = 60;
/// One that comes back soon is the same one.
const KEEP: u32 = 300;

/// Labels that say whose it is, with the words before them; those that the metric has are used.
const WHOSE: [(&str, &str); 7] = [
    ("process", ": "),
    ("listen_addr", " at "),
    ("netns", " in network namespace "),
    ("container", " in container "),
    ("pod", " of pod "),
    ("namespace", " in namespace "),
    ("workload", ", workload "),
];

const fn hold(kind: Kind) -> u32 {
    match kind {
        // It must never happen at all.
        Kind::IllegalTransition => 0,
        Kind::CloseWaitBuildup
        | Kind::TimeWaitStorm
        | Kind::PortExhaustion
        | Kind::ClosingStuck
        | Kind::SilentPeer
        | Kind::ZeroWindowStall
        | Kind::MemoryPressure => OWNER_IS_KNOWN,
        Kind::SynFlood
        | Kind::SynQueueOverflow
        | Kind::AcceptQueueOverflow
        | Kind::RetransmitBurst
        | Kind::ConnectFailures
        | Kind::ResetStorm => NO_BURST,
    }
}

/// The name of its alert.
pub fn name(kind: Kind) -> String {
    format!("Tcpwatch{kind:?}")
}

pub fn alerts(metrics: &Metrics) -> Vec<Alert> {
    Kind::ALL.into_iter().map(|kind| alert(kind, metrics)).collect()
}

fn alert(kind: Kind, metrics: &Metrics) -> Alert {
    let page = explain::find(kind.name()).expect("each kind has a page").page;
    let todo = page.part("What to do").expect("it says what to do");
    for text in [&page.opening, todo, &page.title] {
        assert!(!text.contains(['{', '}']), "{} would be taken for a template: {text}", kind.name());
    }
    let mut summary = Text::new(page.title.clone());
    for (label, before) in WHOSE {
        if metrics.labels(METRIC).iter().any(|own| own == label) {
            summary = summary.with(label, before);
        }
    }
    let description = Text::new(format!("{}\n\nOpen findings: ", page.opening)).value("");
    let description = description.and(format!(
        ".\n\nWhat to do:\n{todo}\n\nThe proof: tcpwatch findings --kind {} --long --remote ",
        kind.name()
    ));
    let description = description
        .label("instance")
        .and(format!("\nThe explanation with the host's values: tcpwatch explain {} --remote ", kind.name()));
    Alert {
        name: name(kind),
        expr: format!("{METRIC}{{kind=\"{}\"}} > 0", kind.name()),
        hold: hold(kind),
        keep: KEEP,
        severity: None,
        summary: summary.and(", on ").label("instance"),
        description: description.label("instance"),
        runbook: link(&runbooks::path(kind)),
        means: page.title.clone(),
        case: case(kind),
    }
}

/// Two findings last, one of them without an owner; one is over too soon; the zero that is always there stays 0; and
/// other kinds are no concern of this alert.
fn case(kind: Kind) -> Case {
    let other = Kind::ALL.into_iter().find(|other| *other != kind).expect("another kind");
    let labels = |kind: Kind, severity: &str, process: &str, address: &str| {
        of(&[
            ("instance", "db1:9717"),
            ("job", "tcpwatch"),
            ("kind", kind.name()),
            ("listen_addr", address),
            ("process", process),
            ("severity", severity),
        ])
    };
    let mut lasting = labels(kind, "critical", "web", "0.0.0.0:8080");
    lasting.extend(of(&[
        ("namespace", "shop"),
        ("pod", "web-7d9f-abcde"),
        ("container", "nginx"),
        ("workload", "web"),
    ]));
    let nobodys = labels(kind, "warning", "", "");
    let begin = 4 * STEP;
    let brief = (hold(kind) / STEP).checked_sub(1).map(|more| (labels(kind, "warning", "cron", ""), more));
    let mut series = vec![
        (METRIC, lasting.clone(), "0x3 2x20 0x60".to_owned()),
        (METRIC, nobodys.clone(), "0x3 1x20 0x60".to_owned()),
        (METRIC, labels(kind, "critical", "", ""), "0x84".to_owned()),
        (METRIC, labels(other, "critical", "web", "0.0.0.0:8080"), "1x84".to_owned()),
    ];
    series.extend(brief.map(|(labels, more)| (METRIC, labels, format!("0x3 1x{more} 0x60"))));
    let fired = || vec![Fired::new(&lasting, "2"), Fired::new(&nobodys, "1")];
    let over = begin + 21 * STEP;
    let checks = vec![
        (begin - STEP, Vec::new()),
        (begin + hold(kind), fired()),
        (over + KEEP - STEP, fired()),
        (over + KEEP, Vec::new()),
    ];
    let before = (hold(kind) > 0).then(|| (begin + hold(kind) - STEP, Vec::new()));
    Case { series, checks: before.into_iter().chain(checks).collect() }
}
