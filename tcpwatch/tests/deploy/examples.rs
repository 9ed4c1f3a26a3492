//! `deploy/prometheus/scrape.yml` and `alertmanager.yml`: examples to begin with.

use crate::committed;
use crate::documented::Metrics;

fn scrape() -> String {
    "\
# A whole configuration for Prometheus on the host that tcpwatch runs on. Take over what you miss in yours.
# Made by the test target `deploy`: change tcpwatch/tests/deploy, not this file.
global:
  scrape_interval: 15s
  evaluation_interval: 15s

rule_files:
  - alerts.yml
  - recording.yml

alerting:
  alertmanagers:
    - static_configs:
        - targets: ['127.0.0.1:9093']

scrape_configs:
  # The alerts expect this name.
  - job_name: tcpwatch
    # Whose something is, tcpwatch says: where a target has labels namespace, pod and container, they are its own pod's.
    honor_labels: true
    static_configs:
      - targets: ['127.0.0.1:9717']
"
    .to_owned()
}

fn scrape_kubernetes() -> String {
    "\
# The job for a Prometheus that runs in the cluster and finds pods by itself. With the Prometheus operator, take the
# ServiceMonitor of the Helm chart instead.
# Made by the test target `deploy`: change tcpwatch/tests/deploy, not this file.
scrape_configs:
  # The alerts expect this name.
  - job_name: tcpwatch
    # The labels namespace, pod and container are those of the sockets' owner, not those of tcpwatch's own pod.
    honor_labels: true
    kubernetes_sd_configs:
      - role: pod
        selectors:
          - role: pod
            label: app.kubernetes.io/name=tcpwatch
    relabel_configs:
      - source_labels: [__meta_kubernetes_pod_container_port_name]
        regex: http
        action: keep
      - source_labels: [__meta_kubernetes_pod_node_name]
        target_label: node
"
    .to_owned()
}

fn alertmanager(metrics: &Metrics) -> String {
    let subject = metrics.labels_but("tcpwatch_finding_active", &["kind", "severity"]);
    format!(
        "\
# An example for Alertmanager: what is critical at once, the rest when somebody has time.
# Made by the test target `deploy`: change tcpwatch/tests/deploy, not this file.
route:
  # One message for a host and a kind of trouble, however many processes have it.
  group_by: [alertname, instance]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 4h
  receiver: later
  routes:
    - matchers: ['severity = \"critical\"']
      receiver: now

inhibit_rules:
  # A finding that has become critical is not told as a warning, too.
  - source_matchers: ['severity = \"critical\"']
    target_matchers: ['severity = \"warning\"']
    equal: [alertname, instance, {subject}]
  # Where nothing is watched, nothing is known of the rest.
  - source_matchers: ['alertname = \"TcpwatchDown\"']
    target_matchers: ['alertname =~ \"Tcpwatch.+\"', 'alertname != \"TcpwatchDown\"']
    equal: [instance]

receivers:
  # Put your pager and your chat here.
  - name: now
    webhook_configs:
      - url: 'http://127.0.0.1:9095/now'
  - name: later
    webhook_configs:
      - url: 'http://127.0.0.1:9095/later'
"
    )
}

#[test]
fn the_files_are_what_the_code_says() {
    committed::expect("deploy/prometheus/scrape.yml", &scrape());
    committed::expect("deploy/prometheus/scrape-kubernetes.yml", &scrape_kubernetes());
    committed::expect("deploy/prometheus/alertmanager.yml", &alertmanager(&Metrics::read()));
}
