//! Listeners: queues with their limits, and what is dropped.

use super::board::{Board, OWNER};
use super::panel::{Panel, Unit};
use crate::alerts::link;

const LENGTH: &str = "tcpwatch_listener_accept_queue_length";

pub fn board() -> Board {
    Board::new(
        "listeners",
        "Listeners",
        "Which listener drops connections, why, and how near the others are to it?",
    )
    .choose("namespace", "Namespace", LENGTH)
    .choose("pod", "Pod", LENGTH)
    .choose("process", "Process", LENGTH)
    .choose("netns", "Network namespace", LENGTH)
    .choose("listen_addr", "Listener", LENGTH)
    .row("Now", now())
    .row("Accept queue: waiting for the application", accept())
    .row("SYN queue: waiting for the last ACK of the handshake", syn())
    .row("Dropped", dropped())
}

/// Its rows by listener.
fn by(metric: &str) -> String {
    format!("sum by (instance, listen_addr, {OWNER}, netns) ({metric}{{ALL}})")
}

fn now() -> Vec<Panel> {
    let drops = format!(
        "sum by (instance, listen_addr, {OWNER}, netns) (increase(tcpwatch_listener_drops_total{{ALL}}[$__range]))"
    );
    vec![
        Panel::stat("Listeners", "Those that have series of their own.", &format!("count({LENGTH}{{ALL, listen_addr!=\"other\"}})"))
            .size(6, 4),
        Panel::stat(
            "Folded into other",
            "Listeners without series of their own, those with the least trouble. Their sum is the row `other`.",
            "sum(tcpwatch_subjects_folded{HOST, subject=\"listener\"})",
        )
        .worry("only if you miss one here: `tcpwatch netstat -l` on the host has them all.")
        .size(6, 4),
        Panel::stat(
            "Dropped",
            "Connection attempts that these listeners dropped in the time that is shown.",
            "sum(increase(tcpwatch_listener_drops_total{ALL}[$__range]))",
        )
        .worry("above 0.")
        .odd(1.0, 100.0)
        .size(6, 4),
        Panel::stat(
            "Half-open",
            "Clients that got a SYN-ACK and did not answer yet.",
            "sum(tcpwatch_listener_syn_queue_length{ALL})",
        )
        .worry("when hundreds stay: a SYN flood, or a path that loses what comes back.")
        .odd(256.0, 1024.0)
        .page(link("docs/runbooks/syn_flood.md"))
        .size(6, 4),
        Panel::table("Each listener", "Every listener with its queues now, and what it dropped in the time that is shown.")
            .column("waiting for accept()", Unit::Count, None, &by(LENGTH))
            .column("limit", Unit::Count, None, &by("tcpwatch_listener_accept_queue_limit"))
            .column(
                "full",
                Unit::Share,
                Some(0.8),
                &format!("{} / ({} + 1)", by(LENGTH), by("tcpwatch_listener_accept_queue_limit")),
            )
            .column("half-open", Unit::Count, None, &by("tcpwatch_listener_syn_queue_length"))
            .column("dropped", Unit::Count, Some(1.0), &drops)
            .worry("about red numbers: full from 80 % on, dropped from 1 on."),
    ]
}

/// How full queues are, the fullest ones.
fn fullest(length: &str, limit: &str) -> String {
    let by = |metric: &str| format!("sum by (instance, listen_addr, process, pod, netns) ({metric}{{ALL}})");
    format!("topk(10, {} / ({} + 1))", by(length), by(limit))
}

fn lengths(panel: Panel, length: &str, limit: &str) -> Panel {
    let by = |metric: &str| {
        format!("topk(10, sum by (instance, listen_addr, process, pod, netns) ({metric}{{ALL}}))")
    };
    panel
        .of(&by(length), "{{process}} {{listen_addr}} {{pod}}")
        .of(&by(limit), "limit: {{process}} {{listen_addr}} {{pod}}")
}

const NAMED: &str = "{{process}} {{listen_addr}} {{pod}} {{instance}}";

