//! Metrics of findings: what is wrong now, and how often it was.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::bounds;
use super::family::{Family, number};
use super::owner::{OTHER, Owner};
use crate::detect::Findings;
use crate::finding::{Finding, Kind, Severity};

/// Kind, severity, owner, and address of the listener.
type Labels = (Kind, Severity, Owner, String);

pub(super) fn add(families: &mut Vec<Family>, findings: &Findings) {
    families.extend([active(findings), total(findings)]);
}

fn active(findings: &Findings) -> Family {
    let mut family = Family::gauge(
        "tcpwatch_finding_active",
        "Open findings by kind and severity, owner and listener, empty where they are not known or there is none; 0 \
         for kinds without. What is beyond 100 subjects is in process=\"other\". /api/v1/findings explains each",
    );
    let mut series: BTreeMap<Labels, u64> = BTreeMap::new();
    for kind in Kind::ALL {
        for severity in Severity::ALL {
            series.insert((kind, severity, Owner::default(), String::new()), 0);
        }
    }
    let mut subjects: BTreeMap<Labels, u64> = BTreeMap::new();
    for finding in &findings.open {
        *subjects.entry(labels(finding)).or_default() += 1;
    }
    let mut ranked: Vec<_> = subjects.into_iter().collect();
    // What is critical is shown rather than what is frequent.
    ranked.sort_by_key(|((_, severity, ..), count)| Reverse((*severity, *count)));
    for (place, (labels, count)) in ranked.into_iter().enumerate() {
        let (kind, severity, ..) = labels;
        let folded = (kind, severity, Owner::only(OTHER), String::from(OTHER));
        *series.entry(if place < bounds::FINDINGS { labels } else { folded }).or_default() += count;
    }
    for ((kind, severity, owner, listener), count) in series {
        let before = [("kind", kind.name()), ("severity", severity.name())];
        family.add(&owner.labels(&before, &[("listen_addr", &listener)]), number(count));
    }
    family
}

fn labels(finding: &Finding) -> Labels {
    let subject = &finding.seen.subject;
    let owner = subject.owner.as_deref().map(Owner::of).unwrap_or_default();
    let listener = subject.listener.map(|listener| listener.to_string()).unwrap_or_default();
    (finding.seen.kind, finding.seen.severity, owner, listener)
}

fn total(findings: &Findings) -> Family {
    let mut family = Family::counter("tcpwatch_findings_total", "Findings that were opened, by kind");
    for kind in Kind::ALL {
        let count = findings.totals.get(&kind).copied().unwrap_or(0);
        family.add(&[("kind", kind.name())], number(count));
    }
    family
}
