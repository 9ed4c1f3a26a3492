//! The first dashboard to open: is something wrong on these hosts, and where.

use super::board::{Board, OWNER};
use super::panel::{Panel, Unit};
use crate::alerts::link;

pub fn board() -> Board {
    Board::new(
        "node",
        "Node overview",
        "Is something wrong with TCP on these hosts, since when, and which of the other dashboards tells more?",
    )
    .row("Is something wrong?", summary())
    .row("Connections", connections())
    .row("Segments", segments())
    .row("How long things take", times())
    .row("Who", who())
    .closed("Hosts beside each other (needs recording.yml)", vec![hosts()])
}

fn summary() -> Vec<Panel> {
    vec![
        Panel::stat(
            "Critical findings",
            "Open findings that cost connections now.",
            "sum(tcpwatch_finding_active{HOST, severity=\"critical\"})",
        )
        .worry("above 0. The table beside it says what and whose.")
        .bad(1.0),
        Panel::stat(
            "Warnings",
            "Open findings that will cost connections if they go on.",
            "sum(tcpwatch_finding_active{HOST, severity=\"warning\"})",
        )
        .worry("when it stays above 0 for hours, or grows.")
        .odd(1.0, 100.0),
        Panel::stat(
            "Fullest accept queue",
            "How full the fullest accept queue is. Connections wait there until the application calls accept().",
            "max(tcpwatch_listener_accept_queue_length{HOST, listen_addr!=\"other\"} \
             / (tcpwatch_listener_accept_queue_limit{HOST, listen_addr!=\"other\"} + 1))",
        )
        .unit(Unit::Share)
        .worry("from 80 % on the application is too slow; at 100 % connections are dropped.")
        .odd(0.5, 0.8)
        .page(link("docs/runbooks/accept_queue_overflow.md")),
        Panel::stat(
            "Dropped by listeners",
            "Connection attempts that were dropped for want of room in a queue, in the time that is shown.",
            "sum(increase(tcpwatch_listener_drops_total{HOST}[$__range])) \
             + sum(increase(tcpwatch_listener_drops_unattributed_total{HOST}[$__range]))",
        )
        .worry("above 0: each is a client that waits a second or more, or gives up.")
        .odd(1.0, 100.0),
        Panel::stat(
            "Not counted",
            "Transitions that tcpwatch missed in the time that is shown. 0 means that the numbers here are exact.",
            "sum(increase(tcpwatch_events_lost_total{HOST, reason=\"missed\"}[$__range]))",
        )
        .worry("above 0: counts by state may be wrong by as much. See the dashboard tcpwatch itself.")
        .bad(1.0),
        Panel::stat("Hosts", "Hosts whose tcpwatch answers.", "count(tcpwatch_build_info{HOST})")
            .worry("when one is missing: nothing is known of it. The alert TcpwatchDown names it."),
        Panel::table("Open findings", "What is wrong now, and whose it is. Click a kind for its runbook.")
            .column(
                "open",
                Unit::Count,
                None,
                &format!("sum by (severity, kind, instance, {OWNER}, listen_addr) (tcpwatch_finding_active{{HOST}}) > 0"),
            )
            .worry("about what is critical first. An empty table is good news.")
            .size(24, 7),
    ]
}

