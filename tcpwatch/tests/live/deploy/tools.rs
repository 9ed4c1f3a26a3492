//! The tools of Prometheus and Alertmanager take the files, and the rules do what their tests demand.

use std::fs::{self, File};

use rustix::process::Signal;

use super::{accepted, files, tool};
use crate::daemon::process::{self, Daemon};

#[test]
fn the_files_are_accepted_and_the_rules_pass_their_tests() {
    if !process::is_there() {
        return;
    }
    for (program, args) in [
        ("promtool", &["check", "rules", "alerts.yml", "recording.yml", "node-names.yml"][..]),
        ("promtool", &["check", "config", "scrape.yml"]),
        ("amtool", &["check-config", "alertmanager.yml"]),
        ("promtool", &["test", "rules", "tests/alerts.yml", "tests/recording.yml", "tests/node-names.yml"]),
    ] {
        accepted(tool(program, args).current_dir(files()));
    }
}

/// Names, help texts, units: whatever Prometheus' own rules for metrics ask for.
#[test]
fn the_metrics_of_the_daemon_are_well_formed() {
    if !process::is_there() {
        return;
    }
    let daemon = Daemon::start(&[]);
    let (status, page) = daemon.get("/metrics");
    assert_eq!(status, 200);
    let path = std::env::temp_dir().join(format!("tcpwatch-metrics-{}", std::process::id()));
    fs::write(&path, &page).expect("write the page");
    let input = File::open(&path).expect("open the page");
    // The open file is enough.
    fs::remove_file(&path).expect("remove the page");
    accepted(tool("promtool", &["check", "metrics"]).stdin(input));
    daemon.stop(Signal::TERM);
}
