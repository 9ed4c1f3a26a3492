//! Tells the log what there is no room for: when it begins, when it has doubled, and when it is over.

use std::collections::BTreeMap;

use crate::sample::{Shortage, What};
use crate::view::shortages::text;

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Log {
    told: BTreeMap<What, u64>,
}

impl Log {
    pub(super) fn tell(&mut self, shortages: &[Shortage]) {
        for line in self.lines(shortages) {
            match line {
                Line::Short(text) => log::warn!("{text}"),
                Line::Over(what) => {
                    log::info!("there is room for all {} again", what.name().replace('_', " "));
                }
            }
        }
    }

    fn lines(&mut self, shortages: &[Shortage]) -> Vec<Line> {
        let is_there = |what: What| shortages.iter().any(|one| one.what == what);
        let over: Vec<What> = self.told.keys().copied().filter(|what| !is_there(*what)).collect();
        let mut lines = Vec::new();
        for what in over {
            self.told.remove(&what);
            lines.push(Line::Over(what));
        }
        for one in shortages {
            let told = self.told.get(&one.what).copied();
            if told.is_none_or(|told| one.count >= told.saturating_mul(2)) {
                self.told.insert(one.what, one.count);
                lines.push(Line::Short(text(one)));
            }
        }
        lines
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Short(String),
    Over(What),
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn it_is_told_once_then_when_it_doubles_and_when_it_is_over() {
        let mut log = Log::default();
        let mut lines = |count: Option<u64>| {
            let (since, what) = (SystemTime::UNIX_EPOCH, What::Sockets);
            let short = count.map(|count| Shortage { what, count, since, netns: None, pid: None });
            let all: Vec<Shortage> = short.into_iter().collect();
            log.lines(&all).len()
        };
        let told = [None, Some(5), Some(5), Some(9), Some(10), Some(19), Some(20), None, None, Some(1)];
        assert_eq!(told.map(&mut lines), [0, 1, 0, 0, 1, 0, 1, 1, 0, 1]);
    }
}
