//! How large a page of metrics may get.

/// Bounds on the series of a scrape: what has none of its own is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Listening addresses with series of their own.
    pub listeners: u64,
    /// Owners of sockets with series of their own.
    pub owners: u64,
    /// Subjects of findings with series of their own.
    pub findings: u64,
    /// All series together, which is kept whatever the others allow.
    pub series: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { listeners: 100, owners: 20, findings: 100, series: 5_000 }
    }
}
