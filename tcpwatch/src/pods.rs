//! The pods of this node, as the cluster's API tells of them: who has a container, and what keeps it running.
//!
//! [`follow`] keeps a [`crate::roster::Roster`] up to date, from which processes are named. Nothing that samples ever
//! waits for it. It needs no privilege but that of listing and watching pods.

mod book;
mod client;
mod pace;
#[cfg(test)]
mod tests;
mod trouble;
mod watch;
mod wire;
mod workload;

pub use pace::Patience;
pub use trouble::Trouble;
pub use watch::{Options, follow, probe};
