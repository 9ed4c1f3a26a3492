//! Events in the midst of the counting of other events, and the programs that are attached for that.
//!
//! A kernel that finds a program running on this CPU skips it: newer ones so protect programs from themselves
//! (`recursion_misses`). Many transitions are made by tasks while interrupts may run the network stack, so a busy
//! host loses transitions, in bursts of hundreds. Therefore a second program is attached: the first
//! counts, and notes what it counted; the second runs right after it for the same event, and has counted what was not
//! noted. An event that interrupts the one does not interrupt the other, so one of them always runs.
//!
//! Where tasks can be preempted in the middle of a tracepoint (`PREEMPTIBLE`), each of several tasks can be inside
//! one of the programs. There are two more of them there, and an event is lost only if all four are taken.
//!
//! Only the first counts by itself, and only what is [`usual`]: the kernel lets it run once at a time on a CPU, so it has
//! a record of its own. Whatever else there is to count, each of them leaves to one and the same program, by a tail call:
//! so the kernel's verifier walks that once. A tail call does not return, and so the note is made before it. It could
//! only fail if the loader had not put the program in its place, and that is attached later.
//!
//! Kernels that do not skip let the first run within itself; then it leaves the event to that program too.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use tcpwatch_common::host::{TASK_NOTES_MASK, Underway};
use tcpwatch_common::offsets::Field;

use crate::maps::{RARE, TASK_NOTES, UNDERWAY, preemptible};
use crate::programs::record::{Record, counter};
use crate::programs::usual;
use crate::read::Typed;

/// Spreads the numbers of tasks, which follow each other, over cache lines; being odd, it maps no two to one.
const SPREAD: u32 = 0x9E37_79B1;

/// Counts a transition.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn transition(ctx: BtfTracePointContext) -> i32 {
    let Some(underway) = UNDERWAY.get_ptr_mut(0) else { return 0 };
    let mut is_counted = false;
    if !is_busy(underway) {
        set_busy(underway, 1);
        is_counted = usual::count(underway, &ctx).is_some();
        set_busy(underway, 0);
    }
    note(underway, level(&ctx), event_key(&ctx));
    if !is_counted {
        leave(&ctx);
    }
    0
}

/// Has the transitions counted that [`transition`] missed.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn transition_nested(ctx: BtfTracePointContext) -> i32 {
    again(&ctx, preemptible() == 0);
    0
}

/// Those that both missed. Attached only where tasks can be preempted, as is the next.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn transition_third(ctx: BtfTracePointContext) -> i32 {
    again(&ctx, false);
    0
}

/// Those that all others missed.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn transition_fourth(ctx: BtfTracePointContext) -> i32 {
    again(&ctx, true);
    0
}

/// Has the event counted if no program before this one has.
#[inline(always)]
fn again(ctx: &BtfTracePointContext, is_last: bool) {
    let Some(underway) = UNDERWAY.get_ptr_mut(0) else { return };
    let level = level(ctx);
    let is_new = !is_noted(underway, level, event_key(ctx));
    if is_last {
        forget(underway, level);
    } else if is_new {
        note(underway, level, event_key(ctx));
    }
    if is_new {
        if let Some(record) = Record::of_others() {
            record.add(counter!(record, nested), 0, 1);
        }
        leave(ctx);
    }
}

/// Leaves the event to the program that counts anything. What follows is not run.
#[inline(always)]
fn leave(ctx: &BtfTracePointContext) {
    // SAFETY: nothing is left undone here, and the program takes the same arguments.
    unsafe { RARE.tail_call(ctx, 0) }
}

/// Whether this CPU's first program is running: volatile, as whoever interrupts looks at it.
#[inline(always)]
fn is_busy(underway: *mut Underway) -> bool {
    // SAFETY: a whole record of the map.
    unsafe { read_volatile(&raw const (*underway).busy) != 0 }
}

#[inline(always)]
fn set_busy(underway: *mut Underway, busy: u64) {
    // SAFETY: as above.
    unsafe { write_volatile(&raw mut (*underway).busy, busy) }
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
fn note(underway: *mut Underway, level: Level, key: u64) {
    if let Some(place) = place(underway, level) {
        // SAFETY: a word of a map; volatile, as interrupts look at it.
        unsafe { write_volatile(place, key) }
    }
}

/// Whether a program before this one has counted the event.
#[inline(always)]
fn is_noted(underway: *mut Underway, level: Level, key: u64) -> bool {
    // SAFETY: as above.
    place(underway, level).is_some_and(|place| unsafe { read_volatile(place) } == key)
}

/// Where an event's note is. Interrupts and the task that they interrupt have places of their own, and so has each
/// task where tasks can be preempted: it may go on with the next program on another CPU.
#[inline(always)]
fn place(underway: *mut Underway, level: Level) -> Option<*mut u64> {
    if preemptible() != 0 && level == Level::TASK {
        let task = (bpf_get_current_pid_tgid() as u32).wrapping_mul(SPREAD);
        return TASK_NOTES.get_ptr_mut(task & TASK_NOTES_MASK);
    }
    // SAFETY: a whole record of the map.
    Some(unsafe { (&raw mut (*underway).done).cast::<u64>().add((level.0 & Level::INTERRUPT.0) as usize) })
}

/// Forgets the event, and what was left over by one that interrupted a program, so that the last one was skipped for it.
#[inline(always)]
fn forget(underway: *mut Underway, level: Level) {
    note(underway, level, 0);
    // A task that can preempt others may do so in the midst of an interrupt's event.
    if preemptible() == 0 && level == Level::TASK {
        // SAFETY: as above.
        unsafe { write_volatile(&raw mut (*underway).done[Level::INTERRUPT.0 as usize], 0) }
    }
}
