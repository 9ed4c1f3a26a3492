//! Holds the transition counts against the kernel's own counters.
//!
//! Each identity says that a kernel counter and a sum of our cells differ by a constant: what the kernel had
//! counted before the programs ran. The two cannot be read at one instant, so a sample only gives bounds for that
//! constant: the kernel's counter is read before and after our cells. As long as the bounds of all samples have a
//! value in common, nothing was lost; where they have none, the distance is the drift.

use std::collections::BTreeMap;

use tcpwatch_common::{TcpState, cell, judge};

use super::states::whole_sockets;
use crate::sample::{KernelCounters, NamespaceSample, Sample};

/// A kernel counter that is held against ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    PassiveOpens,
    ActiveOpens,
    AttemptFails,
    EstabResets,
    CurrEstab,
}

impl Counter {
    pub const ALL: [Self; 5] =
        [Self::PassiveOpens, Self::ActiveOpens, Self::AttemptFails, Self::EstabResets, Self::CurrEstab];

    pub fn name(self) -> &'static str {
        match self {
            Self::PassiveOpens => "PassiveOpens",
            Self::ActiveOpens => "ActiveOpens",
            Self::AttemptFails => "AttemptFails",
            Self::EstabResets => "EstabResets",
            Self::CurrEstab => "CurrEstab",
        }
    }

    /// The identity, and what is known to break it.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::PassiveOpens => "transitions LISTEN to SYN_RECV",
            Self::ActiveOpens => {
                "transitions CLOSE to SYN_SENT, less those that ended before a SYN was sent. Known to differ: sockets \
                 with TCP_FASTOPEN_CONNECT until their first write, and TCP_REPAIR"
            }
            Self::AttemptFails => {
                "less EmbryonicRsts: transitions SYN_SENT to CLOSE with an error, and SYN_RECV to CLOSE of sockets \
                 that were given up. Known to differ: tcp_abort_on_overflow, and resets of Fast Open children"
            }
            Self::EstabResets => "transitions ESTABLISHED or CLOSE_WAIT to CLOSE",
            Self::CurrEstab => "sockets in ESTABLISHED, on most kernels those in CLOSE_WAIT as well",
        }
    }
}

/// The state of one identity in one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift {
    pub counter: Counter,
    /// Kernel's count less ours; `None` until it can be told.
    pub drift: Option<i64>,
    /// How many events the comparison may be off, because the counters moved while they were read.
    pub uncertainty: u64,
}

/// Consecutive samples that must disagree before it is called drift. The kernel does not count and store a state
/// in one step, so a single sample can be off by what is under way.
const CONFIRMED: u32 = 3;

/// Room for what is under way on other CPUs while counters move.
const SLACK: i64 = 2;

/// Bounds learned so far, by namespace and counter.
#[derive(Debug, Default)]
pub struct Reconciler {
    known: BTreeMap<(u64, u64, Counter), Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    low: i64,
    high: i64,
    disagreements: u32,
    drift: i64,
    last_kernel: i64,
}

impl Reconciler {
    /// Takes the next sample; returns the drift of every living namespace by inode number.
    pub fn apply(&mut self, sample: &Sample) -> BTreeMap<u64, Vec<Drift>> {
        let living = |inode, generation| {
            sample.namespaces.iter().any(|n| (n.inode, n.generation) == (inode, generation) && n.is_alive)
        };
        self.known.retain(|(inode, generation, _), _| living(*inode, *generation));
        let mut drift = BTreeMap::new();
        for namespace in sample.namespaces.iter().filter(|namespace| namespace.is_alive) {
            let row = Counter::ALL.map(|counter| self.compare(namespace, counter));
            drift.insert(namespace.inode, row.to_vec());
        }
        drift
    }

