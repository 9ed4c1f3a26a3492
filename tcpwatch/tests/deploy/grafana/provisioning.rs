//! `deploy/grafana/provisioning/`: how a Grafana finds the dashboards and the Prometheus by itself.

use crate::committed;

const HEAD: &str = "# Made by the test target `deploy`: change tcpwatch/tests/deploy, not this file.\n";

fn dashboards() -> String {
    format!(
        "# Goes to /etc/grafana/provisioning/dashboards/; the dashboards go to the path below.\n{HEAD}\
apiVersion: 1

providers:
  - name: tcpwatch
    folder: tcpwatch
    type: file
    # The files are the truth: what is changed in the browser is saved under another name.
    allowUiUpdates: false
    options:
      path: /var/lib/grafana/dashboards/tcpwatch
"
    )
}

fn datasource() -> String {
    format!(
        "# Goes to /etc/grafana/provisioning/datasources/. Only where Grafana has no Prometheus yet.\n{HEAD}\
apiVersion: 1

datasources:
  - name: Prometheus
    type: prometheus
    access: proxy
    url: http://127.0.0.1:9090
    jsonData:
      # The scrape interval: rates are made over at least four of them.
      timeInterval: 15s
      httpMethod: POST
"
    )
}

#[test]
fn the_files_are_what_the_code_says() {
    committed::expect("deploy/grafana/provisioning/dashboards.yaml", &dashboards());
    committed::expect("deploy/grafana/provisioning/datasource.yaml", &datasource());
}