fn connections() -> Vec<Panel> {
    vec![
        Panel::lines("Sockets by state", "All sockets of all network namespaces, as `ss` would count them.")
            .of("sum by (state) (tcpwatch_sockets{HOST, state!=\"close\"})", "{{state}}")
            .worry("when a state other than established or time_wait grows and does not shrink."),
        Panel::lines(
            "Connections that are being closed",
            "Sockets that one side has closed and the other has not. close_wait: the application here has to call \
             close(). fin_wait2: the peer has to. fin_wait1, last_ack, closing: a last ACK is missing.",
        )
        .of(
            "sum by (instance, state) (tcpwatch_sockets{HOST, state=~\"close_wait|fin_wait1|fin_wait2|last_ack|closing\"})",
            "{{state}} {{instance}}",
        )
        .worry("when close_wait only grows: an application leaks connections, and will run out of files.")
        .page(link("docs/runbooks/close_wait_buildup.md")),
        Panel::lines("Connections opened", "Handshakes that succeeded. active: opened from here; passive: accepted here.")
            .of("sum by (role) (rate(tcpwatch_handshake_seconds_count{HOST}[$__rate_interval]))", "{{role}}")
            .unit(Unit::PerSecond)
            .worry("when it falls to nothing while clients are there, or doubles without a reason."),
        Panel::stacked("Connects that fail", "Connections that this host wanted to open and did not get, by reason.")
            .of("sum by (reason) (rate(tcpwatch_connect_failures_total{HOST}[$__rate_interval]))", "{{reason}}")
            .unit(Unit::PerSecond)
            .worry("about timeout and unreachable: somebody waits for each of them. refused: the service does not run.")
            .page(link("docs/runbooks/connect_failures.md")),
        Panel::stacked("How connections end", "Sockets that were closed, by cause. Listeners are left out.")
            .of(
                "sum by (cause) (rate(tcpwatch_connection_ends_total{HOST, state!=\"listen\"}[$__rate_interval]))",
                "{{cause}}",
            )
            .unit(Unit::PerSecond)
            .worry("when resets, timeouts or aborts are more than a small share of closed."),
        Panel::lines(
            "TIME_WAIT",
            "Connections that hold their port for a minute after their end: how many there are, and how many come in \
             a second.",
        )
        .of("sum by (instance) (tcpwatch_sockets{HOST, state=\"time_wait\"})", "there are, {{instance}}")
        .of(
            "sum by (instance) (rate(tcpwatch_time_wait_entered_total{HOST}[$__rate_interval]))",
            "come a second, {{instance}}",
        )
        .worry("beside connects that fail locally: ports toward one destination run out at some 28,000.")
        .page(link("docs/runbooks/time_wait_storm.md")),
    ]
}

fn segments() -> Vec<Panel> {
    vec![
        Panel::stacked(
            "Sent again",
            "Segments sent again. syn: a server does not answer. synack: a client does not, or the accept queue is \
             full. data: loss on the way, or a peer that is gone.",
        )
        .of("sum by (kind) (rate(tcpwatch_retransmits_total{HOST}[$__rate_interval]))", "{{kind}}")
        .unit(Unit::SegmentsPerSecond)
        .worry("when it is many times what it was yesterday. syn and synack are seconds of waiting each.")
        .page(link("docs/runbooks/retransmit_burst.md")),
        Panel::stacked(
            "Data sent again, by what made TCP do so",
            "timeout: nothing came back at all. fast: later segments arrived, a single one was lost. probe: the last \
             one of a burst.",
        )
        .of("sum by (cause) (rate(tcpwatch_data_retransmits_total{HOST}[$__rate_interval]))", "{{cause}}")
        .unit(Unit::SegmentsPerSecond)
        .worry("about timeouts: each stalls its connection for 0.2 s or more."),
        Panel::lines("SYNs sent again for each connect", "Above 0 connects get no answer at first.")
            .of(
                "sum by (instance) (rate(tcpwatch_retransmits_total{HOST, kind=\"syn\"}[$__rate_interval])) / \
                 (sum by (instance) (rate(tcpwatch_transitions_total{HOST, from=\"close\", to=\"syn_sent\"}[$__rate_interval])) > 0)",
                "{{instance}}",
            )
            .unit(Unit::Share)
            .worry("above 1 %: a destination is down, or drops SYNs."),
        Panel::stacked("Resets", "RST segments, sent and received.")
            .of("sum by (direction) (rate(tcpwatch_resets_total{HOST}[$__rate_interval]))", "{{direction}}")
            .unit(Unit::SegmentsPerSecond)
            .worry("when they come near to the number of connections opened.")
            .page(link("docs/runbooks/reset_storm.md")),
        Panel::stacked(
            "Resets sent, by the kernel's reason",
            "Why this host sent them. Before Linux 6.10 all are unknown. no_socket: nobody listens there.",
        )
        .of(
            "sum by (reason) (rate(tcpwatch_resets_total{HOST, direction=\"sent\"}[$__rate_interval]))",
            "{{reason}}",
        )
        .unit(Unit::SegmentsPerSecond),
        Panel::stacked(
            "Unusual transitions",
            "unusual: legal and rare, such as two ends that open at once. illegal: no TCP may do it.",
        )
        .of(
            "sum by (verdict) (rate(tcpwatch_transitions_total{HOST, verdict=~\"unusual|illegal\"}[$__rate_interval]))",
            "{{verdict}}",
        )
        .unit(Unit::PerSecond)
        .worry("about illegal at once: a bug in the kernel, or in tcpwatch.")
        .page(link("docs/runbooks/illegal_transition.md")),
    ]
}

