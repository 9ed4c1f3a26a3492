//! What is recorded, and from which series.

use super::Rule;
use crate::documented::Metrics;

const DROPS: &str = "tcpwatch_listener_drops_total";
const LENGTH: &str = "tcpwatch_listener_accept_queue_length";
const RETRANSMITS: &str = "tcpwatch_retransmits_total";

pub fn rules(metrics: &Metrics) -> Vec<Rule> {
    [connections(metrics), segments(metrics), listeners(metrics)].into_iter().flatten().collect()
}

fn rate(metric: &str) -> String {
    format!("rate({metric}[5m])")
}

/// Its rate by some of its labels. Those of the scrape stay, whatever they are.
fn sum(metrics: &Metrics, metric: &str, kept: &[&str]) -> String {
    format!("sum without ({}) ({})", metrics.labels_but(metric, kept), rate(metric))
}

/// How many there are, and how they begin.
fn connections(metrics: &Metrics) -> Vec<Rule> {
    vec![
        Rule {
            name: "instance:tcpwatch_transitions:rate5m",
            expr: sum(metrics, "tcpwatch_transitions_total", &[]),
            means: "Transitions a second.",
            series: vec![
                (
                    "tcpwatch_transitions_total{instance=\"a\",from=\"close\",to=\"syn_sent\",verdict=\"rfc\"}",
                    "0+30x60",
                ),
                (
                    "tcpwatch_transitions_total{instance=\"a\",from=\"listen\",to=\"syn_recv\",verdict=\"linux\"}",
                    "0+15x60",
                ),
            ],
            recorded: vec![("{instance=\"a\"}", "3")],
        },
        Rule {
            name: "instance_role:tcpwatch_handshake_seconds_count:rate5m",
            expr: rate("tcpwatch_handshake_seconds_count"),
            means: "Connections opened a second: `role` is `active` or `passive`.",
            series: vec![("tcpwatch_handshake_seconds_count{instance=\"a\",role=\"active\"}", "0+30x60")],
            recorded: vec![("{instance=\"a\",role=\"active\"}", "2")],
        },
        Rule {
            name: "instance_role:tcpwatch_handshake_seconds:p99_rate5m",
            expr: format!("histogram_quantile(0.99, {})", rate("tcpwatch_handshake_seconds_bucket")),
            means: "The time that 99 of 100 handshakes stay under.",
            series: vec![
                ("tcpwatch_handshake_seconds_bucket{instance=\"a\",role=\"active\",le=\"0.5\"}", "0+0x60"),
                ("tcpwatch_handshake_seconds_bucket{instance=\"a\",role=\"active\",le=\"1.5\"}", "0+30x60"),
                ("tcpwatch_handshake_seconds_bucket{instance=\"a\",role=\"active\",le=\"+Inf\"}", "0+30x60"),
            ],
            recorded: vec![("{instance=\"a\",role=\"active\"}", "1.49")],
        },
        Rule {
            name: "instance_severity:tcpwatch_finding_active:sum",
            expr: format!(
                "sum without ({}) (tcpwatch_finding_active)",
                metrics.labels_but("tcpwatch_finding_active", &["severity"])
            ),
            means: "Open findings by severity.",
            series: vec![
                (
                    "tcpwatch_finding_active{instance=\"a\",kind=\"syn_flood\",severity=\"critical\",process=\"\"}",
                    "0x60",
                ),
                (
                    "tcpwatch_finding_active{instance=\"a\",kind=\"syn_flood\",severity=\"critical\",process=\"web\"}",
                    "2x60",
                ),
            ],
            recorded: vec![("{instance=\"a\",severity=\"critical\"}", "2")],
        },
    ]
}

/// What is sent again or sent to end them.
fn segments(metrics: &Metrics) -> Vec<Rule> {
    vec![
        Rule {
            name: "instance:tcpwatch_retransmits:rate5m",
            expr: format!(
                "sum without ({}) (rate({RETRANSMITS}{{kind=~\"data|syn|synack\"}}[5m]))",
                metrics.labels_but(RETRANSMITS, &[])
            ),
            means: "Segments sent again a second, as node_exporter's `node_netstat_Tcp_RetransSegs` counts them, but in \
                    all network namespaces.",
            series: vec![
                ("tcpwatch_retransmits_total{instance=\"a\",kind=\"data\"}", "0+15x60"),
                ("tcpwatch_retransmits_total{instance=\"a\",kind=\"syn\"}", "0+30x60"),
                ("tcpwatch_retransmits_total{instance=\"a\",kind=\"failed\"}", "0+60x60"),
            ],
            recorded: vec![("{instance=\"a\"}", "3")],
        },
        Rule {
            name: "instance:tcpwatch_retransmits:syn_ratio_rate5m",
            expr: format!(
                "sum without ({}) (rate({RETRANSMITS}{{kind=\"syn\"}}[5m]))\n/\n\
                 (sum without ({}) (rate(tcpwatch_transitions_total{{from=\"close\",to=\"syn_sent\"}}[5m])) > 0)",
                metrics.labels_but(RETRANSMITS, &[]),
                metrics.labels_but("tcpwatch_transitions_total", &[]),
            ),
            means: "SYNs sent again for each connection that this host opens: above 0 they get no answer.",
            series: vec![
                ("tcpwatch_retransmits_total{instance=\"a\",kind=\"syn\"}", "0+15x60"),
                ("tcpwatch_retransmits_total{instance=\"a\",kind=\"data\"}", "0+90x60"),
                (
                    "tcpwatch_transitions_total{instance=\"a\",from=\"close\",to=\"syn_sent\",verdict=\"rfc\"}",
                    "0+60x60",
                ),
                ("tcpwatch_retransmits_total{instance=\"idle\",kind=\"syn\"}", "0x60"),
                (
                    "tcpwatch_transitions_total{instance=\"idle\",from=\"close\",to=\"syn_sent\",verdict=\"rfc\"}",
                    "5x60",
                ),
            ],
            recorded: vec![("{instance=\"a\"}", "0.25")],
        },
        Rule {
            name: "instance_direction:tcpwatch_resets:rate5m",
            expr: sum(metrics, "tcpwatch_resets_total", &["direction"]),
            means: "RST segments a second, `sent` and `received`. node_exporter has `node_netstat_Tcp_OutRsts`.",
            series: vec![
                ("tcpwatch_resets_total{instance=\"a\",direction=\"sent\",reason=\"x\"}", "0+15x60"),
                ("tcpwatch_resets_total{instance=\"a\",direction=\"sent\",reason=\"y\"}", "0+15x60"),
            ],
            recorded: vec![("{instance=\"a\",direction=\"sent\"}", "2")],
        },
    ]
}

