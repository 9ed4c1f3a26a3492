//! `tcpwatch findings` and `tcpwatch check` about real trouble, on a terminal and in a pipe.

use std::process::Output;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::config::{File, forgotten};
use super::process::{self, Daemon, Running, command, output, wait_for};
use crate::support::netns::Netns;
use crate::support::pty;

/// Whose the sockets are is found out within a second: before they are old enough.
const CONFIG: &str =
    "[close_wait_buildup]\nmin_count = 3\nage = \"3s\"\n\n[findings]\nclose_after = \"2s\"\n";

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The daemon, and the arguments that ask it about one namespace.
struct Asked {
    daemon: Daemon,
    address: String,
    netns: String,
    _config: File,
}

impl Asked {
    fn new(ns: &Netns, hint: &str) -> Self {
        let config = File::new(hint, CONFIG);
        let daemon =
            // Whatever else runs here: there is room for the sockets of these tests.
            Daemon::start(&["--config", config.path(), "--max-tracked", "1000000"]);
        Self { address: daemon.address.to_string(), daemon, netns: ns.inode().to_string(), _config: config }
    }

    fn args<'a>(&'a self, command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut args = vec![command, "--remote", &self.address, "--netns", &self.netns];
        args.extend(more);
        args
    }

    fn output(&self, command: &str, more: &[&str]) -> Output {
        output(&self.args(command, more))
    }

    fn open(&self) -> Vec<Value> {
        json(&self.output("findings", &["--json"]))["findings"].as_array().expect("findings").clone()
    }

    /// Waits for the one finding of an owner that is known: on a busy host the owner comes later than the finding.
    fn settle(&self) {
        let pid = std::process::id();
        wait_for("the finding", || {
            let open = self.open();
            (open.len() == 1 && open[0]["subject"]["owner"]["pid"] == pid).then_some(())
        });
    }
}

#[test]
fn findings_are_shown_chosen_and_followed() {
    if !process::is_there() {
        return;
    }
    let ns = Netns::new("findings");
    let asked = Asked::new(&ns, "findings");
    let none = asked.output("findings", &[]);
    assert_eq!((none.status.code(), text(&none).as_str()), (Some(0), "no findings\n"), "{none:?}");

    let watch = Running::start(&asked.args("findings", &["--watch"]));
    let watch_json = Running::start(&asked.args("findings", &["--watch", "--json"]));
    let sockets = forgotten(&ns, 4);
    let owner = format!("[{}]", std::process::id());
    asked.settle();

    let short = asked.output("findings", &[]);
    assert_eq!(short.status.code(), Some(1), "{short:?}");
    let shown = text(&short);
    assert!(shown.starts_with("WARNING close_wait_buildup (never_closed), for "), "{shown}");
    assert!(shown.contains(&owner) && shown.contains("4 sockets") && shown.contains("\n  > "), "{shown}");
    assert!(shown.ends_with("\n1 warning finding; --long says more\n") && !shown.contains('\x1b'), "{shown}");
    let long = text(&asked.output("findings", &["--long"]));
    for part in
        ["  Meaning\n", "  Evidence\n    aged ", "  What to do\n    - ", "  Verify with other tools\n    "]
    {
        assert!(long.contains(part), "no {part:?} in {long}");
    }
    assert!(long.contains("\n  More: tcpwatch explain close_wait_buildup\n"), "{long}");

    for (more, code, count) in [
        (&["--kind", "close_wait_buildup", "--kind", "syn_flood"][..], 1, 1),
        (&["--severity", "warning"], 1, 1),
        (&["--severity", "critical"], 0, 0),
        (&["--kind", "syn_flood"], 0, 0),
    ] {
        let mut args = vec!["--json"];
        args.extend(more);
        let ended = asked.output("findings", &args);
        assert_eq!(ended.status.code(), Some(code), "{more:?}: {ended:?}");
        assert_eq!(json(&ended)["findings"].as_array().map(Vec::len), Some(count), "{more:?}");
    }

    thread::sleep(Duration::from_secs(3));
    drop(sockets);
    wait_for("it is over", || asked.open().is_empty().then_some(()));
    let closed = asked.output("findings", &["--closed", "1h"]);
    assert_eq!(closed.status.code(), Some(0), "what is over is not wrong now: {closed:?}");
    assert!(
        text(&closed).contains(", lasted ") && text(&closed).ends_with("\nno open findings\n"),
        "{closed:?}"
    );
    assert_eq!(text(&asked.output("findings", &[])), "no findings\n");

    thread::sleep(Duration::from_secs(4));
    watch.signal(Signal::INT);
    watch_json.signal(Signal::INT);
    let seen = text(&watch.finish());
    assert!(seen.starts_with("no findings yet\n"), "{seen}");
    let lines: Vec<&str> = seen.lines().filter(|line| line.contains(&owner)).collect();
    assert_eq!(lines.len(), 2, "{seen}");
    assert!(lines[0].contains(" open WARNING close_wait_buildup ("), "{seen}");
    assert!(
        lines[1].contains(" over WARNING close_wait_buildup (") && lines[1].contains(", lasted "),
        "{seen}"
    );
    let seen = text(&watch_json.finish());
    let changes = seen.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let pid = std::process::id();
    let mine: Vec<Value> =
        changes.filter(|change| change["finding"]["subject"]["owner"]["pid"] == pid).collect();
    assert_eq!(mine.iter().map(|one| &one["change"]).collect::<Vec<_>>(), ["opened", "closed"], "{seen}");
    asked.daemon.stop(Signal::TERM);
}

