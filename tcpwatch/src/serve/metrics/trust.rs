//! Metrics that say how far the others can be trusted: losses, programs, and the kernel's own counters.

use tcpwatch_common::host::HostCounters;

use super::family::{Family, number, seconds};
use crate::model::Report;
use crate::sample::Sample;
use crate::view::transitions::drift;

pub(super) fn add(families: &mut Vec<Family>, report: &Report) {
    let sample = &report.sample;
    if let Some(host) = &sample.host {
        families.extend([lost(host, sample), recovered(host), gaps(host), ring(sample)]);
    }
    families.extend(programs(sample));
    families.push(reconciliation(report));
    families.extend(namespaces(sample));
    families.push(ungrouped(sample));
}

fn lost(host: &HostCounters, sample: &Sample) -> Family {
    let mut family = Family::counter(
        "tcpwatch_events_lost_total",
        "What tcpwatch could not fully take in. Reason: ring_full (counted, but a trace did not get it), missed (a \
         transition that was not counted), untracked (a socket of unknown age), folded (counted, but not for its \
         network namespace), listener (a listener that is not watched)",
    );
    for (reason, count) in [
        ("ring_full", sample.ring.lost),
        ("missed", sample.missed_transitions()),
        ("untracked", host.untracked),
        ("folded", host.folded),
        ("listener", host.listeners_untracked),
    ] {
        family.add(&[("reason", reason)], number(count));
    }
    family
}

fn recovered(host: &HostCounters) -> Family {
    Family::counter(
        "tcpwatch_transitions_recovered_total",
        "Transitions that the first eBPF program missed and another counted: nothing is lost",
    )
    .only(Some(number(host.nested)))
}

fn gaps(host: &HostCounters) -> Family {
    Family::counter(
        "tcpwatch_gaps_total",
        "Transitions that did not start from the socket's last known state: one before it was not seen",
    )
    .only(Some(number(host.gaps)))
}

fn ring(sample: &Sample) -> Family {
    let mut family = Family::counter(
        "tcpwatch_ring_events_total",
        "Events for the ring buffer that feeds traces, by fate. Fate seen: all of them; delivered, filtered (not what was \
         asked for) and lost (no room) add up to it, but for those under way",
    );
    let ring = &sample.ring;
    for (fate, count) in
        [("seen", ring.seen), ("delivered", ring.delivered), ("filtered", ring.filtered), ("lost", ring.lost)]
    {
        family.add(&[("fate", fate)], number(count));
    }
    family
}

fn programs(sample: &Sample) -> [Family; 3] {
    let mut loaded = Family::gauge(
        "tcpwatch_program_loaded",
        "1 if the eBPF program runs, 0 if this kernel or these privileges do not allow it; /api/v1/status says why \
         and what is lost",
    );
    let mut runs = Family::counter(
        "tcpwatch_program_runs_total",
        "Runs of the eBPF program, while the kernel keeps statistics (sysctl kernel.bpf_stats_enabled)",
    );
    let mut time = Family::counter(
        "tcpwatch_program_seconds_total",
        "Time spent in the eBPF program, while the kernel keeps statistics (sysctl kernel.bpf_stats_enabled)",
    );
    for program in &sample.programs {
        let labels = [("program", program.name.as_str())];
        loaded.add(&labels, f64::from(u8::from(program.error.is_none())));
        if program.runs > 0 {
            runs.add(&labels, number(program.runs));
            time.add(&labels, seconds(program.nanoseconds));
        }
    }
    [loaded, runs, time]
}

fn reconciliation(report: &Report) -> Family {
    let mut family = Family::gauge(
        "tcpwatch_reconciliation_drift",
        "By how much the kernel's own counter and tcpwatch's transitions have come to differ, network namespaces \
         added up without their signs; 0 if nothing was lost",
    );
    for (counter, drift) in drift(report, None) {
        if let Some(drift) = drift {
            family.add(&[("counter", counter)], number(drift.unsigned_abs()));
        }
    }
    family
}

fn namespaces(sample: &Sample) -> [Family; 2] {
    let alive = || sample.namespaces.iter().filter(|namespace| namespace.is_alive);
    let count = |namespaces: usize| Some(number(namespaces as u64));
    [
        Family::gauge("tcpwatch_namespaces", "Network namespaces that are watched")
            .only(count(alive().count())),
        Family::gauge(
            "tcpwatch_namespaces_incomplete",
            "Network namespaces in which sockets older than tcpwatch may not be counted",
        )
        .only(count(alive().filter(|namespace| !namespace.is_complete).count())),
    ]
}

fn ungrouped(sample: &Sample) -> Family {
    Family::gauge(
        "tcpwatch_sockets_ungrouped",
        "Sockets that the last walks over all sockets could put in no group for want of room: findings and \
         tcpwatch_workload_sockets lack them",
    )
    .only(sample.ungrouped().map(number))
}
