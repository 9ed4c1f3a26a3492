//! A walk over the sockets of a namespace that sums them up in groups: by owner, state, service and what is wrong.
//!
//! It counts for the census as well, so that one walk serves both.

use aya_ebpf::helpers::{bpf_ktime_get_ns, generated::bpf_jiffies64};
use tcpwatch_common::event::{UNKNOWN, detail};
use tcpwatch_common::offsets::Field;
use tcpwatch_common::socket::{PASSIVE as WAS_PASSIVE, ROLE_UNKNOWN, SINCE_UNKNOWN};
use tcpwatch_common::state::TcpState;
use tcpwatch_common::survey::{
    ACTIVE, Key, NEVER_ACCEPTED, ORPHAN, PASSIVE, Request, Sum, TupleKey, TupleSum, port_bit, trouble,
};

use crate::emit;
use crate::maps::{GROUPS, SERVICE_PORTS, SURVEY_REQUEST, SURVEY_RESULT, TUPLES};
use crate::programs::add_shared;
use crate::programs::snapshot::{
    IterContext, SOCK_KEEPOPEN, amounts, bounded, is_full, ownership, shown_state, tally,
};
use crate::read::{Typed, has};
use crate::table;

const ESTABLISHED: u8 = TcpState::Established as u8;
const LISTEN: u8 = TcpState::Listen as u8;
const TIME_WAIT: u8 = TcpState::TimeWait as u8;
const CLOSE_WAIT: u8 = TcpState::CloseWait as u8;

/// What is known of one socket.
struct Facts {
    state: u8,
    full: bool,
    pid: u32,
    flags: u8,
    trouble: u8,
    age: u64,
    unread: u64,
    unsent: u64,
    local_port: u16,
    remote_port: u16,
}

/// Sums up the sockets of a namespace.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
fn survey(ctx: *mut IterContext) -> i32 {
    // SAFETY: the kernel passes its context.
    let socket = unsafe { (*ctx).socket };
    if socket.is_null() {
        return 0;
    }
    let socket = Typed(socket);
    let state = shown_state(socket);
    tally(socket, state);
    let Some(request) = SURVEY_REQUEST.get(0) else { return 0 };
    if state == LISTEN {
        return 0;
    }
    let mut facts = Facts {
        state,
        full: is_full(state, socket),
        pid: 0,
        flags: 0,
        trouble: trouble::NONE,
        age: UNKNOWN,
        unread: 0,
        unsent: 0,
        local_port: socket.load(Field::LocalPort),
        remote_port: u16::from_be(socket.load(Field::RemotePort)),
    };
    if facts.full {
        full_socket(&mut facts, socket, request);
    } else {
        // A mini-socket does not tell who connected. An ephemeral port here was most likely chosen by a connect().
        let is_ephemeral = u64::from(facts.local_port) >= request.port_low
            && u64::from(facts.local_port) <= request.port_high;
        facts.flags = if state == TcpState::NewSynRecv as u8 || !is_ephemeral { PASSIVE } else { 0 };
    }
    if facts.flags & (ACTIVE | PASSIVE) == 0 {
        // Nor does a socket older than the programs. One at the port of a listener is a client's connection to it.
        facts.flags |= match is_service(facts.local_port) {
            true => PASSIVE,
            false if !facts.full => ACTIVE,
            false => 0,
        };
    }
    sum_up(socket, &facts, request);
    if request.tuples != 0 && facts.flags & PASSIVE == 0 {
        count_tuple(socket, &facts);
    }
    0
}

#[inline(always)]
fn is_service(port: u16) -> bool {
    let (word, bit) = port_bit(port);
    SERVICE_PORTS.get(0).is_some_and(|ports| ports[word & (ports.len() - 1)] & bit != 0)
}

#[inline(always)]
fn full_socket(facts: &mut Facts, socket: Typed, request: &Request) {
    if let (Some(place), Some(meta)) = table::find(socket.identity()) {
        facts.pid = place.owner();
        let known = meta.flags();
        if known & SINCE_UNKNOWN == 0 {
            // SAFETY: a helper without preconditions.
            facts.age = unsafe { bpf_ktime_get_ns() }.saturating_sub(place.since());
        }
        if known & ROLE_UNKNOWN == 0 {
            facts.flags |= if known & WAS_PASSIVE != 0 { PASSIVE } else { ACTIVE };
        }
    }
    // The walk gives only the common part of a socket.
    let Some(tcp) = socket.tcp() else { return };
    facts.flags |= match ownership(tcp) {
        detail::ORPHAN => ORPHAN,
        detail::NEVER_ACCEPTED => NEVER_ACCEPTED,
        _ => 0,
    };
    let (unread, unsent) = amounts(facts.state, tcp);
    (facts.unread, facts.unsent) = (unread.into(), unsent.into());
    if facts.state == ESTABLISHED || facts.state == CLOSE_WAIT {
        find_trouble(facts, tcp, request);
    }
}

