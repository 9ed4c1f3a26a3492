//! `tcpwatch top` on a terminal: what it shows of real sockets, and how it leaves the terminal.

use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::config::{File, forgotten};
use super::process::{self, Daemon, command, output, wait_for};
use super::record::Directory;
use crate::support::netns::Netns;
use crate::support::pty::Terminal;

const CONFIG: &str =
    "[close_wait_buildup]\nmin_count = 3\nage = \"1s\"\n\n[findings]\nclose_after = \"2s\"\n";

fn top(args: &[&str]) -> Command {
    let mut all = vec!["top"];
    all.extend(args);
    let mut command = command(&all);
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
    command
}

/// Waits until all of this is on the screen.
fn sees(terminal: &mut Terminal, texts: &[&str]) {
    let mut last = String::new();
    for _ in 0..600 {
        last = terminal.shown();
        if texts.iter().all(|text| last.contains(text)) {
            return;
        }
        if let Some(status) = terminal.has_ended() {
            panic!("{status} instead of {texts:?}:\n{last}\n{}", terminal.raw());
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("no {texts:?} in\n{last}");
}

/// Waits for its end, which leaves the terminal as it was.
fn ends(terminal: &mut Terminal, code: Option<i32>) {
    let status = wait_for("it ends", || terminal.has_ended());
    assert_eq!(status.code(), code, "{status}:\n{}", terminal.raw());
    wait_for("the terminal is as it was", || terminal.is_restored().then_some(()));
}

fn signal(terminal: &Terminal, signal: Signal) {
    let pid = i32::try_from(terminal.pid()).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("send a signal");
}

/// A listener and something wrong.
fn scene(ns: &Netns) -> (TcpListener, Vec<std::net::TcpStream>, String) {
    let listener = ns.run(|| TcpListener::bind("127.0.0.1:0").expect("listen"));
    let address = listener.local_addr().expect("bound").to_string();
    (listener, forgotten(ns, 4), address)
}

#[test]
fn it_shows_what_is_wrong_and_leads_into_it() {
    if !process::is_there() {
        return;
    }
    let ns = Netns::new("top");
    let config = File::new("top", CONFIG);
    let daemon = Daemon::start(&["--config", config.path(), "--max-tracked", "1000000"]);
    let (_listener, sockets, address) = scene(&ns);
    let (remote, netns) = (daemon.address.to_string(), ns.inode().to_string());
    let mut terminal = Terminal::start(&mut top(&["--remote", &remote, "--netns", &netns]), 80, 24);
    sees(&mut terminal, &["1 Findings: 0 critical, 1 warning", "WARN", "close_wait_buildup", &address, "4!"]);

    terminal.type_in("\r");
    sees(&mut terminal, &["WARNING close_wait_buildup", "What to do", "[Sockets]"]);
    terminal.type_in("\t");
    sees(&mut terminal, &["state=close_wait", ": 4 by age", "close_wait   "]);
    terminal.type_in("/ and port=1\r");
    sees(&mut terminal, &["and port=1: 0 by age"]);
    terminal.type_in("/ or\r");
    sees(&mut terminal, &["bad filter"]);
    terminal.type_in("\x1b");
    thread::sleep(Duration::from_millis(300));
    terminal.type_in("\t");
    sees(&mut terminal, &["CLOSE_WAIT", "How Linux does it"]);
    // As a slow line hands them over: together.
    terminal.type_in("\x1b3");
    sees(&mut terminal, &["1 Findings", "3 Listeners: 1, by pressure", "5 Remotes"]);

    terminal.resize(200, 50);
    sees(&mut terminal, &["since start  transition", &format!("from {remote}")]);
    terminal.type_in("z");
    wait_for("one pane alone", || (!terminal.shown().contains("5 Remotes")).then_some(()));
    sees(&mut terminal, &["accept queue", &address]);
    terminal.resize(30, 8);
    sees(&mut terminal, &["40x10 or more is needed"]);
    terminal.resize(80, 24);
    // Keys that come at once with a new size are only read with the next key (crossterm looks at one of the two).
    sees(&mut terminal, &["accept queue", &address]);
    terminal.type_in("z?");
    sees(&mut terminal, &["tcpwatch top: help"]);
    terminal.type_in("x ");
    sees(&mut terminal, &["PAUSED"]);
    terminal.type_in(" ");

    drop(sockets);
    sees(&mut terminal, &["nothing is found to be wrong"]);
    terminal.type_in("q");
    ends(&mut terminal, Some(0));
    daemon.stop(Signal::TERM);
}

#[test]
fn it_outlives_its_daemon_and_finds_the_next_one() {
    if !process::is_there() {
        return;
    }
    let ns = Netns::new("topagain");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let (remote, netns) = (free.to_string(), ns.inode().to_string());
    let run = || Daemon::run(&["--listen", &remote, "--no-socket", "--no-record"]);
    let mut terminal = Terminal::start(&mut top(&["--remote", &remote, "--netns", &netns]), 80, 24);
    sees(&mut terminal, &["waiting for the first figures", "cannot reach", &remote]);

    let daemon = run();
    let (_listener, _sockets, address) = scene(&ns);
    sees(&mut terminal, &[&address, "3 Listeners: 1"]);
    // It hangs: keys do not.
    daemon.running.signal(Signal::STOP);
    sees(&mut terminal, &["NO NEW DATA FOR ", &address]);
    terminal.type_in("?");
    let begun = std::time::Instant::now();
    sees(&mut terminal, &["tcpwatch top: help"]);
    assert!(begun.elapsed() < Duration::from_secs(2), "keys wait for the daemon");
    terminal.type_in("x");
    daemon.running.signal(Signal::CONT);
    wait_for("it goes on", || (!terminal.shown().contains("NO NEW DATA")).then_some(()));

    daemon.stop(Signal::TERM);
    sees(&mut terminal, &["NO NEW DATA FOR ", "cannot reach", "trying again", &address]);
    let daemon = run();
    wait_for("it is found again", || (!terminal.shown().contains("NO NEW DATA")).then_some(()));
    sees(&mut terminal, &[&address]);
    signal(&terminal, Signal::TERM);
    ends(&mut terminal, Some(0));
    daemon.stop(Signal::TERM);
}

#[test]
fn signals_and_keys_leave_the_terminal_as_it_was() {
    if !process::is_there() {
        return;
    }
    for number in [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT] {
        let mut terminal = Terminal::start(&mut top(&["--remote", "127.0.0.1:1"]), 80, 24);
        sees(&mut terminal, &["cannot reach"]);
        assert!(!terminal.is_restored(), "it took the terminal over");
        signal(&terminal, number);
        ends(&mut terminal, Some(0));
    }
    let mut terminal = Terminal::start(&mut top(&["--remote", "127.0.0.1:1"]), 80, 24);
    sees(&mut terminal, &["cannot reach"]);
    terminal.type_in("\x03");
    ends(&mut terminal, Some(0));
    assert!(terminal.raw().contains("\x1b[1;31") || terminal.raw().contains("\x1b[38;5;"), "it has colours");

    let mut plain = top(&["--remote", "127.0.0.1:1"]);
    let mut terminal = Terminal::start(plain.env("NO_COLOR", "1"), 80, 24);
    sees(&mut terminal, &["cannot reach"]);
    terminal.type_in("q");
    ends(&mut terminal, Some(0));
    for colour in ["\x1b[31", "\x1b[38;5;", ";31m", "\x1b[36"] {
        assert!(!terminal.raw().contains(colour), "{:?}", terminal.raw());
    }
}

#[test]
fn without_a_terminal_there_is_one_screen_or_a_clear_word() {
    if !process::is_there() {
        return;
    }
    let ended = output(&["top", "--remote", "127.0.0.1:1"]);
    assert_eq!(ended.status.code(), Some(64), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("top needs a terminal"), "{ended:?}");
    for term in ["dumb", ""] {
        let mut command = top(&["--remote", "127.0.0.1:1"]);
        let mut terminal = Terminal::start(command.env("TERM", term), 80, 24);
        let status = wait_for("it ends", || terminal.has_ended());
        assert_eq!(status.code(), Some(64), "{term:?}");
        wait_for("it says why", || terminal.raw().contains("--once").then_some(()));
    }
    for args in [
        &["top", "--interval", "0"][..],
        &["top", "--interval", "2m"],
        &["top", "--at", "03:00"],
        &["top", "--replay", "x", "--remote", "db1"],
        &["top", "--alone", "--remote", "db1"],
    ] {
        let ended = output(args);
        assert_eq!(ended.status.code(), Some(64), "{args:?}: {ended:?}");
    }
    let ended = output(&["top", "--once", "--remote", "127.0.0.1:1"]);
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    let ended = output(&["top", "--once", "--replay", "/nowhere"]);
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");

    let ns = Netns::new("toponce");
    let (_listener, _sockets, address) = scene(&ns);
    let daemon = Daemon::start(&[]);
    let (remote, netns) = (daemon.address.to_string(), ns.inode().to_string());
    let of_daemon = output(&["top", "--once", "--remote", &remote, "--netns", &netns]);
    let alone = output(&["top", "--once", "--alone", "--netns", &netns]);
    for ended in [of_daemon, alone] {
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        let text = String::from_utf8(ended.stdout).expect("UTF-8");
        assert!(text.starts_with("tcpwatch top  ") && text.contains(&address), "{text}");
        assert!(text.contains("3 Listeners: 1") && !text.contains('\x1b'), "{text}");
    }
    daemon.stop(Signal::TERM);
}

#[test]
fn alone_it_looks_itself() {
    if !process::is_there() {
        return;
    }
    let ns = Netns::new("topalone");
    let (_listener, _sockets, address) = scene(&ns);
    let netns = ns.inode().to_string();
    let mut terminal = Terminal::start(&mut top(&["--alone", "--netns", &netns]), 80, 24);
    sees(&mut terminal, &[&address, "no daemon runs", "close_wait"]);
    terminal.type_in("3\r\t");
    sees(&mut terminal, &["sport=", "listen  "]);
    terminal.type_in("\t");
    sees(&mut terminal, &["The two queues of a listener"]);
    terminal.type_in("q");
    ends(&mut terminal, Some(0));
}

#[test]
fn a_recording_has_a_time_line() {
    if !process::is_there() {
        return;
    }
    let (ns, scratch) = (Netns::new("topreplay"), Directory::new("top"));
    let flight = scratch.file("flight");
    let config = File::new("topreplay", CONFIG);
    let daemon = Daemon::start(&["--config", config.path(), "--record-dir", &flight]);
    thread::sleep(Duration::from_secs(3));
    let sockets = forgotten(&ns, 4);
    let path = format!("/api/v1/findings?netns={}", ns.inode());
    wait_for("the finding", || (!daemon.json(&path)["findings"][0].is_null()).then_some(()));
    thread::sleep(Duration::from_secs(3));
    daemon.stop(Signal::TERM);
    drop(sockets);

    for mut command in [top(&["--replay", &flight]), {
        let mut command = command(&["replay", &flight, "--as", "top"]);
        command.env("TERM", "xterm");
        command
    }] {
        let mut terminal = Terminal::start(&mut command, 100, 30);
        sees(&mut terminal, &["RECORDING", " before the end of ", "finding", "*"]);
        assert!(
            !terminal.shown().contains("WARN "),
            "at the beginning nothing is wrong:\n{}",
            terminal.shown()
        );
        // To the finding, one sample back, and to the end.
        terminal.type_in("n");
        sees(&mut terminal, &["WARN ", "close_wait_buildup"]);
        terminal.type_in(",");
        wait_for("one sample before", || (!terminal.shown().contains("WARN ")).then_some(()));
        terminal.type_in(".");
        sees(&mut terminal, &["WARN "]);
        terminal.type_in(">");
        sees(&mut terminal, &["Z, 0s before the end of "]);
        terminal.type_in("\r\t");
        sees(&mut terminal, &["a recording has no single sockets"]);
        terminal.type_in("\t");
        sees(&mut terminal, &["How Linux does it"]);
        terminal.type_in("\x1b");
        thread::sleep(Duration::from_millis(300));
        terminal.type_in("gnonsense\r");
        sees(&mut terminal, &["is no time"]);
        terminal.type_in("< ");
        sees(&mut terminal, &["PLAYING 1x"]);
        sees(&mut terminal, &["WARN "]);
        terminal.type_in("q");
        ends(&mut terminal, Some(0));
    }
    let once = output(&["top", "--once", "--replay", &flight, "--at", "-0s"]);
    let text = String::from_utf8(once.stdout).expect("UTF-8");
    assert!(text.contains("close_wait_buildup") && text.contains("0s before the end"), "{text}");
}
