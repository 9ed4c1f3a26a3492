//! `tcpwatch explain` and `/api/v1/explain`, with the values of the host that the tests run on.

use std::fs;
use std::process::Output;

use serde_json::Value;

use super::process::{self, Daemon, output};
use super::{Scene, counts};

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
