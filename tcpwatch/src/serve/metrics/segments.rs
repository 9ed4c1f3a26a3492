//! Metrics of segments: sent again, and resets.

use std::collections::BTreeMap;

use tcpwatch_common::host::{HostCounters, Retransmit};
use tcpwatch_common::names::program;

use super::family::{Family, number};
use super::listeners;
use crate::model::Report;
use crate::sample::Sample;

/// A reset without a reason from the kernel.
const UNKNOWN: &str = "unknown";

pub(super) fn add(families: &mut Vec<Family>, report: &Report) {
    let sample = &report.sample;
    let Some(host) = &sample.host else { return };
    families.extend([retransmits(host, sample), resets(host, sample)]);
    if runs(sample, program::RETRANSMIT) {
        families.push(causes(host));
    }
    if runs(sample, program::RESET_SENT) {
        families.push(without_socket(host));
    }
    if runs(sample, program::RETRANSMIT_SYNACK) {
        families.push(listeners::synack_retransmits(&report.listeners.services));
    }
}

/// Whether a program counts. What one does not count is unknown, not 0.
fn runs(sample: &Sample, name: &str) -> bool {
    !sample.programs.iter().any(|program| program.name == name && program.error.is_some())
}

fn retransmits(host: &HostCounters, sample: &Sample) -> Family {
    let mut family = Family::counter(
        "tcpwatch_retransmits_total",
        "Segments sent again. Kind: data (FIN and probes among them), syn, synack, or failed (it could not be sent; \
         newer kernels only)",
    );
    for kind in Retransmit::ALL {
        let counted_by = match kind {
            Retransmit::SynAck => program::RETRANSMIT_SYNACK,
            Retransmit::Data | Retransmit::Syn | Retransmit::Failed => program::RETRANSMIT,
        };
        if runs(sample, counted_by) {
            family.add(&[("kind", kind.name())], number(host.retransmits[kind as usize]));
        }
    }
    family
}

/// In the order of [`tcpwatch_common::remote::Count`].
const CAUSES: [&str; 4] = ["timeout", "fast", "probe", "unknown"];

fn causes(host: &HostCounters) -> Family {
    let mut family = Family::counter(
        "tcpwatch_data_retransmits_total",
        "Data segments sent again, by what made TCP do so. Cause: timeout (nothing came back for the retransmission \
         timeout), fast (later segments were acknowledged), probe (a tail loss probe), unknown (the kernel does not \
         tell)",
    );
    for (cause, count) in CAUSES.iter().zip(host.retransmit_causes) {
        family.add(&[("cause", cause)], number(count));
    }
    family
}

fn without_socket(host: &HostCounters) -> Family {
    Family::counter(
        "tcpwatch_resets_without_socket_total",
        "RST segments sent for a segment that belongs to no socket: nobody listens there, or the connection is gone. \
         Part of tcpwatch_resets_total",
    )
    .only(Some(number(host.resets_sent_no_socket)))
}

fn resets(host: &HostCounters, sample: &Sample) -> Family {
    let mut family = Family::counter(
        "tcpwatch_resets_total",
        "RST segments by direction, those sent by the kernel's reason: unknown on kernels before 6.10, and for all \
         received ones",
    );
    if runs(sample, program::RESET_RECEIVED) {
        family.add(&[("direction", "received"), ("reason", UNKNOWN)], number(host.resets_received));
    }
    if runs(sample, program::RESET_SENT) {
        let mut reasons = BTreeMap::from([(UNKNOWN, 0)]);
        for (reason, count) in sample.reset_reasons.iter().filter(|(_, count)| *count > 0) {
            *reasons.entry(reason).or_default() += count;
        }
        // The reasons are read after the total, so the difference is what has none, not what came in between.
        let without = host.resets_sent.saturating_sub(reasons.values().sum());
        *reasons.entry(UNKNOWN).or_default() += without;
        for (reason, count) in reasons {
            family.add(&[("direction", "sent"), ("reason", reason)], number(count));
        }
    }
    family
}
