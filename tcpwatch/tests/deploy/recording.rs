//! `deploy/prometheus/recording.yml` and `node-names.yml`, and their tests for `promtool test rules`.

use std::fmt::Write as _;

use crate::documented::Metrics;
use crate::yaml::scalar;
use crate::{committed, promql};

const HEAD: &str = "Made by the test target `deploy`: change tcpwatch/tests/deploy, not this file.";

/// A recording rule, and a test of it.
pub struct Rule {
    pub name: &'static str,
    pub expr: String,
    pub means: &'static str,
    /// Series with their values at steps of 15 s, and what is recorded from them after ten minutes.
    series: Vec<(&'static str, &'static str)>,
    recorded: Vec<(&'static str, &'static str)>,
}

pub fn rules(metrics: &Metrics) -> Vec<Rule> {
    let rate = |metric: &str| format!("rate({metric}[5m])");
    let sum = |metric: &str, kept: &[&str]| {
        format!("sum without ({}) ({})", metrics.labels_but(metric, kept), rate(metric))
    };
    let drops = "tcpwatch_listener_drops_total";
    let length = "tcpwatch_listener_accept_queue_length";
    let retransmits = "tcpwatch_retransmits_total";
    vec![
        Rule {
            name: "instance:tcpwatch_transitions:rate5m",
            expr: sum("tcpwatch_transitions_total", &[]),
            means: "Transitions a second.",
            series: vec![
                ("tcpwatch_transitions_total{instance=\"a\",from=\"close\",to=\"syn_sent\",verdict=\"rfc\"}", "0+30x60"),
                ("tcpwatch_transitions_total{instance=\"a\",from=\"listen\",to=\"syn_recv\",verdict=\"linux\"}", "0+15x60"),
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
            name: "instance:tcpwatch_retransmits:rate5m",
            expr: format!(
                "sum without ({}) (rate({retransmits}{{kind=~\"data|syn|synack\"}}[5m]))",
                metrics.labels_but(retransmits, &[])
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
                "sum without ({}) (rate({retransmits}{{kind=\"syn\"}}[5m]))\n/\n\
                 (sum without ({}) (rate(tcpwatch_transitions_total{{from=\"close\",to=\"syn_sent\"}}[5m])) > 0)",
                metrics.labels_but(retransmits, &[]),
                metrics.labels_but("tcpwatch_transitions_total", &[]),
            ),
            means: "SYNs sent again for each connection that this host opens: above 0 they get no answer.",
            series: vec![
                ("tcpwatch_retransmits_total{instance=\"a\",kind=\"syn\"}", "0+15x60"),
                ("tcpwatch_retransmits_total{instance=\"a\",kind=\"data\"}", "0+90x60"),
                ("tcpwatch_transitions_total{instance=\"a\",from=\"close\",to=\"syn_sent\",verdict=\"rfc\"}", "0+60x60"),
                ("tcpwatch_retransmits_total{instance=\"idle\",kind=\"syn\"}", "0x60"),
                ("tcpwatch_transitions_total{instance=\"idle\",from=\"close\",to=\"syn_sent\",verdict=\"rfc\"}", "5x60"),
            ],
            recorded: vec![("{instance=\"a\"}", "0.25")],
        },
        Rule {
            name: "instance_direction:tcpwatch_resets:rate5m",
            expr: sum("tcpwatch_resets_total", &["direction"]),
            means: "RST segments a second, `sent` and `received`. node_exporter has `node_netstat_Tcp_OutRsts`.",
            series: vec![
                ("tcpwatch_resets_total{instance=\"a\",direction=\"sent\",reason=\"x\"}", "0+15x60"),
                ("tcpwatch_resets_total{instance=\"a\",direction=\"sent\",reason=\"y\"}", "0+15x60"),
            ],
            recorded: vec![("{instance=\"a\",direction=\"sent\"}", "2")],
        },
        Rule {
            name: "instance_cause:tcpwatch_listener_drops:rate5m",
            expr: sum(drops, &["cause"]),
            means: "Connection attempts that listeners dropped a second, by cause.",
            series: vec![
                ("tcpwatch_listener_drops_total{instance=\"a\",listen_addr=\"x\",cause=\"syn_queue\"}", "0+15x60"),
                ("tcpwatch_listener_drops_total{instance=\"a\",listen_addr=\"y\",cause=\"syn_queue\"}", "0+30x60"),
            ],
            recorded: vec![("{instance=\"a\",cause=\"syn_queue\"}", "3")],
        },
        Rule {
            name: "instance:tcpwatch_listener_drops:rate5m",
            expr: format!("{}\n+\nrate(tcpwatch_listener_drops_unattributed_total[5m])", sum(drops, &[])),
            means: "All of them, with those that are no listener's for certain: what node_exporter's \
                    `node_netstat_TcpExt_ListenDrops` counts in the host's own network namespace.",
            series: vec![
                ("tcpwatch_listener_drops_total{instance=\"a\",listen_addr=\"x\",cause=\"syn_queue\"}", "0+15x60"),
                ("tcpwatch_listener_drops_total{instance=\"a\",listen_addr=\"y\",cause=\"other\"}", "0+30x60"),
                ("tcpwatch_listener_drops_unattributed_total{instance=\"a\"}", "0+15x60"),
            ],
            recorded: vec![("{instance=\"a\"}", "4")],
        },
        Rule {
            name: "instance:tcpwatch_listener_accept_queue_length:max_ratio",
            expr: format!(
                "max without ({}) ({length} / (tcpwatch_listener_accept_queue_limit + 1))",
                metrics.labels_but(length, &[])
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
        Rule {
            name: "instance_severity:tcpwatch_finding_active:sum",
            expr: format!(
                "sum without ({}) (tcpwatch_finding_active)",
                metrics.labels_but("tcpwatch_finding_active", &["severity"])
            ),
            means: "Open findings by severity.",
            series: vec![
                ("tcpwatch_finding_active{instance=\"a\",kind=\"syn_flood\",severity=\"critical\",process=\"\"}", "0x60"),
                ("tcpwatch_finding_active{instance=\"a\",kind=\"syn_flood\",severity=\"critical\",process=\"web\"}", "2x60"),
            ],
            recorded: vec![("{instance=\"a\",severity=\"critical\"}", "2")],
        },
    ]
}

/// For hosts without node_exporter's tcpstat collector, whose dashboards they have.
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

fn file(about: &str, group: &str, rules: &[Rule]) -> String {
    let mut text = format!("# {about}\n# {HEAD}\ngroups:\n  - name: {group}\n    rules:\n");
    for rule in rules {
        let _ = write!(text, "      - record: {}\n        expr: {}\n", rule.name, scalar(&rule.expr, 10));
    }
    text
}

fn tests(file: &str, rules: &[Rule]) -> String {
    let mut text = format!("# For `promtool test rules`. {HEAD}\nrule_files:\n  - ../{file}\nevaluation_interval: 15s\ntests:\n");
    for rule in rules {
        let _ = write!(text, "  - name: {}\n    interval: 15s\n    input_series:\n", rule.name);
        for (series, values) in &rule.series {
            let (series, values) = (scalar(series, 0), scalar(values, 0));
            let _ = write!(text, "      - series: {series}\n        values: {values}\n");
        }
        let _ = write!(
            text,
            "    promql_expr_test:\n      - expr: {}\n        eval_time: 10m\n        exp_samples:\n",
            scalar(rule.name, 0)
        );
        for (labels, value) in &rule.recorded {
            let labels = scalar(&format!("{}{labels}", rule.name), 0);
            let _ = write!(text, "          - labels: {labels}\n            value: {value}\n");
        }
    }
    text
}

#[test]
fn the_files_are_what_the_code_says() {
    let metrics = Metrics::read();
    let (rules, names) = (rules(&metrics), node_names(&metrics));
    let folder = "deploy/prometheus";
    let about = "What dashboards ask for again and again, computed once: docs/alerting.md.";
    committed::expect(&format!("{folder}/recording.yml"), &file(about, "tcpwatch", &rules));
    committed::expect(&format!("{folder}/tests/recording.yml"), &tests("recording.yml", &rules));
    let about = "tcpwatch's figures under node_exporter's names, for its dashboards. Of all network namespaces.\n\
        # Only where node_exporter's own are not scraped: both together would be counted twice.";
    committed::expect(&format!("{folder}/node-names.yml"), &file(about, "tcpwatch-node-names", &names));
    committed::expect(&format!("{folder}/tests/node-names.yml"), &tests("node-names.yml", &names));
}

#[test]
fn rules_name_only_what_exists() {
    let metrics = Metrics::read();
    for rule in rules(&metrics).into_iter().chain(node_names(&metrics)) {
        assert_eq!(promql::faults(&rule.expr, &metrics, &[]), [""; 0], "{}", rule.name);
        for (series, _) in &rule.series {
            // A reason is the kernel's.
            let faults = promql::faults(series, &metrics, &[]);
            let unknown: Vec<_> = faults.iter().filter(|fault| !fault.contains("tells of no")).collect();
            assert!(unknown.is_empty() || series.contains("le="), "{}: {unknown:?}", rule.name);
        }
    }
}
