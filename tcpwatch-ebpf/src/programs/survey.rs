//! A walk over the sockets of a namespace that sums them up in groups: by owner, state, service and what is wrong.
//!
//! It counts for the census as well, so that one walk serves both. It does not meet sockets that are older than the
//! programs: the walks at the start do.

mod facts;
mod owner;
mod trouble;

use tcpwatch_common::event::{CENSUS_SLOTS, FIN_WAIT2_MINIS};
use tcpwatch_common::offsets::Field;
use tcpwatch_common::state::TcpState;
use tcpwatch_common::survey::{Key, PASSIVE, Request, Sum, TupleKey, TupleSum};

use self::facts::Facts;
use crate::branchless::{below, is_same, is_zero, not};
use crate::emit;
use crate::maps::{CENSUS_COUNTS, GROUPS, SERVICE_PORTS, SURVEY_REQUEST, SURVEY_RESULT, TUPLES};
use crate::programs::add_shared;
use crate::programs::snapshot::{IterContext, shown_state};
use crate::read::Typed;
use crate::unlearn::unlearn;

const FIN_WAIT2: u64 = TcpState::FinWait2 as u64;
const LISTEN: u64 = TcpState::Listen as u64;
const TIME_WAIT: u64 = TcpState::TimeWait as u64;

/// The states, as the kernel has them, of what is no whole socket.
const NOT_WHOLE: u64 = 1 << TIME_WAIT | 1 << TcpState::NewSynRecv as u64 | 1 << TcpState::Close as u64;

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
    let state = unlearn(shown_state(socket).into()) & 15;
    let whole = !NOT_WHOLE >> (socket.load::<u8>(Field::State) & 63) & 1;
    count(state, whole);
    let Some(request) = SURVEY_REQUEST.get(0) else { return 0 };
    let Some(services) = SERVICE_PORTS.get(0) else { return 0 };
    if state == LISTEN {
        return 0;
    }
    let facts = if unlearn(whole) != 0 {
        let Some(facts) = facts::of_whole(socket, state, request) else { return 0 };
        facts
    } else {
        facts::of_mini(socket, state, request)
    };
    let facts = facts.with_role(not(whole), services);
    sum_up(socket, state, &facts, request);
    if request.tuples != 0 && unlearn(facts.flags & u64::from(PASSIVE)) == 0 {
        count_tuple(socket, &facts, is_same(state, TIME_WAIT) | not(whole));
    }
    0
}

/// Counts the socket for the census.
#[inline(always)]
fn count(state: u64, whole: u64) {
    let is_mini = is_same(state, FIN_WAIT2) & not(whole);
    let slot = state + is_mini * (FIN_WAIT2_MINIS as u64 - FIN_WAIT2);
    if let Some(counts) = CENSUS_COUNTS.get_ptr_mut(0) {
        // SAFETY: a whole record of the map.
        add_shared(unsafe { (*counts).get_mut(slot as usize & (CENSUS_SLOTS - 1)) }, 1);
    }
}

#[inline(always)]
fn sum_up(socket: Typed, state: u64, facts: &Facts, request: &Request) {
    let Some(sum) = group(facts.key(state)) else {
        if let Some(folded) = SURVEY_RESULT.get_ptr_mut(0) {
            // SAFETY: a counter of the map.
            add_shared(Some(unsafe { &mut *folded }), 1);
        }
        return;
    };
    // SAFETY: a record of the map; one walk at a time writes it.
    let sum = unsafe { &mut *sum };
    let is_first = is_zero(sum.count);
    sum.count += 1;
    sum.unread_bytes += facts.unread;
    sum.unread += not(is_zero(facts.unread));
    sum.unsent_bytes += facts.unsent;
    sum.measured += facts.measured;
    sum.send_memory = sum.send_memory.wrapping_add(facts.send_memory);
    sum.receive_memory = sum.receive_memory.wrapping_add(facts.receive_memory);
    sum.reserved_memory = sum.reserved_memory.wrapping_add(facts.reserved_memory);
    sum.aged += facts.is_age_known & not(below(facts.age, request.aged[(state & 15) as usize]));
    sum.unknown_age += not(facts.is_age_known);
    // The age of one that is not known is 0.
    if is_first | below(sum.oldest, facts.age) != 0 {
        sum.oldest = facts.age;
        emit::addresses(&mut sum.local, &mut sum.remote, socket);
        sum.ports = [facts.local_port as u16, facts.remote_port as u16, 0, 0];
    }
}

/// The sum of a group, made if it is not there; `None` if there is no room.
#[inline(always)]
fn group(key: Key) -> Option<*mut Sum> {
    if let Some(sum) = GROUPS.get_ptr_mut(key.0) {
        return Some(sum);
    }
    let _ = GROUPS.insert(key.0, Sum::default(), 0);
    GROUPS.get_ptr_mut(key.0)
}

/// Counts a local port that is taken toward a destination.
#[inline(always)]
fn count_tuple(socket: Typed, facts: &Facts, time_wait: u64) {
    let mut key = TupleKey { remote_port: facts.remote_port as u16, ..TupleKey::default() };
    emit::addresses(&mut key.local, &mut key.remote, socket);
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
