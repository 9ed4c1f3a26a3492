//! The kernel's side of the daemon: the only module that knows aya.
//!
//! Loads the programs with this kernel's offsets, attaches what this kernel allows, and turns maps, ring and
//! iterator into plain data. What could not be had is a value that is shown, never a silent lack.

mod active;
mod attach;
mod bpf;
#[cfg(test)]
mod branches;
mod btf;
mod calls;
mod census;
mod connections;
mod counters;
mod cpu_time;
mod drain;
mod fair;
mod listeners;
mod load;
mod mapped;
mod maps;
mod object;
mod offsets;
mod older;
mod remotes;
mod ring;
mod rows;
mod services;
mod signals;
mod survey;
mod sweep;

pub use attach::{Hook, PROGRAMS, Program, ProgramStatus};
pub use calls::{defer_accept, enter_new_network, make_tun};
pub use census::CensusError;
pub use connections::{Connections, Walker};
pub use counters::{Counters, CountersError};
pub use cpu_time::{RunStats, map_memory, run_stats};
pub use listeners::{Crowd, Listeners};
pub use load::{Kernel, LoadError, Options, Stage, Yardstick};
pub use object::ConnectionsError;
pub use offsets::LostField;
pub use remotes::{Remotes, RemotesMet};
pub use ring::{Ring, RingError};
pub use rows::{Rows, RowsError, Walk};
pub use services::{ServiceMet, Services, ServicesMet};
pub use survey::{Surveyed, Surveys};
pub use sweep::{Sweep, Swept};