fn accept() -> Vec<Panel> {
    let limit = "tcpwatch_listener_accept_queue_limit";
    vec![
        Panel::lines("Accept queue: how full, the ten fullest", "Share of the accept queue that is in use.")
            .of(&fullest(LENGTH, limit), NAMED)
            .unit(Unit::Share)
            .odd(0.5, 0.8)
            .worry("above the upper line for more than some seconds: the application accepts too slowly. At 100 % \
                    SYNs and last ACKs are dropped.")
            .page(link("docs/runbooks/accept_queue_overflow.md")),
        lengths(
            Panel::lines(
                "Accept queue: length and limit",
                "Connections that wait, and the limit: the smaller one of the backlog and somaxconn. Choose one \
                 listener to see its own two lines.",
            ),
            LENGTH,
            limit,
        )
        .worry("when a limit is small (128 or less) and the length touches it: raise both backlog and somaxconn."),
    ]
}

fn syn() -> Vec<Panel> {
    let (length, limit) = ("tcpwatch_listener_syn_queue_length", "tcpwatch_listener_syn_queue_limit");
    vec![
        Panel::lines("SYN queue: how full, the ten fullest", "Share of the SYN queue that is in use.")
            .of(&fullest(length, limit), NAMED)
            .unit(Unit::Share)
            .odd(0.5, 0.8)
            .worry("near 100 %: with SYN cookies clients still get in, without them SYNs are dropped.")
            .page(link("docs/runbooks/syn_queue_overflow.md")),
        lengths(
            Panel::lines(
                "SYN queue: length and limit",
                "Half-open requests, and how many there is room for.",
            ),
            length,
            limit,
        )
        .worry("when it stays high while few connections are accepted."),
        Panel::lines(
            "SYN-ACKs sent again",
            "Because no ACK came: clients that never answer, or an accept queue that is full.",
        )
        .of(
            "topk(10, sum by (instance, listen_addr, process, pod, netns) \
             (rate(tcpwatch_listener_synack_retransmits_total{ALL}[$__rate_interval])))",
            NAMED,
        )
        .unit(Unit::SegmentsPerSecond)
        .worry("when they are as many as connections are accepted.")
        .size(24, 8),
    ]
}

fn dropped() -> Vec<Panel> {
    vec![
        Panel::stacked(
            "Dropped, by cause",
            "accept_queue_syn: a SYN, as the accept queue was full. accept_queue_ack: the last ACK; the client believes \
             that it is connected. syn_queue: a SYN, as the SYN queue was full and cookies are off. other: no memory, \
             no route back. unknown: the kernel's counters do not tell.",
        )
        .of("sum by (cause) (rate(tcpwatch_listener_drops_total{ALL}[$__rate_interval]))", "{{cause}}")
        .unit(Unit::PerSecond)
        .worry("above 0. accept_queue: a slow application. syn_queue: a flood, or too small a queue."),
        Panel::lines("Dropped, by listener, the ten worst", "Connection attempts dropped a second.")
            .of(
                "topk(10, sum by (instance, listen_addr, process, pod, netns) (rate(tcpwatch_listener_drops_total{ALL}[$__rate_interval])))",
                NAMED,
            )
            .unit(Unit::PerSecond)
            .worry("above 0."),
        Panel::lines(
            "Dropped, no listener's for certain",
            "Drops of the host that cannot be attributed: several listeners dropped at once, or the listener is gone.",
        )
        .of(
            "sum by (instance) (rate(tcpwatch_listener_drops_unattributed_total{HOST}[$__rate_interval]))",
            "{{instance}}",
        )
        .unit(Unit::PerSecond)
        .worry("when it is the larger part of all drops."),
        Panel::stacked(
            "Findings about listeners",
            "Open findings that name one of these listeners, in whatever network namespace.",
        )
            .of(
                "sum by (kind) (tcpwatch_finding_active{HOST, namespace=~\"$namespace\", pod=~\"$pod\", \
                 process=~\"$process\", listen_addr=~\"$listen_addr\", \
                 kind=~\"accept_queue_overflow|syn_queue_overflow|syn_flood\"})",
                "{{kind}}",
            )
            .worry("above 0: the runbook of the kind says what to do."),
    ]
}
