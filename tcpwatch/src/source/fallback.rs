//! The source without eBPF: socket states over netlink, or from `/proc` where even that is missing.
//!
//! It knows how many sockets are in each state now. Transitions, durations, causes and owners it cannot know, and
//! leaves them out.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use tcpwatch_common::TcpState;

use super::namespaces::Namespaces;
use super::{Source, SourceError};
use crate::host::netns::{NetnsHandle, within};
use crate::host::{diag, proc_net};
use crate::sample::{Census, HostLimits, NamespaceSample, Plan, RingSample, Sample, SourceKind, StateCounts};

/// Counts sockets over netlink.
#[derive(Debug)]
pub struct Fallback {
    opened: Instant,
    namespaces: Namespaces,
}

impl Fallback {
    pub fn open() -> Result<Self, SourceError> {
        Ok(Self { opened: Instant::now(), namespaces: Namespaces::look()? })
    }

    fn namespace(&self, handle: &NetnsHandle, problems: &mut Vec<String>) -> NamespaceSample {
        let counts = match within(handle, count) {
            Ok(Ok(counts)) => Some(counts),
            Ok(Err(problem)) => {
                problems.push(format!("network namespace {}: {problem}", handle.inode));
                None
            }
            Err(error) => {
                problems.push(error.to_string());
                None
            }
        };
        NamespaceSample {
            inode: handle.inode,
            name: handle.name.clone(),
            is_own: handle.is_own,
            is_alive: true,
            is_complete: counts.is_some(),
            census: counts.map(|counts| Census { elapsed: self.opened.elapsed(), counts, minis: None }),
            ..NamespaceSample::default()
        }
    }
}

impl Source for Fallback {
    fn set_plan(&mut self, _plan: Plan) {
        // Without programs there are no surveys.
    }

    fn sample(&mut self, _census: bool) -> Result<Sample, SourceError> {
        self.namespaces.refresh(std::iter::empty())?;
        let mut problems = Vec::new();
        let namespaces =
            self.namespaces.all().iter().map(|handle| self.namespace(handle, &mut problems)).collect();
        Ok(Sample {
            at: SystemTime::now(),
            elapsed: self.opened.elapsed(),
            source: SourceKind::Netlink,
            namespaces,
            host: None,
            reset_reasons: Vec::new(),
            listeners: Vec::new(),
            remotes: Vec::new(),
            processes: BTreeMap::new(),
            limits: HostLimits::default(),
            programs: Vec::new(),
            lost_fields: Vec::new(),
            ring: RingSample::default(),
            problems,
            kernel_memory: None,
        })
    }
}

/// Counts the sockets of the calling thread's namespace by state.
fn count() -> Result<StateCounts, String> {
    let by_number = match diag::count_states() {
        Ok(counts) => counts,
        Err(error @ diag::DiagError::Unsupported { .. }) => {
            log::debug!("{error}");
            proc_net::count_states().map_err(|error| error.to_string())?
        }
        Err(error) => return Err(error.to_string()),
    };
    Ok(TcpState::ALL.map(|state| by_number.get(state as usize).copied().unwrap_or(0)))
}