/// What listeners have no room for.
fn listeners(metrics: &Metrics) -> Vec<Rule> {
    vec![
        Rule {
            name: "instance_cause:tcpwatch_listener_drops:rate5m",
            expr: sum(metrics, DROPS, &["cause"]),
            means: "Connection attempts that listeners dropped a second, by cause.",
            series: vec![
                (
                    "tcpwatch_listener_drops_total{instance=\"a\",listen_addr=\"x\",cause=\"syn_queue\"}",
                    "0+15x60",
                ),
                (
                    "tcpwatch_listener_drops_total{instance=\"a\",listen_addr=\"y\",cause=\"syn_queue\"}",
                    "0+30x60",
                ),
            ],
            recorded: vec![("{instance=\"a\",cause=\"syn_queue\"}", "3")],
        },
        Rule {
            name: "instance:tcpwatch_listener_drops:rate5m",
            // In a cluster what has no owner has the labels of tcpwatch's own pod.
            expr: format!(
                "{}\n+\nsum without (namespace, pod, container) (rate(tcpwatch_listener_drops_unattributed_total[5m]))",
                sum(metrics, DROPS, &[])
            ),
            means: "All of them, with those that are no listener's for certain: what node_exporter's \
                    `node_netstat_TcpExt_ListenDrops` counts in the host's own network namespace.",
            series: vec![
                (
                    "tcpwatch_listener_drops_total{instance=\"a\",listen_addr=\"x\",cause=\"syn_queue\"}",
                    "0+15x60",
                ),
                (
                    "tcpwatch_listener_drops_total{instance=\"a\",listen_addr=\"y\",cause=\"other\"}",
                    "0+30x60",
                ),
                (
                    "tcpwatch_listener_drops_total{instance=\"a\",listen_addr=\"other\",cause=\"other\"}",
                    "0+15x60",
                ),
                (
                    "tcpwatch_listener_drops_unattributed_total{instance=\"a\",namespace=\"m\",pod=\"t\",container=\"t\"}",
                    "0+15x60",
                ),
            ],
            recorded: vec![("{instance=\"a\"}", "5")],
        },
        Rule {
            name: "instance:tcpwatch_listener_accept_queue_length:max_ratio",
            expr: format!(
                "max without ({}) ({LENGTH} / (tcpwatch_listener_accept_queue_limit + 1))",
                metrics.labels_but(LENGTH, &[])
            ),
            means: "How full the fullest accept queue is: at 1 connections are dropped.",
            series: vec![
                ("tcpwatch_listener_accept_queue_length{instance=\"a\",listen_addr=\"x\"}", "3x60"),
                ("tcpwatch_listener_accept_queue_limit{instance=\"a\",listen_addr=\"x\"}", "11x60"),
                ("tcpwatch_listener_accept_queue_length{instance=\"a\",listen_addr=\"y\"}", "1x60"),
                ("tcpwatch_listener_accept_queue_limit{instance=\"a\",listen_addr=\"y\"}", "127x60"),
            ],
            recorded: vec![("{instance=\"a\"}", "0.25")],
        },
    ]
}

/// For hosts without `node_exporter`'s tcpstat collector, whose dashboards they have.
pub fn node_names(metrics: &Metrics) -> Vec<Rule> {
    vec![
        Rule {
            name: "node_tcp_connection_states",
            expr: "tcpwatch_sockets".into(),
            means: "Sockets by state; node_exporter's `--collector.tcpstat` has the same states.",
            series: vec![("tcpwatch_sockets{instance=\"a\",state=\"close_wait\"}", "7x60")],
            recorded: vec![("{instance=\"a\",state=\"close_wait\"}", "7")],
        },
        Rule {
            name: "node_netstat_Tcp_CurrEstab",
            expr: format!(
                "sum without ({}) (tcpwatch_sockets{{state=~\"established|close_wait\"}})",
                metrics.labels_but("tcpwatch_sockets", &[])
            ),
            means: "Connections that are established, or that only the peer has closed.",
            series: vec![
                ("tcpwatch_sockets{instance=\"a\",state=\"established\"}", "5x60"),
                ("tcpwatch_sockets{instance=\"a\",state=\"close_wait\"}", "7x60"),
                ("tcpwatch_sockets{instance=\"a\",state=\"listen\"}", "9x60"),
            ],
            recorded: vec![("{instance=\"a\"}", "12")],
        },
    ]
}
