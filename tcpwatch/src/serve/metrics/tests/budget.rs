//! How large a page gets with thousands of everything, and that the documents say so.

use tcpwatch_common::host::RESET_REASONS;

use super::*;
use crate::model::Report;
use crate::serve::metrics::room::OF_LISTENER;

const SCALE: &str = include_str!("../../../../../docs/scale.md");
const MANY: u32 = 5_000;

/// Everything that can be on a page, thousands of times.
fn many() -> (Report, Findings) {
    let mut sample = full();
    let listeners = (0..MANY).map(|n| {
        let [_, _, high, low] = n.to_be_bytes();
        let local = ([10, 0, high, low], 80).into();
        ListenerSample { id: u64::from(n), local, pid: Some(n), ..listener(80, u64::from(n)) }
    });
    sample.listeners = listeners.collect();
    let mut survey = survey();
    let like = survey.groups[0].clone();
    survey.groups.extend((0..MANY).map(|n| Group { pid: Some(n), count: 1 + u64::from(n), ..like.clone() }));
    sample.namespaces[0].survey = Some(Arc::new(survey));
    for pid in 0..MANY {
        let process = Process { pid, command: Some(format!("worker-{pid}")), ..Process::default() };
        sample.processes.insert(pid, Arc::new(process));
    }
    let open = (0..MANY).flat_map(|n| {
        let port = u16::try_from(n).expect("a port");
        let kind = Kind::ALL[usize::from(port) % Kind::ALL.len()];
        [Severity::Warning, Severity::Critical]
            .map(|severity| finding(kind, severity, Some("web"), Some(port)))
    });
    let findings = Findings { open: open.collect(), ..Findings::default() };
    (Model::default().apply(sample), findings)
}

fn series(budget: Budget, (report, findings): &(Report, Findings)) -> u64 {
    let page = encode(&families(report, findings, USAGE, budget, &mut Ledger::default())).expect("encodes");
    let count = page.lines().filter(|line| !line.starts_with('#')).count() as u64;
    assert!(page.contains(&format!("\ntcpwatch_series {count}\n")));
    count
}

/// The number after a word of the formula in the documents.
fn documented(text: &str) -> u64 {
    let (_, rest) = SCALE.split_once(text).unwrap_or_else(|| panic!("docs/scale.md has no {text:?}"));
    let digits: String =
        rest.chars().take_while(|c| c.is_ascii_digit() || *c == ',').filter(|c| *c != ',').collect();
    digits.parse().unwrap_or_else(|_| panic!("{text:?} has no number behind it"))
}

#[test]
fn no_page_is_larger_than_its_budget() {
    let many = many();
    let wide = Budget { listeners: 10_000, owners: 10_000, findings: 10_000, ..Budget::default() };
    // What is kept free for findings that are folded, of which there may be none, and less than one subject takes.
    let spare = (Kind::ALL.len() * Severity::ALL.len() + OF_LISTENER) as u64;
    for limit in [1_000, 1_500, 5_000, 20_000, 60_000] {
        let found = series(Budget { series: limit, ..wide }, &many);
        assert!(
            found <= limit && found + spare > limit,
            "{found} of {limit}: room is left, or there is too much"
        );
    }
    // With the other bounds at their defaults the budget is not even touched.
    assert!(series(Budget::default(), &many) < 2_500);
}

/// Everything that is there without any subject, whatever the kernel has and whatever happens.
fn worst() -> Sample {
    let mut sample = full();
    sample.listeners.clear();
    sample.namespaces[0].survey = None;
    sample.reset_reasons = (0..RESET_REASONS).map(|n| (format!("reason_{n}"), 1)).collect();
    sample.programs = (0..16).map(|n| program(&format!("program_{n}"), None, 1)).collect();
    let pairs = TcpState::RFC.into_iter().flat_map(|from| TcpState::RFC.map(|to| (from, to)));
    let illegal = pairs.filter(|(from, to)| judge(*from, *to).cell.is_none());
    sample.namespaces[0].illegal = illegal.map(|(from, to)| (from, to, 1)).collect();
    sample
}

/// `base + folded + findings + 10 × owners + 10 × listeners`
#[test]
fn the_formula_in_the_documents_is_right() {
    let many = many();
    let base = series(Budget::default(), &(Model::default().apply(worst()), Findings::default()));
    assert_eq!(base, documented("a base of at most "));
    let defaults = series(Budget::default(), &many);
    let Budget { listeners, owners, findings, .. } = Budget::default();
    assert!(defaults <= documented("by default at most "), "{defaults}");
    assert!(base + documented("for what is folded at most ") <= 1_000, "the smallest budget that can be set");
    // One more of each costs as much as the documents say.
    let more = |budget: Budget| series(budget, &many) - defaults;
    let default = Budget::default();
    assert_eq!(more(Budget { listeners: listeners + 1, ..default }), documented("for each listener "));
    assert_eq!(more(Budget { owners: owners + 1, ..default }), documented("for each owner "));
    assert_eq!(
        more(Budget { findings: findings + 1, ..default }),
        documented("for each subject of a finding ")
    );
    let others = documented("for what is folded at most ");
    let sum = documented("a base of at most ") + others + findings + 10 * (owners + listeners);
    assert_eq!(sum, documented("by default at most "));
}

#[test]
fn what_is_folded_is_counted() {
    let many = many();
    let page = encode(&families(&many.0, &many.1, USAGE, Budget::default(), &mut Ledger::default()))
        .expect("encodes");
    // `kernel` and two processes of the sample itself are owners, too.
    for line in [
        "tcpwatch_subjects_folded{subject=\"listener\"} 4900",
        "tcpwatch_subjects_folded{subject=\"finding\"} 9900",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}");
    }
    let owners = lines(&page, "tcpwatch_workload_sockets").len() / 10;
    assert_eq!(owners, 21);
    let of_findings: u64 = lines(&page, "tcpwatch_finding_active")
        .iter()
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    assert_eq!(of_findings, 2 * u64::from(MANY), "none is lost");
}
