//! A daemon without room for all: every way to ask it says so.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use super::process::{self, Daemon, output, wait_for};
use crate::support::netns::Netns;
use crate::support::states::raise_fd_limit;

/// Connections; each has two sockets.
const HELD: usize = 2000;

#[test]
fn a_full_table_is_told_everywhere_and_check_is_not_ok() {
    if !process::is_there() {
        return;
    }
    raise_fd_limit();
    let ns = Netns::new("full");
    let daemon = Daemon::start(&["--max-tracked", "2000"]);
    let address = daemon.address.to_string();
    let listener = ns.run(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("listen");
    let to = listener.local_addr().expect("bound");
    let held: Vec<_> = (0..HELD)
        .map(|_| {
            let client = ns.run(|| TcpStream::connect(to)).expect("connect");
            (client, listener.accept().expect("accept"))
        })
        .collect();
    let status = wait_for("the daemon says so", || {
        let status = daemon.json("/api/v1/status");
        let is_short = !status["shortages"].as_array().expect("a list").is_empty();
        is_short.then_some(status)
    });
    let shortages = status["shortages"].as_array().expect("a list");
    let sockets = shortages.iter().find(|one| one["what"] == "sockets");
    let sockets = sockets.unwrap_or_else(|| panic!("{shortages:#?}"));
    assert!(sockets["count"].as_u64() > Some(1000) && sockets["since"].is_string(), "{sockets:#?}");
    let is_told = |problems: &serde_json::Value| {
        let all = problems.as_array().expect("a list");
        all.iter().filter_map(|one| one.as_str()).any(|one| one.contains("tcpwatch run --max-tracked"))
    };
    assert!(is_told(&status["problems"]), "{status:#?}");
    assert!(is_told(&daemon.json("/api/v1/overview")["problems"]));

    let netns = ns.inode().to_string();
    let check = output(&["check", "--remote", &address, "--netns", &netns]);
    let text = String::from_utf8_lossy(&check.stdout).into_owned();
    assert_eq!(check.status.code(), Some(3), "{text}");
    assert!(text.starts_with("TCPWATCH UNKNOWN: no findings, not everything could be watched: "), "{text}");
    assert!(text.contains("--max-tracked"), "{text}");
    let findings = output(&["findings", "--remote", &address, "--netns", &netns]);
    let told = [findings.stdout, findings.stderr].concat();
    assert!(String::from_utf8_lossy(&told).contains("--max-tracked"), "{}", String::from_utf8_lossy(&told));

    // Once they are closed there is room for all.
    drop(held);
    wait_for("the daemon says so", || {
        let status = daemon.json("/api/v1/status");
        let is_short =
            status["shortages"].as_array().expect("a list").iter().any(|one| one["what"] == "sockets");
        (!is_short && !is_told(&status["problems"])).then_some(())
    });
    daemon.running.log_line("there is room for all sockets again");
}
