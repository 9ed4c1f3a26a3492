//! When sockets are walked to put them in groups, and what comes of it.
//!
//! A walk costs milliseconds however few sockets there are, so it takes a small part of the time: more of it where
//! the exact counts, which cost nothing, show a state that may mean trouble.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcpwatch_common::TcpState;
use tcpwatch_common::event::Census;
use tcpwatch_common::host::Role;
use tcpwatch_common::survey::{self, NEVER_ACCEPTED, ORPHAN, Request, TupleKey, TupleSum};

use super::convert::{Service, ip, socket_addr};
use crate::kernel::{CensusError, Counters, CountersError, Kernel, Surveys};
use crate::sample::{Example, Group, Memory, Plan, StateCounts, Survey, Sysctls, Trouble, Tuple};

/// Walks without a suspicion: at most so often, and at most one part in so many of the time.
const EVERY: Duration = Duration::from_secs(10);
const SHARE: u32 = 200;
/// Walks with one.
const SUSPICIOUS_EVERY: Duration = Duration::from_millis(900);
const SUSPICIOUS_SHARE: u32 = 20;
/// All walks without a suspicion, of however many namespaces: at most one part in so many of the time.
const SHARE_OF_ALL: u32 = 20;

/// What a namespace's survey has to know of it.
pub(super) struct Around<'a> {
    pub(super) inode: u64,
    pub(super) sysctls: &'a Sysctls,
    /// Of all namespaces.
    pub(super) services: &'a [Service],
    /// Since the source was opened.
    pub(super) elapsed: Duration,
}

impl Around<'_> {
    /// The ports that are listened on.
    fn services(&self) -> impl Iterator<Item = u16> {
        self.services.iter().filter(|one| one.netns == self.inode).map(|one| one.port)
    }

    /// The process that listens on a port.
    fn listens(&self, port: u16) -> Option<u32> {
        let is = |one: &&Service| (one.netns, one.port) == (self.inode, port);
        self.services.iter().filter(is).find_map(|one| one.pid)
    }
}

/// Walks namespaces, and keeps what was found last in each.
pub(super) struct Surveyor {
    maps: Surveys,
    plan: Plan,
    ticks: Ticks,
    kept: HashMap<u64, Kept>,
    /// Until then only namespaces with a suspicion are walked.
    rest_until: Instant,
    holders: Holders,
}

struct Kept {
    survey: Arc<Survey>,
    was_suspicious: bool,
    due: Instant,
    due_if_suspicious: Instant,
}

/// The walk over all files of the host, which finds owners.
struct Holders {
    pass: u64,
    /// When the next may be made, and when one is made without need.
    soonest: Instant,
    due: Instant,
}

/// How long a tick of the kernel is, measured: no file tells.
#[derive(Default)]
struct Ticks {
    first: Option<(Instant, u64)>,
    per_second: Option<u64>,
}

impl Ticks {
    fn measure(&mut self, ticks: impl FnOnce() -> Option<u64>) {
        const LONG_ENOUGH: Duration = Duration::from_millis(400);
        if self.per_second.is_some() {
            return;
        }
        let Some(ticks) = ticks() else { return };
        let now = Instant::now();
        let Some((first, before)) = self.first else {
            self.first = Some((now, ticks));
            return;
        };
        let passed = now - first;
        if passed >= LONG_ENOUGH {
            let Ok(ticks) = u32::try_from(ticks.wrapping_sub(before)) else { return };
            let rate = f64::from(ticks) / passed.as_secs_f64();
            // Kernels are built with one of these.
            self.per_second = [100u32, 250, 300, 1000]
                .into_iter()
                .find(|usual| (rate / f64::from(*usual) - 1.0).abs() < 0.05)
                .map(u64::from);
        }
    }

    /// `duration` in ticks; never reached as long as a tick is not known.
    fn of(&self, duration: Duration) -> u64 {
        let ticks = |rate: u64| duration.as_secs() * rate + u64::from(duration.subsec_millis()) * rate / 1000;
        self.per_second.map_or(survey::NEVER, ticks)
    }
}

impl Surveyor {
    pub(super) fn open(kernel: &mut Kernel) -> Result<Self, CountersError> {
        let now = Instant::now();
        Ok(Self {
            maps: Surveys::open(kernel)?,
            plan: Plan::default(),
            ticks: Ticks::default(),
            kept: HashMap::new(),
            rest_until: now,
            holders: Holders { pass: 0, soonest: now, due: now },
        })
    }

