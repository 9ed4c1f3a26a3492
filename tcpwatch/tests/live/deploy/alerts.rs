//! From trouble to a message: a real Prometheus scrapes the real daemon by the example configuration, evaluates the
//! rules, and a real Alertmanager delivers what they say.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use rustix::process::Signal;

use super::stack::{BACKLOG, DAEMON, Folder, address, knock, leak, own_name, start};
use super::webhook::{Delivered, Webhook};
use super::{accepted, files, tool};
use crate::daemon::process::{self, output, wait_for};
use crate::support::netns::Netns;
use crate::support::sock;
use crate::support::work::meanwhile;

/// Waits for an alert about a listener of this process. On a busy host the owner may be known later than the rest.
fn wait_for_alert(
    webhook: &Webhook,
    name: &str,
    at: SocketAddr,
    is_it: impl Fn(&Delivered) -> bool,
) -> Delivered {
    wait_for(name, || {
        webhook.delivered().into_iter().find(|one| {
            let labels = &one.alert["labels"];
            labels["alertname"] == name
                && labels["listen_addr"] == at.to_string()
                && labels["process"] == own_name()
                && is_it(one)
        })
    })
}

fn expect_texts(told: &Delivered, kind: &str, title: &str, at: SocketAddr) {
    let (labels, texts) = (&told.alert["labels"], &told.alert["annotations"]);
    assert_eq!((&labels["kind"], &labels["job"]), (&kind.into(), &"tcpwatch".into()), "{told:?}");
    assert_eq!((&labels["instance"], &labels["process"]), (&DAEMON.into(), &own_name().into()), "{told:?}");
    // What is in no pod is not said to be in tcpwatch's own.
    assert!(labels["pod"].is_null() && labels["namespace"].is_null(), "{told:?}");
    assert_eq!(texts["summary"], format!("{title}: {} at {at}, on {DAEMON}", own_name()));
    let description = texts["description"].as_str().expect("text");
    assert!(description.contains("\n\nOpen findings: 1.\n\nWhat to do:\n"), "{description}");
    let command = format!("tcpwatch findings --kind {kind} --long --remote {DAEMON}");
    assert!(description.contains(&command), "{description}");
    assert!(description.contains(&format!("tcpwatch explain {kind} --remote {DAEMON}")), "{description}");
    let runbook = texts["runbook_url"].as_str().expect("text");
    let (_, page) = runbook.split_once("/blob/HEAD/").expect("a page of the project");
    assert!(files().join("../..").join(page).is_file(), "{runbook}");
}

#[test]
fn a_leak_and_an_overflow_are_delivered() {
    if !process::is_there() {
        return;
    }
    let (place, leaking, full) = (Netns::new("alerts"), Netns::new("leak"), Netns::new("full"));
    let folder = Folder::new("alerts");
    let webhook = Webhook::listen(&place, 9095);
    let (daemon, _others) = start(&place, &folder);

    let (forgetful, deaf) = (address(1), address(2));
    let _listener = full.run(|| sock::listen(deaf, BACKLOG)).expect("listen");
    let (_forgetful, leaked) = leak(&leaking, forgetful);
    let clients = |stop: &AtomicBool| knock(&full, deaf, stop);
    meanwhile(&[&clients], || {
        let overflow = "TcpwatchAcceptQueueOverflow";
        let told =
            wait_for_alert(&webhook, overflow, deaf, |one| one.alert["labels"]["severity"] == "critical");
        assert_eq!((told.path.as_str(), &told.alert["status"]), ("/now", &"firing".into()), "{told:?}");
        expect_texts(&told, "accept_queue_overflow", "Accept queue overflow", deaf);

        let told = wait_for_alert(&webhook, "TcpwatchCloseWaitBuildup", forgetful, |_| true);
        assert_eq!((told.path.as_str(), &told.alert["labels"]["severity"]), ("/later", &"warning".into()));
        expect_texts(&told, "close_wait_buildup", "CLOSE_WAIT builds up", forgetful);

        // What the alert says one can do.
        let shown =
            place.run(|| output(&["findings", "--kind", "close_wait_buildup", "--long", "--remote", DAEMON]));
        assert!(String::from_utf8_lossy(&shown.stdout).contains(&forgetful.to_string()), "{shown:?}");
        let page = fs::read_to_string(files().join("../../docs/alerting.md")).expect("the document");
        let silence = page.lines().find(|line| line.starts_with("amtool silence add ")).expect("a command");
        place.run(|| accepted(&mut tool("sh", &["-c", silence])));
        place.run(|| {
            for rate in ["instance:tcpwatch_listener_drops:rate5m", "instance:tcpwatch_transitions:rate5m"] {
                let query = format!("{rate} > 0");
                wait_for(rate, || {
                    let args = ["query", "instant", "http://127.0.0.1:9090", &query];
                    (!accepted(&mut tool("promtool", &args)).stdout.is_empty()).then_some(())
                });
            }
        });
    });

    drop(leaked);
    wait_for_alert(&webhook, "TcpwatchCloseWaitBuildup", forgetful, |one| one.alert["status"] == "resolved");
    let all = webhook.delivered();
    let is_about = |one: &&Delivered, name: &str| one.alert["labels"]["alertname"] == name;
    let wrong: Vec<_> = all.iter().filter(|one| is_about(one, "TcpwatchWithoutEbpf")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(Path::new(&folder.path("prometheus")).is_dir(), "it kept its data where it was told");
    place.run(|| daemon.stop(Signal::TERM));
}
