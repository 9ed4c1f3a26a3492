//! Wrong usage that only this command can tell.

/// What is wrong with the command line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(in crate::cli) struct Usage(pub(super) String);