/// Quantiles of a histogram by one label.
fn quantiles(panel: Panel, metric: &str, label: &str) -> Panel {
    let of = |panel: Panel, share: &str, name: &str| {
        panel.of(
            &format!(
                "histogram_quantile({share}, sum by (le, {label}) (rate({metric}_bucket{{HOST}}[$__rate_interval])))"
            ),
            &format!("{name} {{{{{label}}}}}"),
        )
    };
    of(of(panel.unit(Unit::Seconds), "0.5", "half below,"), "0.99", "99 % below,")
}

fn times() -> Vec<Panel> {
    vec![
        quantiles(
            Panel::lines(
                "Handshakes",
                "active: from SYN to SYN-ACK, as this host's clients wait. passive: from SYN-ACK to ACK. Buckets are four \
                 times apart, so a line may be off by as much.",
            ),
            "tcpwatch_handshake_seconds",
            "role",
        )
        .worry("when 99 % get near to 1 s: a SYN or SYN-ACK was lost and sent again."),
        Panel::heatmap("Handshakes of clients", "How many of the accepted connections had which time from SYN-ACK to ACK.")
            .of(
                "sum by (le) (increase(tcpwatch_handshake_seconds_bucket{HOST, role=\"passive\"}[$__rate_interval]))",
                "{{le}}",
            )
            .worry("about a second band at 1 s or more."),
        quantiles(
            Panel::lines("Lifetime of connections", "From birth to close, of those that ended. TIME_WAIT is not in it."),
            "tcpwatch_connection_lifetime_seconds",
            "role",
        )
        .worry("when it gets much shorter: connections are not used again as they were."),
        Panel::lines("Time in state", "The time that 99 of 100 sockets stayed under, of those that left the state.")
            .of(
                "histogram_quantile(0.99, sum by (le, state) (rate(tcpwatch_time_in_state_seconds_bucket{HOST, \
                 state=~\"syn_sent|syn_recv|fin_wait1|fin_wait2|close_wait|last_ack|closing\"}[$__rate_interval])))",
                "{{state}}",
            )
            .unit(Unit::Seconds)
            .worry("syn_sent: slow or silent servers. close_wait: the application is slow to close. fin_wait1 and \
                    last_ack: peers that do not acknowledge."),
    ]
}

fn who() -> Vec<Panel> {
    vec![
        Panel::bars("Most sockets", "The owners with the most sockets now. `kernel` has those that nobody owns any more.")
            .of(
                &format!("topk(10, sum by ({OWNER}) (tcpwatch_workload_sockets{{HOST}}))"),
                "{{process}} {{namespace}} {{pod}}",
            )
            .worry("when one that was not there yesterday leads. The dashboard Owners tells more."),
        Panel::bars("Fullest accept queues", "The listeners whose accept queues are the fullest now.")
            .of(
                &format!(
                    "topk(10, sum by (instance, {OWNER}, listen_addr, netns) (tcpwatch_listener_accept_queue_length{{HOST, listen_addr!=\"other\"}}) / \
                     sum by (instance, {OWNER}, listen_addr, netns) (tcpwatch_listener_accept_queue_limit{{HOST, listen_addr!=\"other\"}} + 1))"
                ),
                "{{process}} {{listen_addr}} {{pod}}",
            )
            .unit(Unit::Share)
            .odd(0.5, 0.8)
            .worry("from 80 % on. The dashboard Listeners tells more."),
    ]
}

fn hosts() -> Panel {
    let column = |name: &str| format!("max by (instance) ({name}{{HOST}})");
    let severity = |severity: &str| {
        format!(
            "max by (instance) (instance_severity:tcpwatch_finding_active:sum{{HOST, severity=\"{severity}\"}})"
        )
    };
    Panel::table(
        "Hosts beside each other",
        "All chosen hosts by what the recording rules keep of them. Empty without deploy/prometheus/recording.yml.",
    )
    .column("critical", Unit::Count, Some(1.0), &severity("critical"))
    .column("warnings", Unit::Count, None, &severity("warning"))
    .column("fullest accept queue", Unit::Share, Some(0.8), &column("instance:tcpwatch_listener_accept_queue_length:max_ratio"))
    .column("dropped", Unit::PerSecond, None, &column("instance:tcpwatch_listener_drops:rate5m"))
    .column("sent again", Unit::SegmentsPerSecond, None, &column("instance:tcpwatch_retransmits:rate5m"))
    .column("transitions", Unit::PerSecond, None, &column("instance:tcpwatch_transitions:rate5m"))
}
