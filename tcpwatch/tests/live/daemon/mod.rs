//! The binary from outside: its HTTP answers, exit codes and signals.

mod budget;
mod cli;
mod client;
mod config;
mod examples;
mod explain;
mod findings;
mod flags;
mod generate;
mod netstat;
mod notify;
mod pods;
pub(crate) mod process;
mod record;
mod recorder;
mod room;
mod signals;
mod sockets;
mod starting;
mod top;

use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::Value;
use tcpwatch::model::Counter;
use tcpwatch_common::TcpState;

use crate::support::netns::Netns;
use crate::support::states::{Held as Sockets, hold, proc_states};
use crate::support::tun::Tun;
use process::{Daemon, Held, output, wait_for};

/// A namespace with sockets held in every state.
struct Scene {
    ns: Netns,
    tun: Tun,
}

impl Scene {
    fn new(hint: &str) -> Self {
        let ns = Netns::new(hint);
        let tun = Tun::new(&ns, "tun0");
        Self { ns, tun }
    }

    fn hold(&self) -> Sockets {
        hold(&self.tun, 3)
    }

    fn path(&self, path: &str) -> String {
        format!("{path}?netns={}", self.ns.inode())
    }

    /// Asks for the states until the daemon has the numbers of /proc, and those of `ss`.
    fn agree(&self, daemon: &Daemon) -> Value {
        wait_for("the daemon's states are those of the kernel", || {
            let before = self.ns.run(proc_states);
            let answer = daemon.json(&self.path("/api/v1/states"));
            if self.ns.run(proc_states) != before || counts(&answer["states"]) != before {
                return None;
            }
            if let Some(shown) = self.ns.run(crate::held::figures::ss_states) {
                assert_eq!(shown, before, "ss and /proc differ");
            }
            Some(answer)
        })
    }

    /// The transitions of this namespace, as `from > to` with verdict and count, once there is no drift.
    fn transitions(&self, daemon: &Daemon) -> Vec<(String, String, u64)> {
        let answer = wait_for("every counter of the kernel's is met exactly", || {
            let answer = daemon.json(&self.path("/api/v1/transitions"));
            let drift = answer["drift"].as_object().expect("drift");
            assert_eq!(drift.len(), Counter::ALL.len(), "{drift:?}");
            drift.values().all(|drift| drift.as_i64() == Some(0)).then_some(answer)
        });
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let rows = answer["transitions"].as_array().expect("transitions").iter();
        rows.map(|row| {
            let edge = format!("{} > {}", text(&row["from"]), text(&row["to"]));
            assert!(!text(&row["reason"]).is_empty(), "{edge} is explained");
            (edge, text(&row["verdict"]), row["count"].as_u64().expect("a count"))
        })
        .collect()
    }
}

/// The numbers by state as /proc has them.
fn counts(states: &Value) -> [u64; 13] {
    let mut counts = [0; 13];
    let states = states.as_object().expect("states");
    assert_eq!(states.len(), TcpState::RFC.len(), "all states, {states:?}");
    for state in TcpState::RFC {
        counts[state as usize] = states[state.name()].as_u64().unwrap_or(u64::MAX);
    }
    counts
}

fn has(transitions: &[(String, String, u64)], edge: &str) -> (String, u64) {
    let found = transitions.iter().find(|(name, ..)| name == edge);
    let (_, verdict, count) = found.unwrap_or_else(|| panic!("no {edge} among {transitions:#?}"));
    (verdict.clone(), *count)
}

