//! The commands beside `run`.

use std::net::{TcpListener, TcpStream};
use std::process::Command;

use serde_json::Value;
use tcpwatch::kernel::PROGRAMS;

use super::process::{self, Daemon, Running, output, wait_for};
use super::{Scene, counts};
use crate::support::netns::Netns;

fn json(output: &std::process::Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn wrong_usage_is_told_from_failure() {
    if !process::is_there() {
        return;
    }
    for args in [
        &["run", "--nonsense"][..],
        &["run", "--listen", "here"],
        &["run", "--tick", "0"],
        &["run", "--max-tracked", "1"],
        &["trace", "--state", "opened"],
        &["trace", "--peer", "10.0.0.0/33"],
        &["trace", "--type", "packet"],
        &["trace", "--ring", "3"],
        &["netstat", "-s", "--alone", "--remote", "127.0.0.1:1"],
        &["nothing"],
        &[],
    ] {
        let ended = output(args);
        assert_eq!(ended.status.code(), Some(64), "{args:?}: {ended:?}");
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{args:?}: {ended:?}");
    }
    for args in [&["--help"][..], &["--version"], &["run", "--help"]] {
        let ended = output(args);
        assert_eq!(ended.status.code(), Some(0), "{args:?}: {ended:?}");
        assert!(!ended.stdout.is_empty() && ended.stderr.is_empty(), "{args:?}: {ended:?}");
    }
    let ended = output(&["netstat", "-s", "--remote", "127.0.0.1:1"]);
    assert_eq!(ended.status.code(), Some(2), "no daemon listens there: {ended:?}");
}

#[test]
fn netstat_alone_and_by_the_daemon_are_the_same() {
    if !process::is_there() {
        return;
    }
    let scene = Scene::new("netstat");
    let daemon = Daemon::start(&[]);
    let sockets = scene.hold();
    let (inode, address) = (scene.ns.inode().to_string(), daemon.address.to_string());
    let answer = scene.agree(&daemon);
    let alone = output(&["netstat", "-s", "--json", "--alone", "--netns", &inode]);
    assert_eq!(alone.status.code(), Some(0), "{alone:?}");
    assert_eq!(counts(&json(&alone)["states"]), sockets.counts());
    assert_eq!(json(&alone)["states"], answer["states"]);
    let remote = output(&["netstat", "-s", "--json", "--remote", &address, "--netns", &inode]);
    assert_eq!(json(&remote)["states"], answer["states"]);
    assert_eq!(json(&remote)["detail"], answer["detail"]);
    let table = output(&["netstat", "-s", "--remote", &address, "--netns", &inode]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    let line = table.lines().find(|line| line.starts_with("fin_wait2")).expect("a line for each state");
    assert_eq!(line.split_whitespace().nth(1), Some("6"), "{table}");
    let nowhere = output(&["netstat", "-s", "--alone", "--netns", "1"]);
    assert_eq!(nowhere.status.code(), Some(2), "{nowhere:?}");
}

#[test]
fn doctor_lists_every_program() {
    if !process::is_there() {
        return;
    }
    let ended = output(&["doctor", "--json"]);
    let checkup = json(&ended);
    let programs = checkup["programs"].as_array().expect("programs");
    let names: Vec<&str> = programs.iter().filter_map(|program| program["name"].as_str()).collect();
    // Some kernels get more.
    assert!(names.starts_with(&PROGRAMS.map(|program| program.name)), "{names:?}");
    assert_eq!(checkup["error"], Value::Null);
    let is_lost = programs.iter().any(|program| !program["error"].is_null());
    let any = |list: &str| checkup[list].as_array().is_some_and(|lost| !lost.is_empty());
    let is_lost = is_lost || any("lost_fields") || any("lost_privileges");
    assert_eq!(ended.status.code(), Some(i32::from(is_lost)), "{checkup:#}");
}

/// As where the nodes of a cluster are containers themselves.
#[test]
fn doctor_says_when_process_numbers_are_not_the_kernels() {
    if !process::is_there() {
        return;
    }
    let doctor = |format: &[&str]| {
        let apart = ["--pid", "--fork", "--mount-proc", process::BINARY, "doctor"];
        Command::new("unshare").args(apart).args(format).output().expect("unshare")
    };
    let ended = doctor(&["--json"]);
    assert_eq!(ended.status.code(), Some(1), "something is lost: {ended:?}");
    assert_eq!(json(&ended)["host_pids"], false);
    let said = doctor(&[]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("LOST owners: process numbers here"), "{said:?}");
    assert_eq!(json(&output(&["doctor", "--json"]))["host_pids"], true);
}

#[test]
fn trace_prints_a_line_of_json_for_each_event_and_stops_after_enough() {
    if !process::is_there() {
        return;
    }
    let ns = Netns::new("trace");
    let inode = ns.inode().to_string();
    let mut trace =
        Running::start(&["trace", "--json", "--count", "20", "--netns", &inode, "--type", "transition"]);
    // It does not say when it is ready, so there is traffic until it has seen enough.
    ns.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let to = listener.local_addr().expect("address");
        wait_for("trace sees 20 events and ends", || {
            let client = TcpStream::connect(to).expect("connect");
            drop(listener.accept().expect("accept"));
            drop(client);
            trace.has_ended().then_some(())
        });
    });
    let ended = trace.finish();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let text = String::from_utf8(ended.stdout).expect("UTF-8");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let events: Vec<&Value> = lines.iter().filter(|line| line["type"] != "lost").collect();
    assert_eq!(events.len(), 20, "{text}");
    for event in &events {
        assert!(event["type"] == "transition" || event["type"] == "gap", "{event}");
        assert_eq!(event["netns"].as_u64(), Some(ns.inode()), "{event}");
        assert!(
            event["at"].is_string() && event["verdict"].is_string() && event["local"].is_string(),
            "{event}"
        );
    }
    let born = events.iter().find(|event| event["to"] == "syn_sent").expect("a connection was opened");
    assert_eq!(born["owner"]["pid"].as_u64(), Some(std::process::id().into()), "{born}");
}
