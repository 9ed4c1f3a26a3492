//! Logs each problem of the samples when it begins and when it is over.

use std::collections::BTreeMap;

use crate::host::terminal::clean;

/// The problems of the last sample, by their texts without numbers: a count that grows is no new problem.
#[derive(Debug, Default)]
pub(super) struct Log {
    told: BTreeMap<String, String>,
}

impl Log {
    pub(super) fn tell(&mut self, problems: &[String]) {
        let (begun, over) = self.changes(problems);
        for problem in begun {
            log::warn!("{}", clean(&problem));
        }
        for problem in over {
            log::info!("no longer: {}", clean(&problem));
        }
    }

    /// What is new, and what is over.
    fn changes(&mut self, problems: &[String]) -> (Vec<String>, Vec<String>) {
        let kind = |text: &String| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
        let now: BTreeMap<String, String> = problems.iter().map(|text| (kind(text), text.clone())).collect();
        let only = |these: &BTreeMap<String, String>, others: &BTreeMap<String, String>| {
            let only = these.iter().filter(|(kind, _)| !others.contains_key(*kind));
            only.map(|(_, text)| text.clone()).collect()
        };
        let changes = (only(&now, &self.told), only(&self.told, &now));
        self.told = now;
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_logged_when_it_begins_and_when_it_is_over() {
        let mut log = Log::default();
        let mut changes = |problems: &[&str]| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let (begun, over) = log.changes(&problems);
            (begun.len(), over.len())
        };
        assert_eq!(changes(&["5 are lost"]), (1, 0));
        assert_eq!(changes(&["6 are lost", "cannot read"]), (1, 0));
        assert_eq!(changes(&["6 are lost", "cannot read"]), (0, 0));
        assert_eq!(changes(&["6 are lost"]), (0, 1));
        assert_eq!(changes(&[]), (0, 1));
    }
}
