//! What is wrong, explained.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value};

use super::owner::Owner;
use super::timestamp;
use crate::detect::Findings;
use crate::finding::{self, Evidence, Kind};

/// `/api/v1/findings`.
#[derive(Debug, Serialize)]
pub struct List {
    pub at: String,
    /// Open ones first, the worst first; then closed ones if they are asked for, the latest first.
    pub findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
pub struct Finding {
    /// The same as long as the trouble lasts.
    pub id: String,
    pub kind: &'static str,
    pub severity: &'static str,
    /// A kind can have several readings.
    pub verdict: Option<&'static str>,
    pub since: String,
    /// `null` while it is open.
    pub closed: Option<String>,
    /// Between 0 and 1.
    pub confidence: f64,
    pub subject: Subject,
    pub evidence: Map<String, Value>,
    pub summary: String,
    pub meaning: String,
    pub advice: Vec<String>,
    /// Commands that show the same with other tools.
    pub verify: Vec<String>,
    /// Where more is said of this kind.
    pub explain: String,
}

/// Whom it concerns; `null` is what does not apply or is not known.
#[derive(Debug, Serialize)]
pub struct Subject {
    pub netns: Option<u64>,
    pub listener: Option<String>,
    pub destination: Option<String>,
    pub remote: Option<String>,
    pub owner: Option<Owner>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    pub netns: Option<u64>,
    pub kind: Option<Kind>,
    /// Those as well that were closed so long ago or less.
    pub closed: Option<Duration>,
}

/// The findings at a time.
pub fn findings(findings: &Findings, at: SystemTime, choice: Choice) -> List {
    let is_recent = |finding: &&finding::Finding| {
        let age = finding.closed.map(|closed| at.duration_since(closed).unwrap_or_default());
        age.zip(choice.closed).is_some_and(|(age, most)| age <= most)
    };
    let is_chosen = |finding: &&finding::Finding| {
        choice.kind.is_none_or(|kind| kind == finding.seen.kind)
            && choice.netns.is_none_or(|netns| finding.seen.subject.netns == Some(netns))
    };
    let closed = findings.closed.iter().filter(is_recent);
    let chosen = findings.open.iter().chain(closed).filter(is_chosen);
    List { at: timestamp(at), findings: chosen.map(Finding::from).collect() }
}

impl From<&finding::Finding> for Finding {
    fn from(finding: &finding::Finding) -> Self {
        let seen = &finding.seen;
        let kind = seen.kind.name();
        Self {
            id: finding.id.clone(),
            kind,
            severity: seen.severity.name(),
            verdict: seen.verdict,
            since: timestamp(finding.since),
            closed: finding.closed.map(timestamp),
            confidence: seen.confidence,
            subject: Subject::from(&seen.subject),
            evidence: seen.evidence.iter().map(|(name, proof)| ((*name).to_owned(), value(proof))).collect(),
            summary: seen.summary.clone(),
            meaning: seen.meaning.clone(),
            advice: seen.advice.clone(),
            verify: seen.verify.clone(),
            explain: format!("/api/v1/explain/{kind}"),
        }
    }
}

impl From<&finding::Subject> for Subject {
    fn from(subject: &finding::Subject) -> Self {
        Self {
            netns: subject.netns,
            listener: subject.listener.map(address),
            destination: subject.destination.map(address),
            remote: subject.remote.map(|remote| remote.to_canonical().to_string()),
            owner: subject.owner.as_deref().map(Owner::from),
        }
    }
}

fn value(evidence: &Evidence) -> Value {
    match evidence {
        Evidence::Count(count) => (*count).into(),
        // No number is `null`.
        Evidence::Number(number) => (*number).into(),
        Evidence::Text(text) => text.as_str().into(),
    }
}

/// v4-mapped addresses are shown as IPv4.
fn address(address: SocketAddr) -> String {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port()).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::finding::{Candidate, Severity};
    use crate::process::{Container, Process};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn one(kind: Kind, netns: u64, closed: Option<u64>) -> finding::Finding {
        let container = Container { runtime: "docker", id: "ab".repeat(32), ..Container::default() };
        let owner =
            Process { pid: 7, command: Some("web".into()), container: Some(container), ..Process::default() };
        let seen = Candidate {
            kind,
            key: "k".into(),
            earlier: Vec::new(),
            severity: Severity::Critical,
            verdict: Some("flood"),
            subject: finding::Subject {
                netns: Some(netns),
                listener: "[::ffff:10.0.0.1]:80".parse().ok(),
                remote: "::1".parse().ok(),
                owner: Some(Arc::new(owner)),
                ..finding::Subject::default()
            },
            confidence: 0.5,
            evidence: vec![
                ("drops", Evidence::Count(3)),
                ("rate", Evidence::Number(0.5)),
                ("state", Evidence::Text("listen".into())),
                ("unknown", Evidence::Number(f64::NAN)),
            ],
            summary: "s".into(),
            meaning: "m".into(),
            advice: vec!["a".into()],
            verify: vec!["v".into()],
        };
        finding::Finding { id: format!("{}:k", kind.name()), since: at(5), closed: closed.map(at), seen }
    }

    #[test]
    fn the_shape_is_as_it_is_documented() {
        let findings = Findings { open: vec![one(Kind::SynFlood, 1, None)], ..Findings::default() };
        let list = super::findings(&findings, at(9), Choice::default());
        let expected = serde_json::json!({"at": "1970-01-01T00:00:09.000Z", "findings": [{
            "id": "syn_flood:k", "kind": "syn_flood", "severity": "critical", "verdict": "flood",
            "since": "1970-01-01T00:00:05.000Z", "closed": null, "confidence": 0.5,
            "subject": {"netns": 1, "listener": "10.0.0.1:80", "destination": null, "remote": "::1", "owner": {
                "pid": 7, "process": "web", "container": "ab".repeat(32), "runtime": "docker", "user": null}},
            "evidence": {"drops": 3, "rate": 0.5, "state": "listen", "unknown": null},
            "summary": "s", "meaning": "m", "advice": ["a"], "verify": ["v"],
            "explain": "/api/v1/explain/syn_flood"}]});
        assert_eq!(serde_json::to_value(list).expect("JSON"), expected);
    }

    #[test]
    fn only_what_is_asked_for_is_shown() {
        let findings = Findings {
            open: vec![one(Kind::SynFlood, 1, None), one(Kind::ResetStorm, 2, None)],
            closed: vec![one(Kind::SynFlood, 2, Some(90)), one(Kind::ResetStorm, 1, Some(40))],
            ..Findings::default()
        };
        let shown = |choice| {
            let list = super::findings(&findings, at(100), choice);
            list.findings
                .iter()
                .map(|one| (one.kind, one.subject.netns, one.closed.is_some()))
                .collect::<Vec<_>>()
        };
        let (flood, storm) = ("syn_flood", "reset_storm");
        let all = Choice::default();
        assert_eq!(shown(all), [(flood, Some(1), false), (storm, Some(2), false)]);
        let minute = Choice { closed: Some(Duration::from_mins(1)), ..all };
        assert_eq!(shown(minute)[2..], [(flood, Some(2), true), (storm, Some(1), true)]);
        let seconds = Choice { closed: Some(Duration::from_secs(10)), ..all };
        assert_eq!(shown(seconds)[2..], [(flood, Some(2), true)]);
        assert_eq!(
            shown(Choice { netns: Some(2), ..seconds }),
            [(storm, Some(2), false), (flood, Some(2), true)]
        );
        assert_eq!(shown(Choice { kind: Some(Kind::ResetStorm), ..all }), [(storm, Some(2), false)]);
    }
}
