//! The parts of a sample as they are recorded: every field of each, in the order in which it is written.
//!
//! A field that a struct got and that is not named here does not compile. Adding one changes what is written, and
//! with it [`super::frame::VERSION`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tcpwatch_common::TcpState;
use tcpwatch_common::histogram::Histogram;
use tcpwatch_common::host::{HostCounters, RingCounters, Role};

use super::delta::{Bad, Delta, Input, Keyed, fields, put_number, variants};
use crate::process::{Container, Pod, Process, Workload};
use crate::sample::counters::{NetCounters, Snmp, SockStat, TcpExt};
use crate::sample::{
    Census, Ends, Example, FoldedSample, Group, HostLimits, KernelCounters, ListenerSample, Memory, Minis,
    NamespaceSample, ProgramSample, RemoteCounts, RemoteSample, RingSample, Rtts, Sample, SendLimits,
    ServiceSample, Shortage, Side, SourceKind, Survey, Sysctls, Trouble, Tuple, What,
};

variants!(SourceKind { Ebpf = 0, Netlink = 1 });
variants!(What { Sockets = 0, ListenersInTurns = 1, Listeners = 2, Remotes = 3, Clients = 4, Groups = 5, Namespaces = 6, Services = 7 });
variants!(Side { There = 0, Here = 1, Unknown = 2 });
variants!(Role { Active = 0, Passive = 1 });
variants!(Trouble { None = 0, Unacknowledged = 1, NoKeepalive = 2, PeerWindowZero = 3, OwnWindowZero = 4 });
variants!(TcpState { Established = 0, SynSent = 1, SynRecv = 2, FinWait1 = 3, FinWait2 = 4, TimeWait = 5, Close = 6, CloseWait = 7, LastAck = 8, Listen = 9, Closing = 10, NewSynRecv = 11, BoundInactive = 12 });

fields!(Sample {
    at,
    elapsed,
    source,
    namespaces,
    host,
    reset_reasons,
    listeners,
    remotes,
    processes,
    limits,
    programs,
    lost_fields,
    ring,
    problems,
    kernel_memory,
} since 3 { folded, shortages, cgroups, services, other_ends });

fields!(NamespaceSample {
    inode,
    generation,
    name,
    is_own,
    is_alive,
    cells,
    adopted,
    illegal,
    is_complete,
    census,
    kernel,
    counters,
    sysctls,
    survey,
});

fields!(Census { elapsed, counts, minis });
fields!(Minis { half_open, fin_wait2 });
fields!(KernelCounters {
    active_opens,
    passive_opens,
    attempt_fails,
    estab_resets,
    curr_estab,
    embryonic_resets,
    time_wait,
});

fields!(NetCounters { snmp, ext, sock, inuse6 });
fields!(Snmp {
    active_opens,
    passive_opens,
    attempt_fails,
    estab_resets,
    curr_estab,
    in_segs,
    out_segs,
    retrans_segs,
    out_rsts,
});
fields!(SockStat { inuse, orphan, tw, alloc, mem });
fields!(TcpExt {
    syncookies_sent,
    syncookies_recv,
    syncookies_failed,
    embryonic_rsts,
    tw,
    tw_recycled,
    tw_killed,
    tw_overflow,
    paws_active,
    paws_estab,
    paws_old_ack,
    paws_timewait,
    ts_ecr_rejected,
    beyond_window,
    delayed_acks,
    listen_overflows,
    listen_drops,
    req_q_full_do_cookies,
    req_q_full_drop,
    syn_retrans,
    timeouts,
    syn_challenge,
    challenge_ack,
    keep_alive,
    abort_on_data,
    abort_on_close,
    abort_on_memory,
    abort_on_timeout,
    abort_on_linger,
    abort_failed,
    backlog_drop,
    rcv_q_drop,
    zero_window_drop,
    ofo_queue,
    defer_accept_drop,
    md5_not_found,
    md5_unexpected,
    md5_failure,
    migrate_req_success,
    migrate_req_failure,
});

fields!(Sysctls {
    somaxconn,
    max_syn_backlog,
    syncookies,
    synack_retries,
    syn_retries,
    retries2,
    orphan_retries,
    fin_timeout,
    max_tw_buckets,
    tw_reuse,
    abort_on_overflow,
    keepalive_time,
    keepalive_interval,
    keepalive_probes,
    port_range,
});
fields!(HostLimits { memory_limits, memory, orphans, max_orphans });

fields!(Survey { elapsed, groups, tuples, folded, aged_after });
fields!(Group {
    state,
    pid,
    role,
    port,
    never_accepted,
    orphan,
    trouble,
    count,
    aged,
    unknown_age,
    oldest,
    unread_bytes,
    unread,
    unsent_bytes,
    example,
} since 3 { cgroup, memory });
fields!(Memory { send, receive, reserved });
fields!(Example { local, remote });
fields!(Tuple { local, remote, used, time_wait });

