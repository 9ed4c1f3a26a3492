//! What is wrong with a filter: where, what was expected there, and what may have been meant.

use std::fmt;

use super::word::Word;

/// A filter that makes no sense. Shows the text with a caret under the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    text: String,
    /// First character that is wrong, and how many are.
    at: usize,
    length: usize,
    problem: String,
    expected: String,
}

impl FilterError {
    /// `start` and `end` are in bytes.
    pub(super) fn new(
        text: &str,
        (start, end): (usize, usize),
        problem: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        let characters = |end: usize| text.char_indices().take_while(|(at, _)| *at < end).count();
        let at = characters(start);
        Self {
            // One line, or the caret would not be under the place.
            text: text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
            at,
            length: characters(end).saturating_sub(at).max(1),
            problem: problem.into(),
            expected: expected.into(),
        }
    }

    /// The place, in characters from 1.
    pub fn column(&self) -> usize {
        self.at + 1
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, at, length, problem, expected } = self;
        let column = self.column();
        write!(
            f,
            "bad filter, column {column}: {problem}\n  {text}\n  {:at$}{}\n{expected}",
            "",
            "^".repeat(*length)
        )
    }
}

impl std::error::Error for FilterError {}

/// Words of other tools, and what they are called here.
const ELSEWHERE: [(&str, &str); 14] = [
    ("src", "local"),
    ("dst", "peer"),
    ("remote", "peer"),
    ("address", "peer"),
    ("host", "peer"),
    ("net", "peer"),
    ("lport", "sport"),
    ("rport", "dport"),
    ("age", "older-than"),
    ("comm", "process"),
    ("command", "process"),
    ("uid", "user"),
    ("deployment", "workload"),
    ("ns", "namespace"),
];

/// The word that may have been meant by `text`.
pub(super) fn near_word(text: &str) -> Option<&'static str> {
    let text = text.to_ascii_lowercase();
    let elsewhere = ELSEWHERE.iter().find(|(word, _)| *word == text).map(|(_, ours)| *ours);
    elsewhere.or_else(|| nearest(&text, Word::ALL.into_iter().map(Word::name)))
}

/// The candidate that differs least from `text`, if it does not differ too much.
pub(super) fn nearest(text: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let text: Vec<char> = text.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect();
    // A long text is near to nothing, and would take long.
    if text.is_empty() || text.len() > 32 {
        return None;
    }
    let distances = candidates.map(|candidate| (distance(&text, candidate), candidate));
    let (distance, candidate) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 2 && distance < text.len().max(2)).then_some(candidate)
}

/// How many characters must be added, taken out or replaced.
fn distance(text: &[char], candidate: &str) -> usize {
    let candidate: Vec<char> = candidate.chars().map(|c| if c == '-' { '_' } else { c }).collect();
    let mut row: Vec<usize> = (0..=candidate.len()).collect();
    for (line, wanted) in text.iter().enumerate() {
        let mut diagonal = line;
        row[0] = line + 1;
        for (column, found) in candidate.iter().enumerate() {
            let replaced = diagonal + usize::from(wanted != found);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
