//! Rows of namespaces that are gone, and of those that never had one.

use std::time::Instant;

use tcpwatch_common::cell;

use super::Live;
use super::living::Rows;
use crate::sample::NamespaceSample;
use crate::source::SourceError;
use crate::source::convert::{add_illegal, by_index};

/// The inode number of `others`, which no namespace has.
pub(super) const OTHERS: u64 = 0;

impl Live {
    /// Whether any socket was ever counted in `others`: then a namespace without a row may have some.
    pub(super) fn has_folded(&self) -> Result<bool, SourceError> {
        let (cells, adopted) = self.row(Some(cell::OVERFLOW_ROW))?;
        Ok(cells.iter().chain(&adopted).any(|count| *count > 0))
    }

    /// Namespaces that have counters and are not there any more. What is left behind, such as orphans, still ends; after
    /// some time without an event the row goes to another namespace.
    pub(super) fn add_gone(&mut self, rows: Rows, all: &mut Vec<NamespaceSample>) -> Result<(), SourceError> {
        let used = all.len() + rows.len();
        let now = Instant::now();
        self.retired.retain(|generation| rows.contains_key(&generation));
        for (generation, namespace) in rows {
            let mut sample = match self.retired.kept(generation) {
                Some(kept) if !self.counters.was_active(namespace.row) => kept.clone(),
                _ => {
                    let (cells, adopted) = self.row(Some(namespace.row))?;
                    NamespaceSample {
                        inode: namespace.inode.into(),
                        generation,
                        cells: Some(cells),
                        adopted: by_index(&adopted),
                        is_complete: self.met.has(namespace.inode.into()),
                        ..NamespaceSample::default()
                    }
                }
            };
            if self.retired.is_due(&sample, used, now) {
                // Counted once more: nothing may be lost between the last look and the row's end.
                let (cells, adopted) = self.row(Some(namespace.row))?;
                (sample.cells, sample.adopted) = (Some(cells), by_index(&adopted));
                let mut due = [sample];
                add_illegal(&mut due, &self.counters)?;
                let [sample] = due;
                self.ends.retire(namespace.row);
                self.counters.free_row(generation, namespace.row)?;
                self.retired.take(sample);
            } else {
                all.push(sample);
            }
        }
        all.push(self.others()?);
        Ok(())
    }

    /// All namespaces without a row of their own, as one without a number: those that are retired, and those for
    /// which there was none.
    fn others(&self) -> Result<NamespaceSample, SourceError> {
        let (cells, adopted) = self.row(Some(cell::OVERFLOW_ROW))?;
        let folded = NamespaceSample {
            name: Some("others".into()),
            cells: Some(cells),
            adopted: by_index(&adopted),
            is_complete: self.met.has_all(),
            census: self.census.get(&OTHERS).copied(),
            ..Default::default()
        };
        Ok(self.retired.with(folded))
    }
}
