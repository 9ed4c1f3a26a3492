//! `tcpwatch netstat`: every flag and exit code, alone and beside a daemon, held against the kernel.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Output, Stdio};

use serde_json::Value;
use tcpwatch_common::TcpState;

use super::Scene;
use super::process::{self, Daemon, command, output, wait_for};
use crate::support::netns::Netns;

fn text(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// Sockets by state, as the first column of a table has them.
fn states(table: &str) -> [u64; 13] {
    let mut counts = [0; 13];
    for line in table.lines() {
        let word = line.split_whitespace().next().expect("a word");
        let state = TcpState::parse(word).unwrap_or_else(|| panic!("no state in {line:?}"));
        counts[state as usize] += 1;
    }
    counts
}

/// Arguments for all sockets of a namespace, alone.
fn alone<'a>(inode: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["netstat", "--alone", "-N", inode];
    args.extend(more);
    args
}

#[test]
fn wrong_usage_is_64_and_points_at_the_place() {
    if !process::is_there() {
        return;
    }
    for args in [
        &["netstat", "--columns", "bytes"][..],
        &["netstat", "--sort", "weight"],
        &["netstat", "--by", "process"],
        &["netstat", "-s", "--by", "colour"],
        &["netstat", "-4", "-6"],
        &["netstat", "-l", "-a"],
        &["netstat", "--json", "--json-lines"],
        &["netstat", "--watch=0"],
        &["netstat", "--watch", "--json"],
        &["netstat", "--limit", "x"],
        &["netstat", "--nonsense"],
    ] {
        let ended = output(args);
        assert_eq!(ended.status.code(), Some(64), "{args:?}: {ended:?}");
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{args:?}: {ended:?}");
    }
    for args in [&["netstat", "state=close_wit"][..], &["netstat", "--filter", "state=close_wit"]] {
        let ended = output(args);
        let log = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(64), "{log}");
        assert!(log.contains("\n  state=close_wit\n        ^^^^^^^^^\n"), "{log}");
        assert!(log.contains("did you mean close_wait?") && ended.stdout.is_empty(), "{log}");
    }
    for more in [&["-a"][..], &["-s"], &["-l"], &["-s", "--by", "peer"]] {
        let ended = output(&alone("nowhere", more));
        let log = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{more:?}: {log}");
        assert!(log.contains("no network namespace nowhere"), "{log}");
    }
    let columns = text(&output(&["netstat", "--columns", "help"]));
    assert!(columns.lines().any(|line| line == "keepalive"), "{columns}");
}