fields!(ListenerSample {
    id,
    netns,
    local,
    v6_only,
    pid,
    uid,
    accept_queue,
    accept_limit,
    syn_queue,
    young,
    stuck,
    drops,
    synack_retransmits,
});
fields!(RemoteSample { netns, address, port, is_client, pid, counts });
fields!(FoldedSample { netns, service, pid, counts });
fields!(ServiceSample { id, netns, side, port, ends });
fields!(Ends { connections, retransmitting, bytes_out, bytes_in, segments, retransmitted, limits, rtt });
fields!(SendLimits { busy, window, buffer });
fields!(Rtts { buckets, unknown });
fields!(Shortage { what, count, since, netns, pid });
fields!(RemoteCounts { timeout, fast, probe, other, syn, synack, resets_sent, resets_received, failures });

fields!(Process { pid, inner_pid, command, uid, user, cgroup, container, unit, exited, files });
fields!(Container { runtime, id, pod } since 2 { name });
fields!(Workload { kind, name });

/// In version 1 a pod was its uid.
impl Delta for Pod {
    fn blank() -> Self {
        Self::default()
    }

    fn put(&self, before: &Self, out: &mut Vec<u8>) {
        let Self { uid, namespace, name, workload } = self;
        uid.put(&before.uid, out);
        namespace.put(&before.namespace, out);
        name.put(&before.name, out);
        workload.put(&before.workload, out);
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
        let Self { uid, namespace, name, workload } = self;
        uid.take(input)?;
        if input.has(2) {
            Delta::take(namespace, input)?;
            Delta::take(name, input)?;
            Delta::take(workload, input)?;
        }
        Ok(())
    }
}

fields!(ProgramSample { name, id, hook, lost, error, runs, nanoseconds, missed });
fields!(RingSample { seen, filtered, lost, delivered });

fields!(HostCounters {
    time_in_state, unknown_age, handshake, lifetime, endings, retransmits, retransmit_causes,
    connect_failures, listeners_untracked, resets_received, resets_sent, resets_sent_no_socket, mptcp,
    illegal, nested, gaps, untracked, folded, ring,
} since 3 { unmet, placeless, placeless_gone, remotes_met, clients_met, remotes_folded });
fields!(Histogram { buckets, sum_ns });
fields!(RingCounters { seen, filtered, lost });

/// The names of container runtimes that there are.
const RUNTIMES: [&str; 6] = ["", "unknown", "docker", "containerd", "cri-o", "podman"];

/// 0 for the same as before, else its place in [`RUNTIMES`], counted from 1.
impl Delta for &'static str {
    fn blank() -> Self {
        RUNTIMES[0]
    }

    fn put(&self, before: &Self, out: &mut Vec<u8>) {
        // One that is not in the list is told as unknown; a test holds the list against what hosts have.
        let place = RUNTIMES.iter().position(|known| known == self).unwrap_or(1);
        put_number(if self == before { 0 } else { place as u64 + 1 }, out);
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
        if let Some(place) = input.number()?.checked_sub(1) {
            let known = usize::try_from(place).ok().and_then(|place| RUNTIMES.get(place));
            *self = known.ok_or(Bad)?;
        }
        Ok(())
    }
}

impl Keyed for NamespaceSample {
    type Key = (u64, u64);

    fn key(&self) -> Self::Key {
        (self.inode, self.generation)
    }
}

impl Keyed for ListenerSample {
    type Key = (u64, u64);

    fn key(&self) -> Self::Key {
        (self.netns, self.id)
    }
}

impl Keyed for RemoteSample {
    type Key = (u64, IpAddr, u16, bool);

    fn key(&self) -> Self::Key {
        (self.netns, self.address, self.port, self.is_client)
    }
}

impl Keyed for FoldedSample {
    type Key = (u64, Option<u16>, Option<u32>);

    fn key(&self) -> Self::Key {
        (self.netns, self.service, self.pid)
    }
}

impl Keyed for ServiceSample {
    type Key = u64;

    fn key(&self) -> Self::Key {
        self.id
    }
}

impl Keyed for Shortage {
    type Key = What;

    fn key(&self) -> Self::Key {
        self.what
    }
}

impl Keyed for Group {
    type Key = (TcpState, Option<u32>, Option<u8>, u16, bool, bool, Trouble, Option<u32>);

    fn key(&self) -> Self::Key {
        let role = self.role.map(|role| role as u8);
        (self.state, self.pid, role, self.port, self.never_accepted, self.orphan, self.trouble, self.cgroup)
    }
}

impl Keyed for Tuple {
    type Key = (IpAddr, SocketAddr);

    fn key(&self) -> Self::Key {
        (self.local, self.remote)
    }
}

impl Keyed for ProgramSample {
    type Key = String;

    fn key(&self) -> Self::Key {
        self.name.clone()
    }
}

impl Keyed for (String, u64) {
    type Key = String;

    fn key(&self) -> Self::Key {
        self.0.clone()
    }
}

impl Keyed for (String, String) {
    type Key = String;

    fn key(&self) -> Self::Key {
        self.0.clone()
    }
}

impl Keyed for String {
    type Key = Self;

    fn key(&self) -> Self::Key {
        self.clone()
    }
}

impl Keyed for (TcpState, TcpState, u64) {
    type Key = (TcpState, TcpState);

    fn key(&self) -> Self::Key {
        (self.0, self.1)
    }
}

impl Keyed for (u32, Arc<Process>) {
    type Key = u32;

    fn key(&self) -> Self::Key {
        self.0
    }
}
