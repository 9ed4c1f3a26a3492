//! tcpwatch itself: can its numbers be trusted, and what does it cost.

use super::board::Board;
use super::panel::{Panel, Unit};

pub fn board() -> Board {
    Board::new("itself", "tcpwatch itself", "Can these numbers be trusted, and what does watching cost?")
        .row("Is it there", there())
        .row("Can it be trusted", trust())
        .row("What it costs", cost())
        .closed("Time in the eBPF programs (only while kernel.bpf_stats_enabled is 1)", programs())
}

fn there() -> Vec<Panel> {
    vec![
        Panel::stat("Hosts", "Hosts whose tcpwatch answers.", "count(tcpwatch_build_info{HOST})"),
        Panel::stat(
            "Without eBPF",
            "Hosts where eBPF cannot be had: only sockets by state are known there.",
            "count(tcpwatch_source_info{HOST, source=\"netlink\"}) or 0 * count(tcpwatch_build_info{HOST})",
        )
        .bad(1.0)
        .worry("above 0: `tcpwatch doctor` on the host says what is missing."),
        Panel::stat(
            "Programs that do not run",
            "eBPF programs that a kernel refused. What is lost without each is in /api/v1/status.",
            "sum(1 - tcpwatch_program_loaded{HOST})",
        )
        .odd(1.0, 10.0)
        .worry("when it is not what this kernel always had."),
        Panel::stat(
            "Not counted",
            "Transitions that were missed in the time that is shown.",
            "sum(increase(tcpwatch_events_lost_total{HOST, reason=\"missed\"}[$__range]))",
        )
        .bad(1.0)
        .worry("above 0: counts by state may be off by as much until a restart."),
        Panel::stat(
            "Illegal transitions",
            "Transitions that no TCP may make, in the time that is shown.",
            "sum(increase(tcpwatch_illegal_transitions_total{HOST}[$__range]))",
        )
        .bad(1.0)
        .worry("above 0: a bug in the kernel or in tcpwatch."),
        Panel::stat(
            "Namespaces incomplete",
            "Network namespaces in which sockets older than tcpwatch may not be counted.",
            "sum(tcpwatch_namespaces_incomplete{HOST})",
        )
        .odd(1.0, 100.0),
        Panel::table("Versions", "Which tcpwatch runs where.")
            .column("hosts", Unit::Count, None, "count by (instance, version) (tcpwatch_build_info{HOST})")
            .size(12, 7),
        Panel::table("eBPF programs", "On how many hosts the kernel refused the program.")
            .column(
                "hosts without it",
                Unit::Count,
                Some(1.0),
                "sum by (program) (1 - tcpwatch_program_loaded{HOST})",
            )
            .worry("about one that is new: the figures that this program counts are absent there.")
            .size(12, 7),
    ]
}

fn trust() -> Vec<Panel> {
    vec![
        Panel::stacked(
            "What could not be taken in",
            "missed: not counted. untracked: its age is unknown. folded: not counted for its namespace. listener: not \
             watched. ring_full: a trace did not get it.",
        )
        .of("sum by (reason) (rate(tcpwatch_events_lost_total{HOST}[$__rate_interval]))", "{{reason}}")
        .unit(Unit::PerSecond)
        .worry("about missed at all. The others say what there is not enough room for."),
        Panel::lines(
            "Drift from the kernel's own counters",
            "How far tcpwatch's transitions and /proc/net/snmp have come apart since the start.",
        )
        .of("sum by (instance, counter) (tcpwatch_reconciliation_drift{HOST})", "{{counter}} {{instance}}")
        .worry("when it changes: something is not seen. `tcpwatch explain trust` says what is known to cause it."),
        Panel::lines(
            "Gaps and recovered",
            "Gaps: transitions that did not start where the last one ended. Recovered: missed by one program, counted \
             by another; nothing is lost.",
        )
        .of("sum by (instance) (rate(tcpwatch_gaps_total{HOST}[$__rate_interval]))", "gaps {{instance}}")
        .of(
            "sum by (instance) (rate(tcpwatch_transitions_recovered_total{HOST}[$__rate_interval]))",
            "recovered {{instance}}",
        )
        .unit(Unit::PerSecond)
        .worry("about gaps without losses that explain them."),
        Panel::lines(
            "Sockets in no group",
            "Sockets that the last walk had no room for: owners and findings lack them.",
        )
        .of("sum by (instance) (tcpwatch_sockets_ungrouped{HOST})", "{{instance}}")
        .worry("above 0."),
        Panel::lines("Network namespaces", "How many are watched.")
            .of("sum by (instance) (tcpwatch_namespaces{HOST})", "{{instance}}"),
        Panel::stacked("Events for traces", "What happened to events that a running `tcpwatch trace` may want.")
            .of(
                "sum by (fate) (rate(tcpwatch_ring_events_total{HOST, fate!=\"seen\"}[$__rate_interval]))",
                "{{fate}}",
            )
            .unit(Unit::PerSecond)
            .worry("about lost: filter the trace more narrowly."),
    ]
}

fn cost() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Processor",
            "Processors that the daemon uses; the eBPF programs' own time is not in it.",
        )
        .of(
            "sum by (instance) (rate(tcpwatch_self_cpu_seconds_total{HOST}[$__rate_interval]))",
            "{{instance}}",
        )
        .unit(Unit::Share)
        .worry("above 10 % of one."),
        Panel::lines("Memory", "Of the process, and of the eBPF maps in the kernel.")
            .of("sum by (instance) (tcpwatch_self_resident_memory_bytes{HOST})", "process {{instance}}")
            .of("sum by (instance) (tcpwatch_self_kernel_memory_bytes{HOST})", "maps {{instance}}")
            .unit(Unit::Bytes)
            .worry("when the process grows for days."),
        Panel::lines("Length of a tick", "How long the last sample and all that is made of it took.")
            .of("max by (instance) (tcpwatch_self_tick_seconds{HOST})", "{{instance}}")
            .unit(Unit::Seconds)
            .bad(0.5)
            .worry("above half a second: findings come late. A longer --tick costs less."),
        Panel::lines("Series", "Series in a scrape of each host, and how many there may be.")
            .of("sum by (instance) (tcpwatch_series{HOST})", "{{instance}}")
            .of("max by (instance) (tcpwatch_series_limit{HOST})", "limit {{instance}}")
            .worry("when all hosts together are more than your Prometheus is meant for: docs/scale.md."),
        Panel::lines("Folded", "What has no series of its own and is added up in `other`.")
            .of("sum by (instance, subject) (tcpwatch_subjects_folded{HOST})", "{{subject}} {{instance}}")
            .worry("when you miss one: [metrics] in the configuration says how many are shown."),
    ]
}

fn programs() -> Vec<Panel> {
    vec![
        Panel::lines("Processors used by programs", "Time in each program, for each second.")
            .of(
                "topk(10, sum by (program) (rate(tcpwatch_program_seconds_total{HOST}[$__rate_interval])))",
                "{{program}}",
            )
            .unit(Unit::Share),
        Panel::lines("Runs", "How often each program ran.")
            .of(
                "topk(10, sum by (program) (rate(tcpwatch_program_runs_total{HOST}[$__rate_interval])))",
                "{{program}}",
            )
            .unit(Unit::PerSecond),
    ]
}
