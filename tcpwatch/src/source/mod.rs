//! Where samples come from: the live kernel, or netlink and `/proc` where eBPF cannot be had.

mod convert;
mod explained;
mod fallback;
mod listing;
mod live;
mod namespaces;
mod retire;
mod settings;
mod survey;

use crate::host::netns::NetnsError;
use crate::host::processes::Processes;
use crate::kernel;
use crate::sample::{Plan, Sample, SocketSample};

pub use explained::settings;
pub use fallback::{Fallback, count as count_sockets};
pub use listing::{Listing, Make, Origin, Wanted};
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

    /// What to look for from now on. A source that makes no surveys has nothing to plan.
    fn set_plan(&mut self, plan: Plan) {
        let _ = plan;
    }

    /// Tells of each socket there is now in the namespaces that are wanted, by their inode numbers. Owners are told
    /// as far as they are known without looking for them. Returns what could not be walked, for a person.
    fn sockets(
        &mut self,
        is_wanted: &dyn Fn(u64) -> bool,
        each: &mut dyn FnMut(&SocketSample),
    ) -> Result<Vec<String>, SourceError>;

    /// What is known of processes.
    fn processes(&mut self) -> &mut Processes;
}