#[inline(always)]
fn find_trouble(facts: &mut Facts, tcp: Typed, request: &Request) {
    if !has(Field::LastAck) || !has(Field::LastSent) || !has(Field::PacketsOut) || !has(Field::SendWindow) {
        return;
    }
    // SAFETY: a helper without preconditions.
    let now = unsafe { bpf_jiffies64() } as u32;
    let since = |field: Field| u64::from(bounded(now.wrapping_sub(tcp.load(field))));
    let (ack, sent) = (since(Field::LastAck), since(Field::LastSent));
    if tcp.load::<u32>(Field::PacketsOut) != 0 {
        // One that is only about to answer has not been asked twice.
        let again = !has(Field::Retries) || tcp.load::<u8>(Field::Retries) != 0;
        if again && ack >= request.unacknowledged_ticks && sent < ack {
            facts.trouble = trouble::UNACKNOWLEDGED;
        }
    } else if facts.unsent != 0 {
        if tcp.load::<u32>(Field::SendWindow) == 0 && sent >= request.stalled_ticks {
            facts.trouble = trouble::PEER_WINDOW_ZERO;
        }
    } else if facts.unread != 0 && has(Field::ReceiveWindow) && has(Field::LastReceived) {
        if tcp.load::<u32>(Field::ReceiveWindow) == 0 && since(Field::LastReceived) >= request.stalled_ticks {
            facts.trouble = trouble::OWN_WINDOW_ZERO;
        }
    } else if facts.state == ESTABLISHED {
        let idle = if ack < sent { ack } else { sent };
        if idle >= request.silent_ticks && tcp.load::<u64>(Field::Flags) & SOCK_KEEPOPEN == 0 {
            facts.trouble = trouble::NO_KEEPALIVE;
        }
    }
}

#[inline(always)]
fn sum_up(socket: Typed, facts: &Facts, request: &Request) {
    // Where the service is not known to be here, it is there.
    let port = if facts.flags & PASSIVE != 0 { facts.local_port } else { facts.remote_port };
    let key = Key::new(facts.pid, port, facts.state, facts.flags, facts.trouble).0;
    let Some(sum) = group(key) else {
        if let Some(folded) = SURVEY_RESULT.get_ptr_mut(0) {
            // SAFETY: a counter of the map.
            add_shared(Some(unsafe { &mut *folded }), 1);
        }
        return;
    };
    // SAFETY: a record of the map; one walk at a time writes it.
    let sum = unsafe { &mut *sum };
    sum.count += 1;
    sum.unread_bytes += facts.unread;
    sum.unread += u64::from(facts.unread != 0);
    sum.unsent_bytes += facts.unsent;
    let known = facts.age != UNKNOWN;
    if known {
        sum.aged += u64::from(facts.age >= request.aged[(facts.state & 15) as usize]);
    } else {
        sum.unknown_age += 1;
    }
    if sum.count == 1 || (known && facts.age > sum.oldest) {
        sum.oldest = if known { facts.age } else { 0 };
        let family: u16 = socket.load(Field::Family);
        emit::local_address(&mut sum.local, socket, family);
        emit::remote_address(&mut sum.remote, socket, family);
        sum.ports = [facts.local_port, facts.remote_port, 0, 0];
    }
}

/// The sum of a group, made if it is not there; `None` if there is no room.
#[inline(always)]
fn group(key: u64) -> Option<*mut Sum> {
    if let Some(sum) = GROUPS.get_ptr_mut(key) {
        return Some(sum);
    }
    let _ = GROUPS.insert(key, Sum::default(), 0);
    GROUPS.get_ptr_mut(key)
}

/// Counts a local port that is taken toward a destination.
#[inline(always)]
fn count_tuple(socket: Typed, facts: &Facts) {
    let mut key = TupleKey { remote_port: facts.remote_port, ..TupleKey::default() };
    let family: u16 = socket.load(Field::Family);
    emit::local_address(&mut key.local, socket, family);
    emit::remote_address(&mut key.remote, socket, family);
    let time_wait = u64::from(facts.state == TIME_WAIT || !facts.full);
    match TUPLES.get_ptr_mut(key) {
        // SAFETY: a record of the map; one walk at a time writes it.
        Some(sum) => unsafe {
            (*sum).used += 1;
            (*sum).time_wait += time_wait;
        },
        None => {
            let _ = TUPLES.insert(key, TupleSum { used: 1, time_wait }, 0);
        }
    }
}
