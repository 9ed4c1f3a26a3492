//! How many subjects have series of their own; what is beyond is added up, so that a page stays small on any host.

/// Listening addresses: ten series each, and one for SYN-ACKs sent again.
pub(super) const LISTENERS: usize = 100;

/// Subjects of findings.
pub(super) const FINDINGS: usize = 100;

/// Owners of sockets: ten series each.
pub(super) const WORKLOADS: usize = 20;
