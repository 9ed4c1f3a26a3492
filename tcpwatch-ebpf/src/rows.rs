//! Rows of counters: each namespace gets one when it is met for the first time.

use aya_ebpf::bindings::BPF_NOEXIST;
use tcpwatch_common::cell;
use tcpwatch_common::event::Namespace;

use crate::maps::{FREE_ROWS, NAMESPACES};

/// The row of the namespace with this key; [`cell::OVERFLOW_ROW`] if no row is left.
#[inline(always)]
pub(crate) fn row_for(key: u64, inode: u32) -> u32 {
    // SAFETY: entries are only removed by user space when the namespace is long gone.
    match unsafe { NAMESPACES.get(key) } {
        Some(namespace) => namespace.row,
        None => new_row(key, inode),
    }
}

#[inline(never)]
fn new_row(key: u64, inode: u32) -> u32 {
    let Ok(Some(row)) = FREE_ROWS.pop() else { return cell::OVERFLOW_ROW };
    if NAMESPACES.insert(key, Namespace { row, inode }, u64::from(BPF_NOEXIST)).is_ok() {
        return row;
    }
    // Another CPU was faster (or the map is full): the row goes back, its entry counts.
    let _ = FREE_ROWS.push(row, 0);
    // SAFETY: as above.
    unsafe { NAMESPACES.get(key) }.map_or(cell::OVERFLOW_ROW, |namespace| namespace.row)
}
