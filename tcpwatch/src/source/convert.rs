//! From what the kernel's side counts to the parts of a sample.

use std::collections::HashMap;

use tcpwatch_common::event::FIN_WAIT2_MINIS;
use tcpwatch_common::{TcpState, cell, judge};

use super::SourceError;
use crate::host::procfs::NetCounters;
use crate::kernel::Counters;
use crate::sample::{KernelCounters, Minis, NamespaceSample, StateCounts};

pub(super) fn add_illegal(
    namespaces: &mut [NamespaceSample],
    counters: &Counters,
) -> Result<(), SourceError> {
    let illegal = counters.illegal()?;
    if illegal.is_empty() {
        return Ok(());
    }
    let mut rows: HashMap<u64, u32> =
        counters.namespaces()?.iter().map(|(key, met)| (*key, met.row)).collect();
    // No namespace has the number 0: it stands for those without a row.
    rows.insert(0, cell::OVERFLOW_ROW);
    for namespace in namespaces {
        let Some(row) = rows.get(&namespace.generation) else { continue };
        for ((_, from, to), count) in illegal.iter().filter(|((illegal_row, ..), _)| illegal_row == row) {
            let states = TcpState::from_kernel((*from).into()).zip(TcpState::from_kernel((*to).into()));
            namespace.illegal.extend(states.map(|(from, to)| (from, to, *count)));
        }
    }
    Ok(())
}

pub(super) fn has_listened(cells: &cell::Row, adopted: &[u64; 16]) -> bool {
    let listened = judge(TcpState::Close, TcpState::Listen).cell.map_or(0, |cell| cells[cell]);
    listened + adopted[TcpState::Listen as usize] > 0
}

/// From the kernel's state numbers to ours.
pub(super) fn by_index(by_number: &[u64; 16]) -> StateCounts {
    TcpState::ALL.map(|state| by_number[state as usize])
}

pub(super) fn minis(by_number: &[u64; 16]) -> Minis {
    Minis { half_open: by_number[TcpState::NewSynRecv as usize], fin_wait2: by_number[FIN_WAIT2_MINIS] }
}

pub(super) fn kernel_counters(counters: &NetCounters) -> KernelCounters {
    KernelCounters {
        active_opens: counters.snmp.active_opens,
        passive_opens: counters.snmp.passive_opens,
        attempt_fails: counters.snmp.attempt_fails,
        estab_resets: counters.snmp.estab_resets,
        curr_estab: counters.snmp.curr_estab,
        embryonic_resets: counters.ext.embryonic_rsts.unwrap_or(0),
        time_wait: counters.sock.tw,
    }
}
