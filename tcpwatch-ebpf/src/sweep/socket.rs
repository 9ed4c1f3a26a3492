//! One socket of a chain: a mini-socket is counted, a whole one is met if it is older than the programs.

use core::ptr::{addr_of_mut, write_volatile};

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use tcpwatch_common::listener::Listener;
use tcpwatch_common::offsets::Field;
use tcpwatch_common::socket::{BIRTH_UNKNOWN, ROLE_UNKNOWN, SINCE_UNKNOWN};
use tcpwatch_common::state::TcpState;
use tcpwatch_common::sweep::{Minis, Work, task};

use crate::add::{add_shared, add_shared_to};
use crate::maps::{HOST, LISTENERS, MINIS, origin};
use crate::older;
use crate::read::{Object, has, read};
use crate::rows::row_for;
use crate::table;

const TIME_WAIT: u8 = TcpState::TimeWait as u8;
const FIN_WAIT2: u8 = TcpState::FinWait2 as u8;
const CLOSE: u8 = TcpState::Close as u8;
const LISTEN: u8 = TcpState::Listen as u8;
const NEW_SYN_RECV: u8 = TcpState::NewSynRecv as u8;
const AF_INET6: u16 = 10;

/// How often a chain is read again that changes all the time.
const AGAIN: u32 = 4;

/// Where the walk goes on.
pub(crate) enum Next {
    /// At the socket's link, which is in [`Work::link`].
    Follow,
    /// At the beginning of the chain.
    Again,
}

/// Looks at the socket at `address`.
#[inline(always)]
pub(crate) fn pass(work: &mut Work, address: u64) -> Next {
    let socket = Object::socket(address);
    let is_listener = work.task & task::LISTENERS != 0;
    if !is_listener && socket.load::<u32>(Field::Hash) & work.mask != work.chain {
        return Next::Again;
    }
    number(&mut work.link, socket, Field::Link);
    let state: u8 = socket.load(Field::State);
    if state == CLOSE && !is_listener {
        // It has just been taken out, and what took its place may be further ahead.
        if work.again < AGAIN {
            work.again += 1;
            return Next::Again;
        }
        return Next::Follow;
    }
    if state == TIME_WAIT || state == NEW_SYN_RECV {
        if work.task & task::COUNT != 0 {
            let row = row(work, socket);
            count(work, row, address, state);
        }
        return Next::Follow;
    }
    if (state == LISTEN) != is_listener {
        // A listener that is closed while it is passed, or a socket that became another.
        return Next::Follow;
    }
    work.passed += 1;
    if work.task & task::MEET != 0 {
        meet(work, socket, address, state);
    }
    if work.task & task::FIND != 0 && is_listener {
        row(work, socket);
        listener(socket, address, address.wrapping_sub(origin()), work.net);
    }
    Next::Follow
}

/// Loads a pointer as a plain number: the verifier lets nothing be done with a pointer but to follow it.
#[inline(always)]
fn number(into: &mut u64, socket: Object, field: Field) {
    // SAFETY: a plain reference.
    unsafe { write_volatile(into, socket.load(field)) }
}

/// The row of the socket's namespace.
#[inline(always)]
fn row(work: &mut Work, socket: Object) -> u32 {
    number(&mut work.scratch, socket, Field::Net);
    let net = work.scratch;
    if net != work.net {
        let inode: u32 = read(net, Field::NetInode);
        let key = if has(Field::NetCookie) { read(net, Field::NetCookie) } else { inode.into() };
        work.row = row_for(key, inode).into();
        work.net = net;
    }
    work.row as u32 & 0xffff
}

#[inline(always)]
fn count(work: &Work, row: u32, address: u64, state: u8) {
    let Some(minis) = MINIS.get_ptr_mut(row) else { return };
    let pass = u64::from(work.pass);
    // SAFETY: a whole record of the map, to which one run at a time writes.
    unsafe {
        if (*minis).pass != pass {
            *minis = Minis { pass, ..Minis::default() };
        }
        if state == NEW_SYN_RECV {
            *addr_of_mut!((*minis).half_open) += 1;
        } else if has(Field::TimeWaitSubstate)
            && Object::timewait(address).load::<u8>(Field::TimeWaitSubstate) == FIN_WAIT2
        {
            *addr_of_mut!((*minis).fin_wait2) += 1;
        } else {
            *addr_of_mut!((*minis).time_wait) += 1;
        }
    }
}

#[inline(always)]
fn meet(work: &mut Work, socket: Object, address: u64, state: u8) {
    let identity = address.wrapping_sub(origin());
    if !older::enter(identity) {
        return;
    }
    work.met += 1;
    let row = row(work, socket);
    older::adopt(row, state.into());
    if !remember(identity, row, state)
        && let Some(host) = HOST.get_ptr_mut(0)
    {
        // SAFETY: the record of this CPU.
        unsafe {
            add_shared_to(&raw mut (*host).untracked, 1);
            add_shared_to(&raw mut (*host).placeless, 1);
        }
    }
    if state == LISTEN {
        listener(socket, address, identity, work.net);
    }
}

/// Gives the socket a place in the table; false if there is none.
#[inline(never)]
fn remember(identity: u64, row: u32, state: u8) -> bool {
    // SAFETY: a helper without preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let flags = BIRTH_UNKNOWN | SINCE_UNKNOWN | ROLE_UNKNOWN;
    match table::find_or_free(identity) {
        (_, Some(_)) => true,
        (Some(place), None) if place.is_still_free() => {
            place.claim(row, state.into(), flags, now, 0);
            true
        }
        _ => false,
    }
}

/// Remembers a listener, so that it is polled.
#[inline(never)]
fn listener(socket: Object, address: u64, identity: u64, net: u64) {
    let mut listener = Listener { address, netns: read(net, Field::NetInode), ..Listener::default() };
    listener.local_port = socket.load(Field::LocalPort);
    if socket.load::<u16>(Field::Family) == AF_INET6 {
        listener.family = 6;
        listener.local = read(address, Field::LocalV6);
    } else {
        listener.family = 4;
        let v4: [u8; 4] = read(address, Field::LocalV4);
        listener.local[10] = 0xff;
        listener.local[11] = 0xff;
        listener.local[12] = v4[0];
        listener.local[13] = v4[1];
        listener.local[14] = v4[2];
        listener.local[15] = v4[3];
    }
    if LISTENERS.insert(identity, listener, u64::from(BPF_NOEXIST)).is_err()
        && LISTENERS.get_ptr_mut(identity).is_none()
        && let Some(host) = HOST.get_ptr_mut(0)
    {
        // SAFETY: the record of this CPU.
        add_shared(Some(unsafe { &mut (*host).listeners_untracked }), 1);
    }
}
