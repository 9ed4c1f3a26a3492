//! `tcpwatch doctor --prove`, as its user runs it, and its proof on whatever kernel this is.

use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::Signal;
use rustix::thread::CapabilitySet;
use serde_json::Value;
use tcpwatch::prove::{Options, prove};
use tcpwatch::view::proof::{EdgeProof, Proof, Verdict};

use crate::daemon::process::{self, Daemon, Held, Running, output, wait_for};
use crate::support::netns::Netns;

/// Also in a guest, where there is no binary and everything takes longer.
#[test]
fn this_kernel_is_proven() {
    let _withheld = witness();
    let proof = prove(&Options { held: 20, enough: Duration::from_mins(2) }).expect("root can");
    println!("{:.1} s", proof.seconds);
    assert!(proof.proven, "{:#?}", trouble(&proof));
    let by_verdict = |verdict| proof.transitions.iter().filter(move |edge| edge.verdict == verdict);
    // Not every kernel destroys sockets on demand.
    let not_provoked: Vec<_> = by_verdict(Verdict::NotProvoked).map(name).collect();
    let rest: Vec<_> = not_provoked.iter().filter(|name| *name != "close > close").collect();
    assert_eq!(rest, ["syn_recv > close_wait"], "{:#?}", proof.not_proven);
    assert_eq!(by_verdict(Verdict::Ok).filter(|edge| edge.minimum).count(), 23);
    assert!(proof.states.iter().all(|state| state.held >= 20), "{:#?}", proof.states);
    assert_eq!((proof.states.len(), proof.counters.len()), (10, 7));
}

/// If the test fails, it says what this host kept from every program meanwhile.
fn witness() -> Netns {
    Netns::new("prove")
}

fn name(edge: &EdgeProof) -> String {
    format!("{} > {}", edge.from, edge.to)
}

/// What speaks against it.
fn trouble(proof: &Proof) -> impl std::fmt::Debug {
    let edges: Vec<_> =
        proof.transitions.iter().filter(|edge| edge.verdict != Verdict::Ok).cloned().collect();
    let states: Vec<_> = proof.states.iter().filter(|state| state.verdict != Verdict::Ok).cloned().collect();
    let counters: Vec<_> = proof.counters.iter().filter(|one| one.verdict != Verdict::Ok).cloned().collect();
    (edges, states, counters, proof.not_proven.clone(), proof.illegal.clone())
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn verdict_of<'a>(proof: &'a Value, from: &str, to: &str) -> &'a Value {
    let edges = proof["transitions"].as_array().expect("transitions");
    let edge = edges.iter().find(|edge| edge["from"] == from && edge["to"] == to);
    edge.expect("every legal transition")
}

#[test]
fn it_says_what_is_proven_beside_a_daemon() {
    if !process::is_there() {
        return;
    }
    let _withheld = witness();
    let daemon = Daemon::start(&[]);
    let ended = output(&["doctor", "--prove"]);
    let text = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(0), "{text}");
    let last = text.lines().next_back().expect("a verdict");
    assert!(last.starts_with("PROVEN: 23 of 23 transitions of the minimum, "), "{text}");
    assert!(last.contains("10 of 10 states, 7 of 7 counters"), "{text}");
    assert!(
        text.lines().any(|line| line.contains("fin_wait1 -> closing") && line.ends_with(" ok")),
        "{text}"
    );

    let ended = output(&["doctor", "--prove", "--json"]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let proof = json(&ended);
    assert_eq!(proof["proven"], true);
    let edge = verdict_of(&proof, "fin_wait1", "closing");
    assert!(edge["verdict"] == "ok" && edge["minimum"] == true, "{edge}");
    assert!(edge["expected"].as_u64() > Some(0) && edge["expected"] == edge["counted"], "{edge}");
    for state in proof["states"].as_array().expect("states") {
        assert!(state["held"].as_u64() >= Some(300), "some hundred of each: {state}");
        assert!(state["held"] == state["netlink"] && state["held"] == state["tcpwatch"], "{state}");
    }
    daemon.stop(Signal::TERM);
}

/// As in most containers.
#[test]
fn without_a_tun_device_the_minimum_is_proven() {
    if !process::is_there() {
        return;
    }
    let line =
        format!("mount -t tmpfs -o nodev none /dev/net && exec {} doctor --prove --json", process::BINARY);
    let ended = Command::new("unshare").args(["--mount", "sh", "-c", &line]).output().expect("unshare");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let proof = json(&ended);
    let edge = verdict_of(&proof, "syn_recv", "fin_wait1");
    assert_eq!((edge["verdict"].as_str(), edge["minimum"].as_bool()), (Some("not_provoked"), Some(false)));
    let not_proven = proof["not_proven"].as_array().expect("what was not").iter();
    let why: Vec<_> = not_proven.filter_map(|not| not["why"].as_str()).collect();
    assert!(why.iter().any(|why| why.contains("/dev/net/tun")), "{why:?}");
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    if !process::is_there() {
        return;
    }
    let mut running = Running::start(&["doctor", "--prove"]);
    // The programs are there, and traffic follows at once.
    let held = wait_for("the programs are loaded", || {
        let held = Held::by(running.pid());
        (!held.links.is_empty() && held.programs.len() >= 8).then_some(held)
    });
    running.signal(Signal::INT);
    assert_eq!(running.wait().code(), None, "the signal ends it");
    wait_for("the kernel frees everything", || held.left().is_empty().then_some(()));
}

#[test]
fn without_the_right_it_says_which_is_missing() {
    if !process::is_there() {
        return;
    }
    for (set, name) in
        [(CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"), (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN")]
    {
        let ended = std::thread::spawn(move || {
            let caps = rustix::thread::capabilities(None).expect("read the capabilities");
            rustix::thread::remove_capability_from_bounding_set(set).expect("no more of it");
            rustix::thread::set_capabilities(
                None,
                rustix::thread::CapabilitySets {
                    effective: caps.effective - set,
                    permitted: caps.permitted - set,
                    inheritable: caps.inheritable - set,
                },
            )
            .expect("less is allowed");
            output(&["doctor", "--prove"])
        });
        let ended = ended.join().expect("it runs");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("Missing: {name}. Run it as root")), "{said}");
        assert!(ended.stdout.is_empty(), "{ended:?}");
    }
}
