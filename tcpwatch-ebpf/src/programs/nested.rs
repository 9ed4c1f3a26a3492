//! Events in the midst of the counting of other events.
//!
//! A kernel that finds a program running on this CPU skips it: newer ones so protect programs from themselves
//! (`recursion_misses`). Many transitions are made by tasks while interrupts may run the network stack, so a busy
//! host loses transitions, in bursts of hundreds. Therefore the same code is attached twice: the first program
//! counts, and notes what it counted; the second runs right after it for the same event, and counts what was not
//! noted. An event that interrupts the one does not interrupt the other, so one of them always runs.
//!
//! Where tasks can be preempted in the middle of a tracepoint (`PREEMPTIBLE`), each of several tasks can be inside
//! one of the programs. There are two more of them there, and an event is lost only if all four are taken.
//!
//! Each program has a record of its own to count in, and the kernel lets it run once at a time on a CPU. Kernels
//! that do not skip let the first run within itself; then it uses the second's record, as the second has nothing to
//! count there.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use tcpwatch_common::host::{HostCounters, TASK_NOTES_MASK};
use tcpwatch_common::offsets::Field;

use crate::maps::{HOST, TASK_NOTES, preemptible};
use crate::programs::add;
use crate::programs::transition::on_event;
use crate::read::Typed;
use crate::table::launder;

/// Spreads the numbers of tasks, which follow each other, over cache lines; being odd, it maps no two to one.
const SPREAD: u32 = 0x9E37_79B1;

/// Counts a transition.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn transition(ctx: BtfTracePointContext) -> i32 {
    let Some(first) = HOST.get_ptr_mut(0) else { return 0 };
    let busy = busy(first);
    let record = if busy == 0 { Some(first) } else { HOST.get_ptr_mut(1) };
    let Some(record) = record else { return 0 };
    set_busy(first, 1);
    // SAFETY: a record of this CPU that nobody else writes meanwhile: see above.
    on_event(unsafe { &mut *record }, &ctx);
    set_busy(first, busy);
    note(first, level(&ctx), event_key(&ctx));
    0
}

/// Counts the transitions that [`transition`] missed.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn transition_nested(ctx: BtfTracePointContext) -> i32 {
    again(&ctx, 1, preemptible() == 0);
    0
}

/// Counts the transitions that both missed. Attached only where tasks can be preempted, as is the next.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn transition_third(ctx: BtfTracePointContext) -> i32 {
    again(&ctx, 2, false);
    0
}

/// Counts the transitions that all others missed.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn transition_fourth(ctx: BtfTracePointContext) -> i32 {
    again(&ctx, 3, true);
    0
}

/// Counts the event in the `copy`'s own record if no program before it has.
#[inline(always)]
fn again(ctx: &BtfTracePointContext, copy: u32, is_last: bool) {
    let Some(first) = HOST.get_ptr_mut(0) else { return };
    let level = level(ctx);
    if is_noted(first, level, event_key(ctx)) {
        if is_last {
            forget(first, level);
        }
        return;
    }
    let Some(record) = HOST.get_ptr_mut(copy) else { return };
    // SAFETY: as above.
    let record = unsafe { &mut *record };
    // The verifier is to walk the counting once, and not for each level.
    let level = Level(launder(level.0, &mut record.scratch[0]) & Level::INTERRUPT.0);
    add(Some(&mut record.nested), 1);
    on_event(record, ctx);
    if is_last {
        forget(first, level);
    } else {
        note(first, level, event_key(ctx));
    }
}

/// Whether this CPU's first program is running: volatile, as whoever interrupts looks at it.
#[inline(always)]
fn busy(first: *mut HostCounters) -> u64 {
    // SAFETY: a whole record of the map.
    unsafe { read_volatile(&raw const (*first).busy) }
}

#[inline(always)]
fn set_busy(first: *mut HostCounters, busy: u64) {
    // SAFETY: as above.
    unsafe { write_volatile(&raw mut (*first).busy, busy) }
}

/// What an event can interrupt: a number, so that the verifier need not know which.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Level(u64);

impl Level {
    /// Nothing.
    const TASK: Self = Self(0);
    /// A task.
    const INTERRUPT: Self = Self(1);
}

/// What the event can interrupt. A task changes a socket that it has locked; then interrupts leave that socket alone,
/// and the sockets that they change are not locked so.
#[inline(always)]
fn level(ctx: &BtfTracePointContext) -> Level {
    let socket = Typed(ctx.arg::<*const u8>(0));
    if socket.load::<u32>(Field::LockOwned) == 0 { Level::INTERRUPT } else { Level::TASK }
}

/// A number for this event, not 0, and different from any other that can be under way. The remote port tells a socket
/// from the one that had its memory before.
#[inline(always)]
fn event_key(ctx: &BtfTracePointContext) -> u64 {
    let socket = Typed(ctx.arg::<*const u8>(0));
    let port = u64::from(socket.load::<u16>(Field::RemotePort));
    (socket.identity() << 8) ^ (port << 48) ^ (ctx.arg::<u64>(1) << 4) ^ ctx.arg::<u64>(2)
}

/// Notes that the event `key` has been counted; 0 forgets it.
#[inline(always)]
fn note(first: *mut HostCounters, level: Level, key: u64) {
    if let Some(place) = place(first, level) {
        // SAFETY: a word of a map; volatile, as interrupts look at it.
        unsafe { write_volatile(place, key) }
    }
}

/// Whether a program before this one has counted the event.
#[inline(always)]
fn is_noted(first: *mut HostCounters, level: Level, key: u64) -> bool {
    // SAFETY: as above.
    place(first, level).is_some_and(|place| unsafe { read_volatile(place) } == key)
}

/// Where an event's note is. Interrupts and the task that they interrupt have places of their own, and so has each
/// task where tasks can be preempted: it may go on with the next program on another CPU.
#[inline(always)]
fn place(first: *mut HostCounters, level: Level) -> Option<*mut u64> {
    if preemptible() != 0 && level == Level::TASK {
        let task = (bpf_get_current_pid_tgid() as u32).wrapping_mul(SPREAD);
        return TASK_NOTES.get_ptr_mut(task & TASK_NOTES_MASK);
    }
    // SAFETY: a whole record of the map.
    Some(unsafe { (&raw mut (*first).done).cast::<u64>().add((level.0 & Level::INTERRUPT.0) as usize) })
}

/// Forgets the event, and what was left over by one that interrupted a program, so that the last one was skipped for it.
#[inline(always)]
fn forget(first: *mut HostCounters, level: Level) {
    note(first, level, 0);
    // A task that can preempt others may do so in the midst of an interrupt's event.
    if preemptible() == 0 && level == Level::TASK {
        // SAFETY: as above.
        unsafe { write_volatile(&raw mut (*first).done[Level::INTERRUPT.0 as usize], 0) }
    }
}