#[test]
fn alone_every_state_is_told_as_the_kernel_has_it() {
    if !process::is_there() {
        return;
    }
    let scene = Scene::new("list");
    let sockets = scene.hold();
    let inode = scene.ns.inode().to_string();
    let table = |more: &[&str]| text(&output(&alone(&inode, more)));
    assert_eq!(states(&table(&["-anH"])), sockets.counts());
    assert_eq!(states(&table(&["-antH4"])), sockets.counts());
    assert_eq!(states(&table(&["-anH", "-N", scene.ns.name()][..1])), sockets.counts());
    assert_eq!(table(&["-anH6"]), "");
    // Without -a or a filter for states, listeners are left out.
    let mut expected = sockets.counts();
    expected[TcpState::Listen as usize] = 0;
    assert_eq!(states(&table(&["-nH"])), expected);
    let leaks = table(&["-nH", "close-wait", "or", "state", "last_ack"]);
    let mut expected = [0; 13];
    for state in [TcpState::CloseWait, TcpState::LastAck] {
        expected[state as usize] = sockets.counts()[state as usize];
    }
    assert_eq!(states(&leaks), expected);
    assert_eq!(states(&table(&["-nH", "close-wait", "last-ack"])), expected);
    assert_eq!(output(&alone(&inode, &["port", "1"])).status.code(), Some(1), "nothing matches");

    let all = sockets.counts().iter().sum::<u64>();
    let told = output(&alone(&inode, &["-a", "--json"]));
    let told: Value = serde_json::from_str(&text(&told)).expect("JSON");
    assert_eq!((told["total"].as_u64(), told["truncated"].as_bool()), (Some(all), Some(false)));
    assert_eq!(told["sockets"].as_array().expect("a list").len() as u64, all);
    let lines = table(&["-a", "--json-lines"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len() as u64, all);
    for line in &lines {
        assert_eq!(line["netns"].as_u64(), Some(scene.ns.inode()), "{line}");
        assert!(line["age"].is_null(), "nobody remembers: {line}");
        let is_whole = matches!(line["state"].as_str(), Some("established" | "close_wait"));
        assert!(!is_whole || line["retransmits"].is_u64(), "{line}");
    }

    let sorted = table(&["-aH", "--sort", "local", "--limit", "4", "--columns", "local,state"]);
    let locals: Vec<std::net::SocketAddr> = sorted
        .lines()
        .map(|line| line.split(' ').next().expect("a word").parse().expect("an address"))
        .collect();
    assert!(locals.len() == 4 && locals.is_sorted(), "{sorted}");
    let by_state = table(&["-s", "--by", "netns"]);
    let line = by_state.lines().nth(1).expect("a line").split_whitespace().collect::<Vec<_>>();
    assert_eq!((line[0], line[1].parse().ok()), (scene.ns.name(), Some(all)), "{by_state}");
    for by in ["process", "container", "peer", "listener", "user"] {
        let told = output(&alone(&inode, &["-s", "--json", "--by", by]));
        let told: Value = serde_json::from_str(&text(&told)).expect("JSON");
        let groups = told["groups"].as_array().expect("a list").iter();
        let sum: u64 = groups.map(|group| group["total"].as_u64().expect("a number")).sum();
        assert_eq!((sum, told["total"].as_u64()), (all, Some(all)), "{by}: {told}");
    }
}

#[test]
fn beside_a_daemon_ages_and_owners_are_known() {
    if !process::is_there() {
        return;
    }
    let ns = Netns::new("aged");
    let daemon = Daemon::start(&[]);
    let (inode, address) = (ns.inode().to_string(), daemon.address.to_string());
    let (listener, held) = ns.run(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
        let to = listener.local_addr().expect("address");
        let client = std::net::TcpStream::connect(to).expect("connect");
        let server = listener.accept().expect("accept").0;
        (listener, (client, server))
    });
    let port = listener.local_addr().expect("address").port().to_string();
    let ask = |more: &[&str]| {
        let mut args = vec!["netstat", "--remote", &address, "-N", &inode];
        args.extend(more);
        let ended = output(&args);
        (ended.status.code(), String::from_utf8(ended.stdout).expect("UTF-8"))
    };
    let own = format!("[{}]", std::process::id());
    wait_for("both ends are told with their age and owner", || {
        let (_, table) = ask(&["-np", "-H", "established", "older-than", "100ms"]);
        (table.lines().count() == 2 && table.lines().all(|line| line.contains(&own))).then_some(())
    });
    let (_, table) = ask(&["-an"]);
    let header: Vec<&str> = table.lines().next().expect("a header").split_whitespace().collect();
    assert_eq!(header, ["state", "recv-q", "send-q", "local", "remote"]);
    assert_eq!(table.lines().count(), 4, "{table}");
    let ages = ask(&["-anH", "--columns", "age"]).1;
    assert!(ages.lines().all(|age| age.ends_with('s')) && ages.lines().count() == 3, "{ages}");
    let pid = std::process::id().to_string();
    assert_eq!(ask(&["-a", "pid", &pid, "port", &port]).0, Some(0));
    assert_eq!(ask(&["-a", "pid", "1", "port", &port]).0, Some(1));
    let (_, extended) = ask(&["-aenp"]);
    let header = extended.lines().next().expect("a header");
    for column in
        ["age", "owner", "role", "rtt", "retrans", "lifetime", "keepalive", "container", "user", "inode"]
    {
        assert!(header.split_whitespace().any(|name| name == column), "{header}");
    }
    let server = ask(&["-H", "--columns", "role,keepalive,netns", "sport", &port]).1;
    let words: Vec<&str> = server.split_whitespace().collect();
    assert_eq!(words, ["passive", "off", ns.name()], "{server}");

    let (_, lines) = ask(&["-ap", "--json-lines"]);
    let mut lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let api = daemon.json(&format!("/api/v1/sockets?limit=10&netns={inode}"));
    let mut api = api["sockets"].as_array().expect("a list").clone();
    for list in [&mut lines, &mut api] {
        for socket in list.iter_mut() {
            assert!(socket["age"].as_f64().is_some_and(|age| age > 0.1), "{socket}");
            for moving in ["age", "lifetime", "rtt"] {
                socket[moving] = Value::Null;
            }
            socket["owner"] = socket["owner"]["pid"].take();
        }
        list.sort_by_key(ToString::to_string);
    }
    assert_eq!(lines, api);

    let (code, listening) = ask(&["-ln", "port", &port]);
    assert_eq!(code, Some(0));
    let line = listening.lines().nth(1).expect("a listener");
    assert!(line.contains(&format!("127.0.0.1:{port}")) && line.contains(&own), "{listening}");
    assert!(line.contains("[--------] 0/"), "{listening}");
    assert_eq!(ask(&["-l", "port", "1"]).0, Some(1));
    let mine = output(&alone(&inode, &["-lnp"]));
    let mine = text(&mine);
    assert!(mine.contains(&format!("127.0.0.1:{port}")) && mine.contains(&own), "{mine}");
    drop(held);
}