#[test]
fn colours_are_for_terminals() {
    if !process::is_there() {
        return;
    }
    let ns = Netns::new("colours");
    let asked = Asked::new(&ns, "colours");
    let sockets = forgotten(&ns, 4);
    asked.settle();
    let args = asked.args("findings", &[]);
    let (status, shown) = pty::output(command(&args).env_remove("NO_COLOR"), 80, 24);
    assert_eq!(status.code(), Some(1), "{shown}");
    assert!(shown.starts_with("\x1b[1;33mWARNING\x1b[0m close_wait_buildup"), "{shown:?}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80 + 11), "{shown}");
    let (_, plain) = pty::output(command(&args).env("NO_COLOR", "1"), 80, 24);
    assert!(plain.starts_with("WARNING close_wait_buildup") && !plain.contains('\x1b'), "{plain:?}");
    drop(sockets);
    asked.daemon.stop(Signal::TERM);
}

#[test]
fn without_a_daemon_it_looks_itself_and_says_what_that_cannot_show() {
    if !process::is_there() {
        return;
    }
    let ns = Netns::new("alone");
    let inode = ns.inode().to_string();
    let args = ["findings", "--alone", "--for", "1s", "--netns", &inode];
    let ended = output(&args);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(text(&ended).contains("Without a daemon this looked for 1 s."), "{ended:?}");
    assert!(ended.stderr.is_empty(), "no progress in a pipe: {ended:?}");
    let (status, shown) = pty::output(&mut command(&args), 80, 24);
    assert_eq!(status.code(), Some(0), "{shown}");
    assert!(shown.contains("looking, 0 s left"), "{shown:?}");
    let nowhere = output(&["findings", "--alone", "--netns", "1"]);
    assert_eq!(nowhere.status.code(), Some(2), "{nowhere:?}");
    let blind = Daemon::start(&["--netlink-only"]);
    let blind_address = blind.address.to_string();
    let ended = output(&["findings", "--remote", &blind_address]);
    assert_eq!(ended.status.code(), Some(2), "none found is not none there: {ended:?}");
    let ended = output(&["check", "--remote", &blind_address]);
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    assert!(text(&ended).starts_with("TCPWATCH UNKNOWN: the daemon works without eBPF"), "{ended:?}");
    blind.stop(Signal::TERM);
    for args in [
        &["findings", "--kind", "flood"][..],
        &["findings", "--severity", "bad"],
        &["findings", "--closed", "1d"],
        &["findings", "--for", "0s"],
        &["findings", "--watch", "--closed", "1h"],
        &["findings", "--long", "--json"],
        &["findings", "--alone", "--remote", "db1"],
    ] {
        let ended = output(args);
        assert_eq!(ended.status.code(), Some(64), "{args:?}: {ended:?}");
    }
}

#[test]
fn a_check_ends_as_plugins_do() {
    if !process::is_there() {
        return;
    }
    let ns = Netns::new("check");
    let asked = Asked::new(&ns, "check");
    let fine = asked.output("check", &[]);
    assert_eq!(fine.status.code(), Some(0), "{fine:?}");
    let line = text(&fine);
    assert!(line.starts_with("TCPWATCH OK: no findings | established=0;; syn_sent=0;; "), "{line}");
    assert!(line.ends_with(" findings_critical=0;; findings_warning=0;; drops=0c;;\n"), "{line}");
    assert_eq!(line.lines().count(), 1);

    let sockets = forgotten(&ns, 4);
    asked.settle();
    for (more, code, begins) in [
        (&[][..], 1, "TCPWATCH WARNING: 1 warning finding: "),
        (&["--kind", "syn_flood"], 0, "TCPWATCH OK: no findings | "),
        (&["--severity", "critical"], 0, "TCPWATCH OK: no findings | "),
        (
            &["--critical", "close_wait=3"],
            2,
            "TCPWATCH CRITICAL: 1 warning finding, close_wait is 4 (critical range 3)",
        ),
        (
            &["--kind", "syn_flood", "-w", "close_wait=3", "-c", "close_wait=4"],
            1,
            "TCPWATCH WARNING: no findings, close_wait is 4 ",
        ),
        (&["--kind", "syn_flood", "-w", "close_wait=4"], 0, "TCPWATCH OK: no findings | "),
        (&["-c", "listen=1:"], 2, "TCPWATCH CRITICAL: 1 warning finding, listen is 0 (critical range 1:)"),
    ] {
        let ended = asked.output("check", more);
        assert_eq!(ended.status.code(), Some(code), "{more:?}: {ended:?}");
        assert!(text(&ended).starts_with(begins), "{more:?}: {ended:?}");
    }
    let all = text(&asked.output("check", &["-w", "close_wait=10", "-c", "close_wait=20"]));
    let lines: Vec<&str> = all.lines().collect();
    assert!(lines[0].contains(" close_wait=4;10;20 ") && lines[0].contains("findings_warning=1;;"), "{all}");
    assert!(lines[1].starts_with("WARNING close_wait_buildup (") && lines.len() == 2, "{all}");
    drop(sockets);

    for args in [
        &["check", "--nonsense"][..],
        &["check", "-w", "close_wait"],
        &["check", "-c", "nothing=1"],
        &["check", "--remote", "https://db1"],
        &["check", "--remote", "127.0.0.1:1"],
        &["check", "--remote", &asked.address, "--netns", "1"],
    ] {
        let ended = output(args);
        assert_eq!(ended.status.code(), Some(3), "{args:?}: {ended:?}");
        let told = text(&ended);
        assert!(told.starts_with("TCPWATCH UNKNOWN: ") && told.lines().count() == 1, "{args:?}: {told}");
    }
    asked.daemon.running.signal(Signal::STOP);
    let hung = asked.output("check", &["--timeout", "1"]);
    asked.daemon.running.signal(Signal::CONT);
    assert_eq!(hung.status.code(), Some(3), "{hung:?}");
    assert!(
        text(&hung).contains("no answer from 127.0.0.1:") && text(&hung).contains("within 1 s"),
        "{hung:?}"
    );
    asked.daemon.stop(Signal::TERM);
}