    fn compare(&mut self, namespace: &NamespaceSample, counter: Counter) -> Drift {
        let key = (namespace.inode, namespace.generation, counter);
        if let Some((before, after)) = &namespace.kernel {
            if counter == Counter::CurrEstab {
                return Drift { counter, drift: current(namespace, before, after), uncertainty: 0 };
            }
            if let Some(ours) = ours(namespace, counter) {
                let window = (theirs(before, counter) - ours, theirs(after, counter) - ours);
                self.learn(key, window, theirs(after, counter));
            }
        }
        let known = self.known.get(&key);
        let uncertainty = known.map_or(0, |known| u64::try_from(known.high - known.low).unwrap_or(0));
        Drift { counter, drift: known.map(|known| known.drift), uncertainty }
    }

    fn learn(&mut self, key: (u64, u64, Counter), (low, high): (i64, i64), kernel: i64) {
        let (low, high) = if low == high { (low, high) } else { (low - SLACK, high + SLACK) };
        let fresh = Known { low, high, disagreements: 0, drift: 0, last_kernel: kernel };
        let known = self.known.entry(key).or_insert(fresh);
        if kernel < known.last_kernel {
            // The number belongs to a new namespace, whose counters start again.
            *known = fresh;
        }
        known.last_kernel = kernel;
        let common = (known.low.max(low), known.high.min(high));
        if common.0 <= common.1 {
            (known.low, known.high) = common;
            known.disagreements = 0;
            known.drift = 0;
            return;
        }
        known.disagreements += 1;
        if known.disagreements >= CONFIRMED {
            known.drift = if low > known.high { low - known.high } else { high - known.low };
        }
    }
}

/// The kernel's counter and ours, as they are in this sample; `None` where one is not known.
pub fn figures(namespace: &NamespaceSample, counter: Counter) -> Option<(u64, u64)> {
    let (before, after) = namespace.kernel.as_ref()?;
    let kernel = theirs(after, counter);
    let ours = match counter {
        Counter::CurrEstab => kernel - current(namespace, before, after)?,
        _ => ours(namespace, counter)?,
    };
    Some((u64::try_from(kernel).ok()?, u64::try_from(ours).ok()?))
}

/// Our count of what the kernel counts.
fn ours(namespace: &NamespaceSample, counter: Counter) -> Option<i64> {
    use TcpState::{Close, CloseWait, Established, Listen, SynRecv, SynSent};
    let cells = namespace.cells.as_ref()?;
    let edge = |from, to| judge(from, to).cell.map_or(0, |cell| cells[cell]);
    let count = match counter {
        Counter::PassiveOpens => edge(Listen, SynRecv),
        Counter::ActiveOpens => edge(Close, SynSent).saturating_sub(cells[cell::CONNECT_NEVER_SENT]),
        Counter::AttemptFails => {
            edge(SynSent, Close).saturating_sub(cells[cell::CONNECT_GIVEN_UP]) + cells[cell::SYN_RECV_FAILED]
        }
        Counter::EstabResets => edge(Established, Close) + edge(CloseWait, Close),
        Counter::CurrEstab => return None,
    };
    i64::try_from(count).ok()
}

fn theirs(kernel: &KernelCounters, counter: Counter) -> i64 {
    let count = match counter {
        Counter::PassiveOpens => kernel.passive_opens,
        Counter::ActiveOpens => kernel.active_opens,
        Counter::AttemptFails => kernel.attempt_fails.saturating_sub(kernel.embryonic_resets),
        Counter::EstabResets => kernel.estab_resets,
        Counter::CurrEstab => kernel.curr_estab,
    };
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The gauge can only be compared while nothing moves. Which states it counts differs by kernel, so both are tried.
fn current(namespace: &NamespaceSample, before: &KernelCounters, after: &KernelCounters) -> Option<i64> {
    if before != after || !namespace.is_complete {
        return None;
    }
    let counts = whole_sockets(namespace)?;
    let established = counts[TcpState::Established.index()];
    let with_close_wait = established + counts[TcpState::CloseWait.index()];
    let kernel = i64::try_from(after.curr_estab).ok()?;
    let difference = |ours: u64| i64::try_from(ours).ok().map(|ours| kernel - ours);
    [difference(established)?, difference(with_close_wait)?].into_iter().min_by_key(|drift| drift.abs())
}

#[cfg(test)]
mod tests;
