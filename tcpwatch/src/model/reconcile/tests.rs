//! Drift as it shows over a row of samples.

use tcpwatch_common::TcpState::{Established, Listen, SynRecv};

use super::*;
use crate::model::testing::sample_at;

/// Our passive opens, the kernel's before and after: what drift of passive opens is seen after all of them?
fn passive_drift(steps: &[(u64, u64, u64)]) -> (Option<i64>, u64) {
    let mut reconciler = Reconciler::default();
    let mut last = BTreeMap::new();
    for (number, (ours, before, after)) in steps.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a handful of steps")]
        let mut sample = sample_at(number as f64, 7);
        let cell = judge(Listen, SynRecv).cell.expect("legal");
        sample.namespaces[0].cells.as_mut().expect("cells")[cell] = *ours;
        let kernel = |passive_opens| KernelCounters { passive_opens, ..KernelCounters::default() };
        sample.namespaces[0].kernel = Some((kernel(*before), kernel(*after)));
        last = reconciler.apply(&sample);
    }
    let drift = last[&7].iter().find(|drift| drift.counter == Counter::PassiveOpens).expect("compared");
    (drift.drift, drift.uncertainty)
}

#[test]
fn what_the_kernel_counted_before_the_start_is_no_drift() {
    assert_eq!(passive_drift(&[(0, 100, 100), (50, 150, 150)]), (Some(0), 0));
}

#[test]
fn counters_that_move_while_they_are_read_leave_bounds_that_narrow() {
    assert_eq!(passive_drift(&[(10, 100, 130)]), (Some(0), 34));
    assert_eq!(passive_drift(&[(10, 100, 130), (50, 150, 150)]), (Some(0), 0));
}

#[test]
fn lost_transitions_show_once_confirmed() {
    let steps = [(0, 100, 100), (47, 150, 150), (57, 160, 160), (67, 170, 170)];
    assert_eq!(passive_drift(&steps[..3]), (Some(0), 0), "not yet confirmed");
    assert_eq!(passive_drift(&steps), (Some(3), 0));
}

#[test]
fn transitions_counted_twice_show_as_negative_drift() {
    let steps = [(0, 100, 100), (52, 150, 150), (52, 150, 150), (52, 150, 150)];
    assert_eq!(passive_drift(&steps), (Some(-2), 0));
}

#[test]
fn a_single_sample_that_is_off_is_forgiven() {
    let steps = [(0, 100, 100), (51, 150, 150), (51, 151, 151), (51, 151, 151)];
    assert_eq!(passive_drift(&steps), (Some(0), 0));
}

#[test]
fn a_new_namespace_of_the_same_number_starts_again() {
    assert_eq!(passive_drift(&[(40, 1000, 1000), (41, 1, 1), (42, 2, 2)]), (Some(0), 0));
}

#[test]
fn the_gauge_is_compared_only_while_nothing_moves() {
    let mut sample = sample_at(0.0, 7);
    sample.namespaces[0].adopted[Established.index()] = 4;
    sample.namespaces[0].adopted[TcpState::CloseWait.index()] = 2;
    let kernel = |curr_estab| KernelCounters { curr_estab, ..KernelCounters::default() };
    let mut drift = |before, after| {
        sample.namespaces[0].kernel = Some((kernel(before), kernel(after)));
        Reconciler::default().apply(&sample)[&7][4].drift
    };
    assert_eq!(drift(6, 6), Some(0), "most kernels count CLOSE_WAIT as well");
    assert_eq!(drift(4, 4), Some(0), "some do not");
    assert_eq!(drift(9, 9), Some(3));
    assert_eq!(drift(6, 5), None);
}