#[test]
fn two_daemons_answer_with_the_kernels_figures() {
    if !process::is_there() {
        return;
    }
    let scene = Scene::new("serve");
    let (one, two) = (Daemon::start(&[]), Daemon::start(&["--max-tracked", "4096"]));
    scene.agree(&one);
    let sockets = scene.hold();
    let answer = scene.agree(&one);
    assert_eq!(counts(&answer["states"]), sockets.counts());
    assert_eq!(
        (answer["detail"]["half_open"].as_u64(), answer["detail"]["complete"].as_bool()),
        (Some(3), Some(true))
    );
    assert_eq!(answer["detail"]["fin_wait2_orphaned"].as_u64(), Some(3));
    assert_eq!(answer["netns"][0]["name"].as_str(), Some(scene.ns.name()));

    let transitions = scene.transitions(&one);
    assert_eq!(has(&transitions, "close > listen"), ("rfc".into(), 3));
    assert_eq!(has(&transitions, "close > syn_sent"), ("rfc".into(), 3));
    // Eight situations begin with a connection that was accepted.
    assert_eq!(has(&transitions, "listen > syn_recv").1, 8 * 3);
    assert_eq!(has(&transitions, "syn_recv > established").1, 8 * 3);
    assert!(transitions.iter().all(|(_, verdict, _)| verdict != "illegal"), "{transitions:?}");

    assert_eq!(counts(&scene.agree(&two)["states"]), sockets.counts());
    assert_eq!(scene.transitions(&two), transitions, "a second instance sees the same");

    let (status, metrics) = one.get("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.lines().filter(|line| !line.starts_with('#')).count() > 50, "{metrics}");
    assert_eq!(one.get("/healthz").0, 200);
    assert_eq!(one.get("/nothing").0, 404);
    assert_eq!(one.get("/api/v1/states?netns=1").0, 404);
    assert_eq!(one.get("/api/v1/states?nets=1").0, 400);
    let status = one.json("/api/v1/status");
    assert_eq!((status["source"].as_str(), status["losses"]["gaps"].as_u64()), (Some("ebpf"), Some(0)));
    assert_eq!(status["losses"]["missed_transitions"].as_u64(), Some(0));

    drop(sockets);
    scene.agree(&one);
    scene.agree(&two);
    assert_eq!(scene.transitions(&one), scene.transitions(&two));
}

#[test]
fn a_taken_port_ends_the_daemon_before_anything_is_loaded() {
    if !process::is_there() {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = taken.local_addr().expect("address").to_string();
    let ended = output(&["run", "--listen", &address]);
    let log = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{log}");
    assert!(log.contains(&format!("listen on {address}")) && log.contains("--listen"), "{log}");
    assert!(!log.contains("panicked") && log.lines().count() == 1, "{log}");
}

#[test]
fn signals_end_the_daemon_and_nothing_stays_in_the_kernel() {
    if !process::is_there() {
        return;
    }
    for signal in [Signal::TERM, Signal::INT] {
        let daemon = Daemon::start(&[]);
        let held = Held::by(daemon.running.pid());
        assert!(held.programs.len() >= 8 && held.maps.len() >= 8 && held.links.len() >= 2, "{held:?}");
        assert_eq!(held.left(), held, "all of it is in the kernel while the daemon runs");
        daemon.stop(signal);
        // The kernel frees them a moment after the last descriptor is closed.
        wait_for("the kernel frees everything", || held.left().is_empty().then_some(()));
    }
}

#[test]
fn a_daemon_that_was_killed_is_replaced_by_one_with_the_same_figures() {
    if !process::is_there() {
        return;
    }
    let scene = Scene::new("killed");
    let mut first = Daemon::start(&[]);
    let sockets = scene.hold();
    assert_eq!(counts(&scene.agree(&first)["states"]), sockets.counts());
    let held = Held::by(first.running.pid());
    first.running.signal(Signal::KILL);
    assert_eq!(first.running.wait().code(), None);
    wait_for("the kernel frees everything", || held.left().is_empty().then_some(()));

    let second = Daemon::start(&[]);
    let answer = scene.agree(&second);
    assert_eq!(counts(&answer["states"]), sockets.counts(), "the sockets stayed open");
    assert_eq!(answer["detail"]["complete"].as_bool(), Some(true));
    assert!(scene.transitions(&second).is_empty(), "nothing has happened to them since");
    drop(sockets);
    scene.agree(&second);
    second.stop(Signal::TERM);
}
