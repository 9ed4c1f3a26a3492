//! Owners: which process, pod or workload has the sockets, and in which states.

use super::board::{Board, OWNER};
use super::panel::{Panel, Unit};
use crate::alerts::link;

const SOCKETS: &str = "tcpwatch_workload_sockets";

pub fn board() -> Board {
    Board::new(
        "owners",
        "Owners",
        "Which process, pod or workload has these sockets, in which states, and what is wrong with it?",
    )
    .choose("namespace", "Namespace", SOCKETS)
    .choose("workload", "Workload", SOCKETS)
    .choose("pod", "Pod", SOCKETS)
    .choose("process", "Process", SOCKETS)
    .row("Now", now())
    .row("Over time", over_time())
    .row("What they listen on, and what is wrong", trouble())
}

fn now() -> Vec<Panel> {
    let state = |states: &str| format!("sum by (instance, {OWNER}) ({SOCKETS}{{ALL, state=~\"{states}\"}})");
    vec![
        Panel::table(
            "Owners",
            "Sockets by owner and state, as they were at the last walk over all sockets: some ten seconds ago, or longer \
             where there are very many. `other` is the sum of those with few sockets, `kernel` has what nobody owns any more.",
        )
        .column("established", Unit::Count, None, &state("established"))
        .column("close_wait", Unit::Count, None, &state("close_wait"))
        .column("syn_sent", Unit::Count, None, &state("syn_sent"))
        .column("syn_recv", Unit::Count, None, &state("syn_recv"))
        .column("being closed", Unit::Count, None, &state("fin_wait1|fin_wait2|last_ack|closing"))
        .column("time_wait", Unit::Count, None, &state("time_wait"))
        .worry("about close_wait that grows: that owner does not close its connections.")
        .size(24, 10),
    ]
}

fn over_time() -> Vec<Panel> {
    let top = |panel: Panel, states: &str| {
        panel.of(
            &format!("topk(10, sum by (instance, {OWNER}) ({SOCKETS}{{ALL, state=~\"{states}\"}}))"),
            "{{process}} {{namespace}} {{pod}} {{instance}}",
        )
    };
    vec![
        top(
            Panel::lines("Established, the ten with the most", "Connections in use, by owner."),
            "established",
        )
        .worry("when it climbs toward the owner's limit of open files, or falls at once."),
        top(
            Panel::lines(
                "CLOSE_WAIT, the ten with the most",
                "Connections that the peer has closed and the owner has not.",
            ),
            "close_wait",
        )
        .worry("when a line only rises: a leak. The finding names how long until files run out.")
        .page(link("docs/runbooks/close_wait_buildup.md")),
        top(
            Panel::lines("Connecting, the ten with the most", "Connects that wait for an answer."),
            "syn_sent",
        )
        .worry("when it is not near 0: the destination is down or drops SYNs.")
        .page(link("docs/runbooks/connect_failures.md")),
        top(
            Panel::lines(
                "Being closed, the ten with the most",
                "Connections that wait for the peer's FIN or last ACK.",
            ),
            "fin_wait1|fin_wait2|last_ack|closing",
        )
        .worry("when it grows: peers have gone without a word.")
        .page(link("docs/runbooks/closing_stuck.md")),
        Panel::stacked("By workload", "All sockets by workload; outside of Kubernetes all are in one area.")
            .of(
                &format!("topk(10, sum by (namespace, workload) ({SOCKETS}{{ALL}}))"),
                "{{namespace}} {{workload}}",
            ),
        Panel::stacked("By state", "All sockets of these owners.")
            .of(&format!("sum by (state) ({SOCKETS}{{ALL}})"), "{{state}}"),
    ]
}

fn trouble() -> Vec<Panel> {
    let owned = "instance=~\"$instance\",namespace=~\"$namespace\",workload=~\"$workload\",pod=~\"$pod\",process=~\"$process\"";
    // Containers may all listen on the same address: the namespace tells them apart.
    let each = |metric: &str| {
        format!("sum by (instance, {OWNER}, listen_addr, netns) ({metric}{{{owned},listen_addr!=\"other\"}})")
    };
    vec![
        Panel::lines("Accept queues", "Share of the accept queue in use, of the listeners of these owners.")
            .of(
                &format!(
                    "topk(10, {} / ({} + 1))",
                    each("tcpwatch_listener_accept_queue_length"),
                    each("tcpwatch_listener_accept_queue_limit")
                ),
                "{{process}} {{listen_addr}} {{pod}}",
            )
            .unit(Unit::Share)
            .odd(0.5, 0.8)
            .worry("from 80 % on: it accepts too slowly."),
        Panel::stacked("Dropped", "Connection attempts that the listeners of these owners dropped.")
            .of(
                &format!("sum by (process, pod, cause) (rate(tcpwatch_listener_drops_total{{{owned}}}[$__rate_interval]))"),
                "{{cause}} {{process}} {{pod}}",
            )
            .unit(Unit::PerSecond)
            .worry("above 0."),
        Panel::table("Open findings", "What is wrong with these owners now.")
            .column(
                "open",
                Unit::Count,
                None,
                &format!(
                    "sum by (severity, kind, instance, {OWNER}, listen_addr) (tcpwatch_finding_active{{{owned}}}) > 0"
                ),
            )
            .worry("about what is critical first."),
    ]
}