    pub(super) fn set_plan(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// What was found last.
    pub(super) fn of(&self, inode: u64) -> Option<Arc<Survey>> {
        self.kept.get(&inode).map(|kept| Arc::clone(&kept.survey))
    }

    /// Forgets namespaces that are gone.
    pub(super) fn retain(&mut self, mut is_alive: impl FnMut(u64) -> bool) {
        self.kept.retain(|inode, _| is_alive(*inode));
    }

    /// Once a tick.
    pub(super) fn prepare(&mut self, kernel: &mut Kernel) {
        self.ticks.measure(|| self.maps.ticks(kernel));
    }

    /// How many ticks the kernel makes in a second, once that has been measured.
    pub(super) fn ticks_per_second(&self) -> Option<u64> {
        self.ticks.per_second
    }

    fn is_suspicious(&self, counts: &StateCounts) -> bool {
        counts.iter().zip(self.plan.suspicious_from).any(|(count, from)| *count >= from)
    }

    /// Whether to walk a namespace with so many sockets in each state.
    pub(super) fn is_due(&self, inode: u64, counts: &StateCounts) -> bool {
        let listeners = counts[TcpState::Listen.index()];
        if counts.iter().sum::<u64>() == listeners {
            // The last of them have gone: so shall the groups.
            return self.kept.get(&inode).is_some_and(|kept| !kept.survey.groups.is_empty());
        }
        let now = Instant::now();
        let may_rest = now < self.rest_until;
        let Some(kept) = self.kept.get(&inode) else { return !may_rest || self.is_suspicious(counts) };
        // Once more when a suspicion ends, so that what was found does not stay.
        let is_interesting = kept.was_suspicious || self.is_suspicious(counts);
        (now >= kept.due && !may_rest) || (now >= kept.due_if_suspicious && is_interesting)
    }

    /// Walks the sockets of the calling thread's namespace.
    pub(super) fn survey(
        &mut self,
        kernel: &mut Kernel,
        counters: &mut Counters,
        counts: &StateCounts,
        around: &Around<'_>,
    ) -> Result<Census, CensusError> {
        let started = Instant::now();
        // A walk over the files of the whole host has a schedule of its own: a small namespace does not pay for it.
        let mut elsewhere = Duration::ZERO;
        if started >= self.holders.due {
            elsewhere += self.find_holders(kernel)?;
        }
        let range = around.sysctls.port_range.unwrap_or((u16::MAX, u16::MAX));
        let request = self.request(range, counts.iter().sum::<u64>() >= self.plan.tuples_from);
        self.maps.ask(&request)?;
        self.maps.tell_services(around.services())?;
        let mut found = kernel.survey(&mut self.maps, counters)?;
        if started >= self.holders.soonest
            && self.is_suspicious(counts)
            && found.groups.iter().any(is_unowned)
        {
            elsewhere += self.find_holders(kernel)?;
            self.maps.ask(&request)?;
            found = kernel.survey(&mut self.maps, counters)?;
        }
        let survey = Survey {
            elapsed: around.elapsed,
            groups: found.groups.iter().filter_map(|(key, sum)| group(*key, sum, around)).collect(),
            tuples: largest(found.tuples).iter().map(|(key, sum)| tuple(key, sum)).collect(),
            folded: found.folded,
            aged_after: self.plan.aged_after,
        };
        let now = Instant::now();
        let cost = (now - started).saturating_sub(elsewhere);
        if !self.is_suspicious(counts) {
            self.rest_until = now + cost * SHARE_OF_ALL;
        }
        let kept = Kept {
            survey: Arc::new(survey),
            was_suspicious: self.is_suspicious(counts),
            due: now + EVERY.max(cost * SHARE),
            due_if_suspicious: now + SUSPICIOUS_EVERY.max(cost * SUSPICIOUS_SHARE),
        };
        self.kept.insert(around.inode, kept);
        Ok(found.census)
    }

    /// Finds out which process has which socket, where this kernel can; how long it took.
    pub(super) fn find_holders(&mut self, kernel: &mut Kernel) -> Result<Duration, CountersError> {
        let started = Instant::now();
        // Numbers of walks wrap; 0 is what events tell.
        self.holders.pass = self.holders.pass % 255 + 1;
        self.maps.ask(&Request { pass: self.holders.pass, ..Request::default() })?;
        if let Err(error) = kernel.find_holders() {
            log::debug!("owners of accepted sockets are unknown: {error}");
        }
        let now = Instant::now();
        let cost = now - started;
        self.holders.soonest = now + SUSPICIOUS_EVERY.max(cost * SUSPICIOUS_SHARE);
        self.holders.due = now + EVERY.max(cost * SHARE);
        Ok(cost)
    }

    fn request(&self, (low, high): (u16, u16), tuples: bool) -> Request {
        let mut aged = [survey::NEVER; 16];
        for state in TcpState::ALL {
            let after = self.plan.aged_after[state.index()];
            aged[state as usize] =
                u64::try_from(after.as_nanos()).unwrap_or(survey::NEVER).min(survey::NEVER);
        }
        Request {
            aged,
            silent_ticks: self.ticks.of(self.plan.silent_after),
            unacknowledged_ticks: self.ticks.of(self.plan.unacknowledged_after),
            stalled_ticks: self.ticks.of(self.plan.stalled_after),
            port_low: low.into(),
            port_high: high.into(),
            tuples: tuples.into(),
            pass: self.holders.pass,
        }
    }
}

/// Whole sockets that some process must have, and it is not known which.
fn is_unowned((key, _): &(survey::Key, survey::Sum)) -> bool {
    let is_mini = [TcpState::TimeWait, TcpState::NewSynRecv].iter().any(|mini| key.state() == *mini as u8);
    key.pid() == 0 && key.flags() & (ORPHAN | NEVER_ACCEPTED) == 0 && !is_mini
}

fn group(key: survey::Key, sum: &survey::Sum, around: &Around<'_>) -> Option<Group> {
    let flags = key.flags();
    // Until a connection is accepted, it is its listener's.
    let never_accepted = flags & NEVER_ACCEPTED != 0;
    let heir = if never_accepted { around.listens(key.port()) } else { None };
    let role = if flags & survey::PASSIVE != 0 {
        Some(Role::Passive)
    } else {
        (flags & survey::ACTIVE != 0).then_some(Role::Active)
    };
    Some(Group {
        state: TcpState::from_kernel(key.state().into())?,
        pid: (key.pid() != 0).then_some(key.pid()).or(heir),
        role,
        cgroup: (key.cgroup() != 0).then_some(key.cgroup()),
        port: key.port(),
        never_accepted,
        orphan: flags & ORPHAN != 0,
        trouble: match key.trouble() {
            survey::trouble::UNACKNOWLEDGED => Trouble::Unacknowledged,
            survey::trouble::NO_KEEPALIVE => Trouble::NoKeepalive,
            survey::trouble::PEER_WINDOW_ZERO => Trouble::PeerWindowZero,
            survey::trouble::OWN_WINDOW_ZERO => Trouble::OwnWindowZero,
            _ => Trouble::None,
        },
        count: sum.count,
        aged: sum.aged,
        unknown_age: sum.unknown_age,
        oldest: Duration::from_nanos(sum.oldest),
        unread_bytes: sum.unread_bytes,
        unread: sum.unread,
        unsent_bytes: sum.unsent_bytes,
        memory: (sum.measured > 0).then(|| Memory {
            send: bytes(sum.send_memory),
            receive: bytes(sum.receive_memory),
            reserved: bytes(sum.reserved_memory),
        }),
        example: Example {
            local: socket_addr(sum.local, sum.ports[0]),
            remote: socket_addr(sum.remote, sum.ports[1]),
        },
    })
}

/// The kernel may have set aside less than nothing for a moment.
fn bytes(sum: u64) -> u64 {
    u64::try_from(sum.cast_signed()).unwrap_or(0)
}

/// The destinations with the most ports in use; nobody asks for others.
fn largest(mut tuples: Vec<(TupleKey, TupleSum)>) -> Vec<(TupleKey, TupleSum)> {
    const TUPLES: usize = 64;
    tuples.sort_unstable_by_key(|(_, sum)| Reverse(sum.used));
    tuples.truncate(TUPLES);
    tuples
}

fn tuple(key: &TupleKey, sum: &TupleSum) -> Tuple {
    Tuple {
        local: ip(key.local),
        remote: socket_addr(key.remote, key.remote_port),
        used: sum.used,
        time_wait: sum.time_wait,
    }
}
