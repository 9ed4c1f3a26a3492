//! Every query of every dashboard, asked of a real Prometheus that scrapes the real daemon while things go wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::asked::{all, unanswered};
use super::stack::{BACKLOG, DAEMON, Folder, address, knock, leak, own_name, start};
use crate::daemon::process;
use crate::support::netns::Netns;
use crate::support::sock;
use crate::support::work::meanwhile;

/// Everything has been scraped, found and computed by then.
const PATIENCE: Duration = Duration::from_secs(45);

/// Where nothing need be shown here, and why.
const NOTHING: [(&str, &str); 7] = [
    ("listeners: variable namespace", "no Kubernetes"),
    ("listeners: variable pod", "no Kubernetes"),
    ("owners: variable namespace", "no Kubernetes"),
    ("owners: variable workload", "no Kubernetes"),
    ("owners: variable pod", "no Kubernetes"),
    ("findings: variable namespace", "no Kubernetes"),
    ("findings: variable pod", "no Kubernetes"),
];

/// What the kernel keeps only if it is told to.
const STATISTICS: [&str; 2] = ["itself: Processors used by programs A", "itself: Runs A"];
const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Connections that are opened, used and closed, some by a reset, and some that nobody listens for.
fn live(ns: &Netns, at: SocketAddr, nobody: SocketAddr, stop: &AtomicBool) {
    ns.run(|| {
        let listener = TcpListener::bind(at).expect("listen");
        while !stop.load(Ordering::Relaxed) {
            for reset in [false, true] {
                let client = TcpStream::connect(at).expect("connect");
                let (server, _) = listener.accept().expect("accept");
                if reset {
                    sock::linger_zero(&client).expect("an option");
                }
                drop(client);
                drop(server);
            }
            TcpStream::connect(nobody).expect_err("nobody listens");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
}

#[test]
fn every_query_of_every_dashboard_has_data() {
    if !process::is_there() {
        return;
    }
    let asked = all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana"));
    assert!(asked.len() > 80, "{}", asked.len());
    let mut nothing: BTreeSet<String> = NOTHING.iter().map(|(place, _)| (*place).to_owned()).collect();
    if fs::read_to_string(SWITCH).expect("a setting of the kernel").trim() == "0" {
        nothing.extend(STATISTICS.map(str::to_owned));
    }

    let (place, leaking, full) = (Netns::new("boards"), Netns::new("leak"), Netns::new("full"));
    let folder = Folder::new("dashboards");
    let (daemon, _others) = start(&place, &folder);
    let (forgetful, deaf, busy, nobody) = (address(3), address(4), address(5), address(6));
    let _listener = full.run(|| sock::listen(deaf, BACKLOG)).expect("listen");
    let _leaked = leak(&leaking, forgetful);
    let clients = |stop: &AtomicBool| knock(&full, deaf, stop);
    let others = |stop: &AtomicBool| live(&leaking, busy, nobody, stop);
    meanwhile(&[&clients, &others], || {
        place.run(|| {
            let everything = BTreeMap::new();
            let expected: Vec<_> =
                asked.iter().filter(|one| !nothing.contains(&one.place)).cloned().collect();
            assert_eq!(unanswered(&expected, &everything, PATIENCE), BTreeSet::new(), "has no data");
            // One that has data now must not be named as one that need not.
            assert_eq!(
                unanswered(&asked, &everything, Duration::ZERO),
                nothing,
                "has none, and is named for it"
            );

            let chosen = BTreeMap::from([
                ("instance", DAEMON.to_owned()),
                ("process", own_name()),
                ("netns", full.inode().to_string()),
                ("listen_addr", deaf.to_string()),
                ("kind", "accept_queue_overflow".to_owned()),
                ("severity", "critical".to_owned()),
            ]);
            assert_eq!(
                unanswered(&expected, &chosen, PATIENCE),
                BTreeSet::new(),
                "has no data of what is chosen"
            );
        });
    });
    place.run(|| daemon.stop(Signal::TERM));
}
