//! How many series a scrape may have, as the configuration says, also while the daemon runs.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use rustix::process::Signal;

use super::config::File;
use super::process::{self, Daemon, wait_for};
use crate::support::netns::Netns;

const LISTENERS: usize = 6;

/// How many listeners of the namespace have series, how many are folded, all series, and their limit.
fn shown(daemon: &Daemon, ns: &Netns) -> [usize; 4] {
    let page = daemon.get("/metrics").1;
    let netns = format!("netns=\"{}\"", ns.inode());
    let lengths = page.lines().filter(|line| line.starts_with("tcpwatch_listener_accept_queue_length{"));
    let value = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(name)).expect("there");
        line.trim().parse().expect("a count")
    };
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(series, value("tcpwatch_series "));
    [
        lengths.filter(|line| line.contains(&netns)).count(),
        value("tcpwatch_subjects_folded{subject=\"listener\"}"),
        series,
        value("tcpwatch_series_limit "),
    ]
}

#[test]
fn a_budget_is_kept_and_can_be_changed() {
    if !process::is_there() {
        return;
    }
    let ns = Netns::new("budget");
    let file = File::new("budget", "[metrics]\nlisteners = 2\nseries = 1000\n");
    let daemon = Daemon::start(&["--config", file.path()]);
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listen = |_| ns.run(|| TcpListener::bind(any)).expect("listen");
    let listeners: Vec<TcpListener> = (0..LISTENERS).map(listen).collect();
    wait_for("they are there, and folded", || {
        let [own, folded, series, limit] = shown(&daemon, &ns);
        assert!(own <= 2 && series <= limit && limit == 1000, "{own} {series} {limit}");
        (folded >= LISTENERS - 2).then_some(())
    });
    file.write("[metrics]\nlisteners = 5000\nseries = 60000\n");
    daemon.running.signal(Signal::HUP);
    daemon.running.log_line("was read again");
    wait_for("each has series of its own", || {
        let [own, folded, _, limit] = shown(&daemon, &ns);
        (own == LISTENERS && folded == 0 && limit == 60_000).then_some(())
    });
    drop(listeners);
    daemon.stop(Signal::TERM);
}
