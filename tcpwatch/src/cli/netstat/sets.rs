//! Columns that answer a question together, under one name.

use super::columns::Column;

/// What `--columns` takes beside columns.
const SETS: [(&str, &[Column]); 3] = [
    // Is it the network, the peer or we ourselves that a connection waits for?
    (
        "limits",
        &[
            Column::State,
            Column::SendQueue,
            Column::Local,
            Column::Remote,
            Column::Busy,
            Column::RwndLimited,
            Column::SndbufLimited,
            Column::Rtt,
            Column::MinRtt,
            Column::Owner,
        ],
    ),
    // Which connections are about to be given up?
    (
        "dying",
        &[
            Column::State,
            Column::SendQueue,
            Column::Local,
            Column::Remote,
            Column::Timeouts,
            Column::Backoff,
            Column::Probes,
            Column::SoftError,
            Column::Owner,
        ],
    ),
    // What have they carried?
    (
        "traffic",
        &[
            Column::State,
            Column::Local,
            Column::Remote,
            Column::BytesAcked,
            Column::BytesReceived,
            Column::SegmentsOut,
            Column::Retransmits,
            Column::Rtt,
            Column::MinRtt,
            Column::Owner,
        ],
    ),
];

/// The columns of a set.
pub(super) fn find(name: &str) -> Option<&'static [Column]> {
    let is_it = |(set, _): &&(&str, &[Column])| set.eq_ignore_ascii_case(name.trim());
    SETS.iter().find(is_it).map(|(_, columns)| *columns)
}

/// All names, with commas between them.
pub(super) fn names() -> String {
    SETS.map(|(name, _)| name).join(", ")
}