#[test]
fn it_goes_on_until_nobody_reads() {
    if !process::is_there() {
        return;
    }
    let ns = Netns::new("again");
    let listener = ns.run(|| std::net::TcpListener::bind("127.0.0.1:0").expect("listen"));
    let inode = ns.inode().to_string();
    let mut child = command(&alone(&inode, &["-aH", "--watch=0.1"])).spawn().expect("start tcpwatch");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut listeners = 0;
    while listeners < 3 {
        let line = lines.next().expect("it goes on").expect("UTF-8");
        listeners += usize::from(line.starts_with("listen"));
    }
    drop(lines);
    let ended = wait_for("it ends", || child.try_wait().expect("wait"));
    assert_eq!(ended.code(), Some(0), "a closed pipe is no error");
    drop(listener);
}

/// What it prints on a terminal of this width.
fn on_terminal(width: u16, args: &[&str], set: &[(&str, &str)]) -> String {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Winsize, tcsetwinsize};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("open a terminal");
    grantpt(&ours).expect("grant it");
    unlockpt(&ours).expect("unlock it");
    let size = Winsize { ws_row: 50, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&ours, size).expect("set its size");
    let name = ptsname(&ours, Vec::new()).expect("its name").into_string().expect("UTF-8");
    let theirs = OpenOptions::new().read(true).write(true).open(name).expect("open its other side");
    let mut command = command(args);
    command.env_remove("NO_COLOR").envs(set.iter().copied()).stdout(Stdio::from(theirs));
    let mut child = command.spawn().expect("start tcpwatch");
    // Or its side would stay open in this process.
    drop(command);
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    let mut ours = File::from(ours);
    // Reading fails once the other side is closed.
    while let Ok(length @ 1..) = ours.read(&mut buffer) {
        text.extend_from_slice(&buffer[..length]);
    }
    assert_eq!(child.wait().expect("wait").code(), Some(0));
    String::from_utf8(text).expect("UTF-8").replace('\r', "")
}

#[test]
fn a_terminal_gets_colours_and_what_fits() {
    if !process::is_there() {
        return;
    }
    let scene = Scene::new("wide");
    let _sockets = scene.hold();
    let inode = scene.ns.inode().to_string();
    let mut before = 0;
    for width in [40, 80, 132, 200] {
        let table = on_terminal(width, &alone(&inode, &["-anpe"]), &[("NO_COLOR", "1")]);
        assert!(!table.contains('\x1b'), "{table:?}");
        let header = table.lines().next().expect("a header");
        for column in ["state", "local", "remote"] {
            assert!(header.contains(column), "{width}: {table}");
        }
        let columns = header.split_whitespace().count();
        assert!(columns > before || width == 200, "wider ones have more: {table}");
        before = columns;
        for line in table.lines().filter(|_| width >= 80) {
            assert!(line.chars().count() <= width.into(), "{width}: {line}");
            assert!(line.starts_with("state") || line.contains("10.77.0.1:"), "nothing is cut: {line}");
        }
    }
    let coloured = on_terminal(80, &alone(&inode, &["-an"]), &[]);
    assert!(coloured.contains("\x1b[33mclose_wait\x1b[0m"), "{coloured:?}");
    let chosen = on_terminal(40, &alone(&inode, &["-anH", "--columns", "local,remote,state,inode"]), &[]);
    let words = |line: &str| line.split_whitespace().count();
    assert!(
        chosen.lines().all(|line| words(line) == 4),
        "columns that are asked for are all there: {chosen}"
    );
}

#[test]
fn names_come_below_and_are_not_waited_for() {
    if !process::is_there() {
        return;
    }
    let ns = Netns::new("names");
    let held = ns.run(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
        std::net::TcpStream::connect(listener.local_addr().expect("address")).map(|client| (listener, client))
    });
    let inode = ns.inode().to_string();
    let began = std::time::Instant::now();
    let table = text(&output(&alone(&inode, &["-r", "established"])));
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
    // Whoever takes part in this has it in /etc/hosts, or no name server to ask.
    let (list, names) = table.split_once("\n\n").expect("names come below");
    assert!(list.contains("127.0.0.1:"), "{table}");
    assert!(names.starts_with("127.0.0.1  ") || names.starts_with("none of the 1"), "{table}");
    drop(held);
}
