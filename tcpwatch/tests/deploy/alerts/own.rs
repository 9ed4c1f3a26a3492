//! Alerts about tcpwatch itself: that it runs, sees all, and costs little.

use super::cases::{Case, Fired, STEP, Series, of};
use super::{Alert, link};
use crate::text::Text;

/// The job that `scrape.yml` has.
pub const JOB: &str = "tcpwatch";
const DOCUMENT: &str = "docs/alerting.md";

const WARNING: &str = "warning";
/// Nothing is wrong with the host's figures.
const INFO: &str = "info";

/// What an alert of its own is told by.
struct Own {
    name: &'static str,
    expr: &'static str,
    hold: u32,
    severity: &'static str,
    /// What it means, in one sentence without its end.
    means: &'static str,
    todo: &'static str,
}

pub fn alerts() -> Vec<Alert> {
    vec![
        down(),
        absent(),
        without_ebpf(),
        misses(),
        lacks_room(),
        drifts(),
        incomplete(),
        trace_losses(),
        long_ticks(),
        config_refused(),
    ]
}

impl Own {
    fn alert(self, summary: Text, case: Case) -> Alert {
        Alert {
            name: self.name.to_owned(),
            expr: self.expr.to_owned(),
            hold: self.hold,
            keep: 0,
            severity: Some(self.severity),
            summary,
            description: Text::new(format!("{}.\n\nWhat to do: {}", self.means, self.todo)),
            runbook: link(&format!("{DOCUMENT}#tcpwatch-itself")),
            means: self.means.to_owned(),
            case,
        }
    }
}

/// A series of the job at an instance.
fn series(metric: &'static str, instance: &str, more: &[(&str, &str)], values: &str) -> Series {
    (metric, labels(instance, more), values.to_owned())
}

fn labels(instance: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
    of(&[&[("instance", instance), ("job", JOB)], more].concat())
}

/// It fires for the first series alone, once `second` is reached and not a step before.
fn fires_at(second: u32, value: &str, series: Vec<Series>) -> Case {
    let (_, labels, _) = series.first().expect("a series");
    let fired = Fired::new(labels, value);
    Case { checks: vec![(second - STEP, Vec::new()), (second, vec![fired])], series }
}

fn on(summary: &str) -> Text {
    Text::new(summary).label("instance")
}

fn down() -> Alert {
    Own {
        name: "TcpwatchDown",
        expr: "up{job=\"tcpwatch\"} == 0",
        hold: 120,
        severity: WARNING,
        means: "The scrape fails: tcpwatch does not run there, or it has stopped to sample. Nothing of this host is \
                watched",
        todo: "read its log; while it runs, /healthz says what is wrong.",
    }
    .alert(
        on("tcpwatch cannot be scraped at "),
        fires_at(
            STEP + 120,
            "0",
            vec![
                series("up", "db1:9717", &[], "1 0x40"),
                series("up", "db2:9717", &[], "1x20 0x3 1x20"),
                ("up", of(&[("instance", "db1:9100"), ("job", "node")]), "0x40".into()),
            ],
        ),
    )
}

fn absent() -> Alert {
    let other = || ("up", of(&[("instance", "db1:9100"), ("job", "node")]), String::from("1x60"));
    // It is there, and then no longer: a series is looked for over five minutes.
    let once = series("up", "db1:9717", &[], "1x3");
    let gone = STEP * 3 + 300;
    let fired = Fired::new(&of(&[("job", JOB)]), "1");
    Own {
        name: "TcpwatchAbsent",
        expr: "absent(up{job=\"tcpwatch\"})",
        hold: 300,
        severity: WARNING,
        means: "Prometheus has no target of the job tcpwatch",
        todo: "compare the scrape configuration with deploy/prometheus/scrape.yml; the alerts need the job's name.",
    }
    .alert(
        Text::new("nothing is scraped as tcpwatch"),
        Case {
            series: vec![once, other()],
            checks: vec![
                (0, Vec::new()),
                (gone + 300 - STEP, Vec::new()),
                (gone + 300 + STEP, vec![fired]),
            ],
        },
    )
}

fn without_ebpf() -> Alert {
    Own {
        name: "TcpwatchWithoutEbpf",
        expr: "tcpwatch_source_info{source=\"netlink\"} == 1",
        hold: 300,
        severity: WARNING,
        means: "eBPF cannot be had there, so that only sockets by state are known: no drops, no owners, no findings",
        todo: "`tcpwatch doctor` on the host says what is missing, and what would give it.",
    }
    .alert(
        on("tcpwatch works without eBPF at "),
        fires_at(
            300,
            "1",
            vec![
                series("tcpwatch_source_info", "db1:9717", &[("source", "netlink")], "1x40"),
                series("tcpwatch_source_info", "db2:9717", &[("source", "ebpf")], "1x40"),
            ],
        ),
    )
}

fn misses() -> Alert {
    let lost = |instance, reason, values| {
        series("tcpwatch_events_lost_total", instance, &[("reason", reason)], values)
    };
    Own {
        name: "TcpwatchMissesTransitions",
        expr: "increase(tcpwatch_events_lost_total{reason=\"missed\"}[15m]) > 0",
        hold: 60,
        severity: WARNING,
        means: "Transitions were not counted within the last 15 minutes, so that counts by state may be wrong from then on",
        todo: "`tcpwatch explain trust` on the host; a restart of the daemon counts anew.",
    }
    .alert(
        on("tcpwatch misses transitions at "),
        fires_at(
            180 + 60,
            "",
            vec![
                lost("db1:9717", "missed", "0x10 0 3 3x40"),
                lost("db2:9717", "missed", "5x60"),
                lost("db1:9717", "untracked", "0+7x60"),
            ],
        ),
    )
}

