//! Metrics of tcpwatch itself: what it is and what it costs.

use std::time::SystemTime;

use super::family::{Family, number};
use super::room::Subjects;
use crate::config::Budget;
use crate::sample::Sample;
use crate::serve::SelfUsage;

pub(super) fn add(families: &mut Vec<Family>, sample: &Sample, usage: SelfUsage) {
    let is_current = usage.config.map(|config| if config.is_current { 1.0 } else { 0.0 });
    let read_at = usage.config.and_then(|config| config.at.duration_since(SystemTime::UNIX_EPOCH).ok());
    families.extend([
        build(),
        source(sample),
        Family::gauge("tcpwatch_self_kernel_memory_bytes", "Kernel memory that the eBPF maps take")
            .only(sample.kernel_memory.map(number)),
        Family::gauge("tcpwatch_self_resident_memory_bytes", "Memory of the tcpwatch process that is in RAM")
            .only(usage.resident_bytes.map(number)),
        Family::counter(
            "tcpwatch_self_cpu_seconds_total",
            "CPU time of the tcpwatch process, user and system",
        )
        .only(usage.cpu_seconds),
        Family::gauge(
            "tcpwatch_self_tick_seconds",
            "How long the last tick took: the sample, the model, the detectors and the recording",
        )
        .only(usage.tick_seconds),
        Family::gauge(
            "tcpwatch_config_last_reload_successful",
            "Whether what is in the configuration file is in effect",
        )
        .only(is_current),
        Family::gauge(
            "tcpwatch_config_last_reload_success_timestamp_seconds",
            "When the configuration that is in effect was read",
        )
        .only(read_at.map(|time| time.as_secs_f64())),
        Family::gauge(
            "tcpwatch_kubernetes_up",
            "Whether the Kubernetes API tells of the pods of this node as they change: 1, or 0 while it does not",
        )
        .only(usage.pods.map(|pods| number(pods.up.into()))),
        Family::gauge("tcpwatch_kubernetes_pods", "Pods that run on this node, as the Kubernetes API told last")
            .only(usage.pods.and_then(|pods| pods.running).map(number)),
    ]);
}

/// Series about the page itself.
pub(super) const OF_PAGE: usize = 5;

/// Who has no series of its own, and the bound that is kept.
pub(super) fn folded(subjects: Subjects, shown: Subjects, budget: Budget) -> [Family; 2] {
    let mut family = Family::gauge(
        "tcpwatch_subjects_folded",
        "Listening addresses, owners of sockets and subjects of findings without series of their own: those with the \
         least trouble, added up in other",
    );
    for (subject, count) in [
        ("listener", subjects.listeners - shown.listeners),
        ("owner", subjects.owners - shown.owners),
        ("finding", subjects.findings - shown.findings),
    ] {
        family.add(&[("subject", subject)], number(count as u64));
    }
    let limit =
        Family::gauge("tcpwatch_series_limit", "Series that this page may have; see series in [metrics]");
    [family, limit.only(Some(number(budget.series)))]
}

/// The number of series, to be called last.
pub(super) fn series(families: &[Family]) -> Family {
    let others: usize = families.iter().map(Family::series).sum();
    Family::gauge("tcpwatch_series", "Series on this page, this one included")
        .only(Some(number(others as u64 + 1)))
}

fn build() -> Family {
    let mut family = Family::gauge("tcpwatch_build_info", "Always 1; the version of tcpwatch");
    family.add(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    family
}

fn source(sample: &Sample) -> Family {
    let mut family = Family::gauge(
        "tcpwatch_source_info",
        "Always 1; where the figures come from: ebpf, or netlink where eBPF cannot be had and only states are known",
    );
    let source = sample.source.name();
    family.add(&[("source", source)], 1.0);
    family
}
