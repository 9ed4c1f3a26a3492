//! Pages that explain, filled from a report.

use std::sync::Arc;

use serde::Serialize;

use crate::explain::{self, Explanation, Facts, Found, Moved, Settings, Unknown};
use crate::finding::Finding;
use crate::model::{Report, rates, states};

/// `/api/v1/explain/TOPIC` and `tcpwatch explain TOPIC --json`.
#[derive(Debug, Serialize)]
pub struct Page {
    /// When the host was looked at; `null` if it was not.
    pub at: Option<String>,
    pub topic: &'static str,
    pub title: &'static str,
    pub section: &'static str,
    /// Other names that lead here.
    pub also: &'static [String],
    /// Topics to read next.
    pub related: &'static [String],
    /// What the figures are of; `null` is all network namespaces.
    pub netns: Option<u64>,
    pub values: Vec<Value>,
    /// The whole page.
    pub markdown: String,
}

/// A value in the text.
#[derive(Debug, Serialize)]
pub struct Value {
    /// As the page asks for it.
    pub name: String,
    /// `null` where it is not known; the text then says why.
    pub value: Option<String>,
}

/// `/api/v1/explain` and `tcpwatch explain --json`.
#[derive(Debug, Serialize)]
pub struct Topics {
    pub sections: Vec<Section>,
}

#[derive(Debug, Serialize)]
pub struct Section {
    pub section: &'static str,
    pub topics: Vec<Topic>,
}

#[derive(Debug, Serialize)]
pub struct Topic {
    pub topic: &'static str,
    pub title: &'static str,
    pub also: &'static [String],
}

/// There is no such page.
#[derive(Debug, Serialize)]
pub struct NoTopic {
    pub error: String,
    /// Topics with similar names.
    pub suggestions: Vec<&'static str>,
}

/// What a page is filled from.
pub fn facts(
    report: &Report,
    netns: Option<u64>,
    findings: Option<Vec<Finding>>,
    settings: Settings,
) -> Facts {
    let is_wanted = |inode: &u64| netns.is_none_or(|netns| netns == *inode);
    let chosen = |(inode, _): &(&u64, &_)| is_wanted(inode);
    let sum = states::total(&report.states.iter().filter(chosen).map(|(k, v)| (*k, v.clone())).collect());
    let sees_transitions = report.sample.namespaces.iter().any(|namespace| namespace.cells.is_some());
    let chosen = report.transitions.iter().filter(|(inode, _)| is_wanted(inode));
    let moved = rates::total(&chosen.map(|(k, v)| (*k, v.clone())).collect());
    let moved =
        moved.into_iter().map(|one| Moved { from: one.from, to: one.to, count: one.count, rate: one.rate });
    Facts {
        sample: Some(Arc::clone(&report.sample)),
        netns,
        counts: sum.counts,
        half_open: sum.half_open,
        fin_wait2_minis: sum.fin_wait2_minis,
        transitions: sees_transitions.then(|| moved.collect()),
        findings,
        settings,
    }
}

/// A page as it is shown.
pub fn page(found: Found, facts: &Facts) -> Page {
    let Explanation { page, markdown, values } = explain::render(found, facts);
    let at = facts.sample.as_ref().map(|sample| super::timestamp(sample.at));
    let markdown = match &at {
        Some(at) => format!("{markdown}\n_Seen at {at}: {}._\n", scope(facts.netns)),
        None => markdown,
    };
    let value = |filled: explain::Filled| Value {
        name: filled.placeholder,
        value: filled.is_known.then_some(filled.text),
    };
    Page {
        at,
        topic: &page.topic,
        title: &page.title,
        section: &page.section,
        also: &page.also,
        related: &page.related,
        netns: facts.netns,
        values: values.into_iter().map(value).collect(),
        markdown,
    }
}

fn scope(netns: Option<u64>) -> String {
    match netns {
        Some(netns) => format!("sockets, counters and settings of network namespace {netns}"),
        None => "sockets of all network namespaces, counters and settings of the one tcpwatch runs in".into(),
    }
}

/// All topics.
pub fn topics() -> Topics {
    let topic =
        |page: &'static explain::Page| Topic { topic: &page.topic, title: &page.title, also: &page.also };
    let sections = explain::sections().into_iter();
    Topics {
        sections: sections
            .map(|(section, pages)| Section { section, topics: pages.into_iter().map(topic).collect() })
            .collect(),
    }
}

impl From<Unknown> for NoTopic {
    fn from(unknown: Unknown) -> Self {
        Self { error: unknown.to_string(), suggestions: unknown.suggestions }
    }
}
