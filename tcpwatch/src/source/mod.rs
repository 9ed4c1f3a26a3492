//! Where samples come from: the live kernel, or netlink and `/proc` where eBPF cannot be had.

mod convert;
mod fallback;
mod live;
mod namespaces;
mod retire;
mod settings;
mod survey;

use crate::host::netns::NetnsError;
use crate::kernel;
use crate::sample::{Plan, Sample};

pub use fallback::Fallback;
pub use live::Live;

/// Why there are no samples.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Load(#[from] kernel::LoadError),
    #[error(transparent)]
    Counters(#[from] kernel::CountersError),
    #[error(transparent)]
    Ring(#[from] kernel::RingError),
    #[error(transparent)]
    Namespaces(#[from] NetnsError),
}

/// Something that can say how the host is now.
pub trait Source: Send {
    /// Samples now. `census`: walk all sockets of every namespace, however long it takes.
    fn sample(&mut self, census: bool) -> Result<Sample, SourceError>;

    /// What to look for from now on.
    fn set_plan(&mut self, plan: Plan);
}