fn lacks_room() -> Alert {
    let lost = |instance, reason, values| {
        series("tcpwatch_events_lost_total", instance, &[("reason", reason)], values)
    };
    Own {
        name: "TcpwatchLacksRoom",
        expr: "increase(tcpwatch_events_lost_total{reason=~\"folded|untracked|listener\"}[15m]) > 0",
        hold: 300,
        severity: WARNING,
        means: "There are more sockets, network namespaces or listeners than tcpwatch has room for: totals stay exact, \
                ages, namespaces or listeners are missing",
        todo: "untracked: a restart, or a higher --max-tracked. folded: a higher --max-namespaces. listener: a higher \
               --max-listeners, and a restart.",
    }
    .alert(
        Text::new("tcpwatch lacks room (").label("reason").and(") at ").label("instance"),
        fires_at(
            STEP + 300,
            "",
            vec![
                lost("db1:9717", "untracked", "0+2x60"),
                lost("db1:9717", "folded", "0x60"),
                lost("db1:9717", "missed", "0+1x60"),
            ],
        ),
    )
}

fn drifts() -> Alert {
    let drift = |instance, counter, values| {
        series("tcpwatch_reconciliation_drift", instance, &[("counter", counter)], values)
    };
    Own {
        name: "TcpwatchDrifts",
        // What a network namespace that has ended takes with it is a fall, and nothing new.
        expr: "tcpwatch_reconciliation_drift > min_over_time(tcpwatch_reconciliation_drift[15m])",
        hold: 300,
        severity: WARNING,
        means: "The kernel's own counter and tcpwatch's transitions differ, and by more than within the last 15 minutes \
                before",
        todo: "`tcpwatch explain trust` on the host; /api/v1/status says what is known to make each counter differ.",
    }
    .alert(
        Text::new("").label("counter").and(" and tcpwatch differ by ").value("").and(" at ").label("instance"),
        fires_at(
            165 + 300,
            "7",
            vec![
                drift("db1:9717", "PassiveOpens", "0x10 7x60"),
                drift("db1:9717", "EstabResets", "3x70"),
                drift("db1:9717", "ActiveOpens", "0x10 2 0x60"),
                drift("db1:9717", "CurrEstab", "0x70"),
                drift("db1:9717", "AttemptFails", "5x10 3x60"),
            ],
        ),
    )
}

fn incomplete() -> Alert {
    Own {
        name: "TcpwatchFindingsIncomplete",
        expr: "tcpwatch_sockets_ungrouped > 0",
        hold: 300,
        severity: WARNING,
        means: "A network namespace has more than 4,096 groups of sockets (by owner, service and state): findings lack \
                those that found no room",
        todo: "look at those sockets with `tcpwatch netstat`; very many services or processes in one network namespace \
               make so many groups.",
    }
    .alert(
        Text::new("").value("").and(" sockets are in no finding at ").label("instance"),
        fires_at(
            300,
            "12",
            vec![
                series("tcpwatch_sockets_ungrouped", "db1:9717", &[], "12x40"),
                series("tcpwatch_sockets_ungrouped", "db2:9717", &[], "0x40"),
            ],
        ),
    )
}

fn trace_losses() -> Alert {
    let ring = |fate, values| series("tcpwatch_ring_events_total", "db1:9717", &[("fate", fate)], values);
    Own {
        name: "TcpwatchTraceLosesEvents",
        expr: "rate(tcpwatch_ring_events_total{fate=\"lost\"}[5m]) > 0",
        hold: 300,
        severity: INFO,
        means: "A running `tcpwatch trace` is given fewer events than there were, as the ring has no room; counts and \
                findings are not concerned",
        todo: "filter the trace more narrowly: filters work in the kernel, before the ring.",
    }
    .alert(
        on("tcpwatch loses events of a trace at "),
        fires_at(
            STEP + 300,
            "",
            vec![ring("lost", "0+3x60"), ring("seen", "0+90x60"), ring("filtered", "0+20x60")],
        ),
    )
}

fn long_ticks() -> Alert {
    Own {
        name: "TcpwatchTickTooLong",
        expr: "avg_over_time(tcpwatch_self_tick_seconds[5m]) > 0.5",
        hold: 300,
        severity: WARNING,
        means: "Each look at the host takes more than half a second, where by default one is due every second: findings \
                come late, and tcpwatch needs half a processor",
        todo: "a longer --tick; /api/v1/status tells of very many namespaces, listeners or sockets.",
    }
    .alert(
        Text::new("a tick of tcpwatch takes ").value(" | humanizeDuration").and(" at ").label("instance"),
        fires_at(
            // Five samples make the average of twenty.
            525 + 300,
            "2s",
            vec![
                series("tcpwatch_self_tick_seconds", "db1:9717", &[], "0.1x30 2x40"),
                series("tcpwatch_self_tick_seconds", "db2:9717", &[], "0.1x10 3 0.1x14 3 0.1x14 3 0.1x30"),
            ],
        ),
    )
}

fn config_refused() -> Alert {
    let metric = "tcpwatch_config_last_reload_successful";
    Own {
        name: "TcpwatchConfigRefused",
        expr: "tcpwatch_config_last_reload_successful == 0",
        hold: 120,
        severity: WARNING,
        means: "The configuration file has changed and is not right, so an older one is in effect; a restart would fail",
        todo: "/api/v1/status and the log say which line, `tcpwatch run --print-config --config FILE` checks a file.",
    }
    .alert(
        on("The configuration is refused by tcpwatch on "),
        fires_at(
            STEP + 120,
            "0",
            vec![series(metric, "db1:9717", &[], "1 0x40"), series(metric, "db2:9717", &[], "1x20 0x3 1x20")],
        ),
    )
}
