//! `tcpwatch explain` and `/api/v1/explain`, with the values of the host that the tests run on.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::process::{self, Daemon, output, wait_for};
use super::{Scene, counts};
use crate::support::peer::Peer;
use crate::support::states::proc_states;
use crate::support::tun::{KERNEL_V4, PEER_V4};

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// What the page says of `name`.
fn value<'a>(page: &'a Value, name: &str) -> &'a str {
    let values = page["values"].as_array().expect("values");
    let value =
        values.iter().find(|value| value["name"] == name).unwrap_or_else(|| panic!("{name}: {page:#}"));
    value["value"].as_str().unwrap_or_else(|| panic!("{name} is not known: {}", page["markdown"]))
}

fn sysctl(name: &str) -> String {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let words = fs::read_to_string(path).expect("a sysctl");
    words.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn topics_are_explained_without_a_daemon() {
    if !process::is_there() {
        return;
    }
    let page = output(&["explain", "CLOSE-WAIT", "--alone"]);
    assert_eq!(page.status.code(), Some(0), "{page:?}");
    let page = text(&page);
    assert!(page.starts_with("CLOSE_WAIT\n\n") && page.contains("\nWhat to do\n"), "{page}");
    assert!(!page.contains('\x1b') && !page.contains("**"), "it is no terminal: {page}");
    let too_long = |line: &&str| !line.starts_with("    ") && line.chars().count() > 80;
    assert_eq!(page.lines().find(too_long), None);
    assert!(page.contains("unknown here (only the daemon with its eBPF programs"), "{page}");

    let page = output(&["explain", "tcp_tw_reuse", "--alone", "--json"]);
    let page: Value = serde_json::from_str(&text(&page)).expect("JSON");
    assert_eq!(page["topic"], "net.ipv4.tcp_tw_reuse");
    assert_eq!(value(&page, "sysctl net.ipv4.tcp_tw_reuse"), sysctl("net.ipv4.tcp_tw_reuse"));
    assert!(value(&page, "counter TWRecycled").parse::<u64>().is_ok(), "{page:#}");

    for words in [&["syn_recv->established"][..], &["SYN_RECV", "to", "ESTABLISHED"]] {
        let mut args = vec!["explain", "--alone", "--markdown"];
        args.extend(words);
        assert!(text(&output(&args)).starts_with("# SYN_RECV to ESTABLISHED\n"), "{words:?}");
    }
    let all = text(&output(&["explain"]));
    assert!(all.contains("close_wait") && all.contains("ListenOverflows"), "{all}");
}

#[test]
fn a_near_miss_is_wrong_usage_with_a_suggestion() {
    if !process::is_there() {
        return;
    }
    for (asked, suggestion) in [("clsoe_wait", "close_wait"), ("ListenOverflow", "ListenOverflows")] {
        let ended = output(&["explain", asked]);
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(64), "{ended:?}");
        assert!(ended.stdout.is_empty() && told.contains(&format!("did you mean {suggestion}")), "{told}");
    }
}

#[test]
fn a_daemon_fills_the_pages_with_its_figures() {
    if !process::is_there() {
        return;
    }
    let scene = Scene::new("explain");
    let daemon = Daemon::start(&[]);
    let sockets = scene.hold();
    scene.agree(&daemon);
    let page = daemon.json(&scene.path("/api/v1/explain/CLOSE_WAIT"));
    let held = counts(&daemon.json(&scene.path("/api/v1/states"))["states"]);
    assert_eq!(held, sockets.counts());
    assert_eq!(value(&page, "count close_wait"), held[8].to_string());
    assert!(page["markdown"].as_str().expect("a page").starts_with("# CLOSE_WAIT\n"));
    let page = daemon.json(&scene.path("/api/v1/explain/listen_to_syn_recv"));
    assert!(value(&page, "transitions listen syn_recv").starts_with("24 times"), "{page:#}");

    let (status, body) = daemon.get("/api/v1/explain/syn_flod");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, body["suggestions"][0].as_str()), (404, Some("syn_flood")));

    let (inode, address) = (scene.ns.inode().to_string(), daemon.address.to_string());
    let asked = output(&["explain", "close_wait", "--remote", &address, "--netns", &inode, "--json"]);
    let asked: Value = serde_json::from_str(&text(&asked)).expect("JSON");
    assert_eq!(value(&asked, "count close_wait"), held[8].to_string());
    drop(sockets);
}

/// Give-up times are computed; here the kernel shows whether rightly.
#[test]
fn the_kernel_gives_up_when_the_pages_say() {
    if !process::is_there() {
        return;
    }
    let Scene { ns, tun } = Scene::new("giveup");
    for (name, value) in [("syn_retries", "1"), ("synack_retries", "1"), ("retries2", "3")] {
        ns.sysctl(&format!("net.ipv4.tcp_{name}"), value);
    }
    // Linux 6.5 and later.
    let linear = "net.ipv4.tcp_syn_linear_timeouts";
    if ns.run(|| Path::new("/proc/sys/net/ipv4/tcp_syn_linear_timeouts").exists()) {
        ns.sysctl(linear, "1");
    }
    let shown = |topic: &str, name: &str| -> f64 {
        let page = ns.run(|| output(&["explain", topic, "--alone", "--json"]));
        let page: Value = serde_json::from_str(&text(&page)).expect("JSON");
        let words = value(&page, name).split_whitespace();
        words.into_iter().find_map(|word| word.parse().ok()).expect("seconds")
    };
    let (syn, synack, data) = (
        shown("syn_sent", "syn_giveup_seconds"),
        shown("new_syn_recv", "synack_giveup_seconds"),
        shown("retransmission", "data_giveup_seconds"),
    );
    let silent = SocketAddr::from((PEER_V4, 9));
    let connecting = ns.spawn(move || {
        let begun = Instant::now();
        let error = TcpStream::connect(silent).expect_err("nobody answers");
        (error.kind(), begun.elapsed().as_secs_f64())
    });

    let listener = ns.run(|| TcpListener::bind((KERNEL_V4, 0))).expect("listen");
    let to = listener.local_addr().expect("an address");
    let mut peer = Peer::new(&tun, (PEER_V4, 1001).into(), to);
    peer.connect_to_kernel();
    let (mut stream, _) = listener.accept().expect("accept");
    let sending = std::thread::spawn(move || {
        let begun = Instant::now();
        stream.write_all(b"lost").expect("write");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        let error = stream.read(&mut [0]).expect_err("nobody answers");
        (error.kind(), begun.elapsed().as_secs_f64())
    });

    let mut half_open = Peer::new(&tun, (PEER_V4, 1002).into(), to);
    half_open.syn();
    let begun = Instant::now();
    let requests = || ns.run(proc_states)[3];
    wait_for("a half-open request", || (requests() == 1).then_some(()));
    wait_for("it is given up", || (requests() == 0).then_some(()));
    let took = begun.elapsed().as_secs_f64();
    assert!((took - synack).abs() < 1.5, "SYN-ACK: {took} s, the page says {synack} s");

    let (kind, took) = connecting.join().expect("no panic");
    assert_eq!(kind, ErrorKind::TimedOut);
    assert!((took - syn).abs() < 1.5, "SYN: {took} s, the page says {syn} s");
    let (kind, took) = sending.join().expect("no panic");
    assert_eq!(kind, ErrorKind::TimedOut);
    // Counted from the first retransmission, and the timer that passes it may be as long again.
    assert!(took > data && took < 2.0 * data + 1.0, "data: {took} s, the page says at least {data} s");
}
