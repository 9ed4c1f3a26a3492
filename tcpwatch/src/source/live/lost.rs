//! What was told as lost stays lost.
//!
//! How often the kernel skipped a program and how often another one stepped in are read one after the other, while both
//! go on growing. Their difference would go up and down by what happens in between, and a counter must not fall.

/// The most transitions that were lost at any sample.
#[derive(Debug, Default)]
pub(super) struct Lost(u64);

impl Lost {
    /// How many of `missed` are to be called recovered, when `nested` were counted a moment later.
    pub(super) fn recovered(&mut self, missed: u64, nested: u64) -> u64 {
        self.0 = self.0.max(missed.saturating_sub(nested));
        match self.0 {
            0 => nested,
            lost => nested.min(missed.saturating_sub(lost)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_what_is_lost_nor_what_is_recovered_falls() {
        let mut lost = Lost::default();
        let read = [(0, 0), (7, 7), (7, 9), (20, 10), (25, 17), (40, 28), (40, 28), (90, 90)];
        let told: Vec<_> = read
            .map(|(missed, nested)| {
                let recovered = lost.recovered(missed, nested);
                (missed.saturating_sub(recovered), recovered)
            })
            .into();
        assert_eq!(told, [(0, 0), (0, 7), (0, 9), (10, 10), (10, 15), (12, 28), (12, 28), (12, 78)]);
        assert!(told.windows(2).all(|two| two[0].0 <= two[1].0 && two[0].1 <= two[1].1));
    }
}
