//! Every flag of every command is used: by an example of its help, which `examples.rs` runs, or here.

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::examples::{commands, examples, help};
use super::process::{self, Daemon, Running, output};
use super::record::Directory;
use crate::support::netns::Netns;

/// Command lines beside a daemon at the default port, how they end, and what they must say. `NETNS` is a namespace with a
/// listener at `PORT` and a connection to it, `DIR` a directory with a configuration and a recording.
const USES: &[(&str, i32, &str)] = &[
    (
        "netstat --all --numeric --tcp --processes --extended -N NETNS --filter sport=PORT",
        0,
        "127.0.0.1:PORT",
    ),
    ("netstat -a -n -t -p -e --netns NETNS -4 --no-header --alone", 0, "127.0.0.1:PORT"),
    ("netstat -l -N NETNS --ipv4 --json --remote 127.0.0.1:9717", 0, "\"local\":\"127.0.0.1:PORT\""),
    ("netstat -N NETNS -6", 0, "state"),
    ("netstat -N NETNS --ipv6 -v", 0, "state"),
    ("netstat -H -N NETNS -o state,local", 0, "established 127.0.0.1:PORT"),
    ("netstat --columns remote -N NETNS -r", 0, "127.0.0.1:PORT"),
    ("netstat -N NETNS --resolve --verbose", 0, "127.0.0.1:PORT"),
    ("trace --dport PORT --netns NETNS --count 2 --ring 64 -v", 0, "syn_sent"),
    ("trace --sport PORT --netns NETNS --count 1", 0, "listen"),
    ("trace --odd --pid 1 --netns NETNS --duration 1", 1, ""),
    ("top --once -v", 0, "2 States"),
    ("findings --netns NETNS -v", 0, ""),
    ("services --netns NETNS --remote 127.0.0.1:9717 -v", 0, "limited by"),
    ("check --netns NETNS --severity critical -v", 0, "OK"),
    ("record --config DIR/tcpwatch.toml --netlink-only --tick 500ms --for 2s --to DIR/alone.tcpw -v", 0, ""),
    ("replay DIR/alone.tcpw --as states --config DIR/tcpwatch.toml -v", 0, "established"),
    ("explain close_wait --alone --netns NETNS -v", 0, "CLOSE_WAIT"),
    ("explain close_wait --remote 127.0.0.1:9717", 0, "CLOSE_WAIT"),
    ("doctor -v --kubernetes off --kubeconfig DIR/none --node-name node-1", 0, "eBPF"),
    ("completions bash -v", 0, "complete"),
    ("man netstat -v", 0, ".TH"),
];

/// Daemons beside it, and what each says in its log.
const DAEMONS: &[(&str, &str)] = &[
    (
        "run --listen 127.0.0.1:9801 --bpf-log --max-namespaces 64 --max-listeners 64 --max-remotes 256 --no-record \
         --no-socket -v",
        "capabilities kept",
    ),
    (
        "run --listen 127.0.0.1:9803 --netlink-only --no-record --no-socket --kubernetes on --kubeconfig /nonexistent/file \
         --node-name node-1",
        "cannot find the cluster's API: /nonexistent/file",
    ),
    (
        "run --listen 127.0.0.1:9802 --netlink-only --record-dir DIR/second --no-socket --config DIR/tcpwatch.toml \
         --watch-config",
        "recording to",
    ),
];

/// Goes on until it is interrupted.
const WATCHES: &[&str] = &["netstat -N NETNS -w", "netstat -N NETNS --watch=1"];

/// The flags in the list of options of a help text, each with its short form.
fn flags(help: &str) -> Vec<Vec<String>> {
    let lines =
        help.lines().map(str::trim_start).filter(|line| line.starts_with('-') && !line.starts_with("- "));
    let names = |line: &str| -> Vec<String> {
        let words = line.split_whitespace().take_while(|word| word.starts_with('-'));
        words
            .map(|word| word.trim_end_matches([',', '.']).split(['[', '=']).next().unwrap_or(word).to_owned())
            .collect()
    };
    lines.map(names).collect()
}

/// The words of all command lines of a command that are run anywhere.
fn used(command: &str) -> BTreeSet<String> {
    let own = USES
        .iter()
        .map(|(line, ..)| *line)
        .chain(DAEMONS.iter().map(|(line, _)| *line))
        .chain(WATCHES.iter().copied());
    let own = own.filter(|line| line.split_whitespace().next() == Some(command)).map(str::to_owned);
    let shown = examples(&help(Some(command))).into_iter().chain(examples(&help(None)));
    let shown = shown.filter(|line| line.contains(&format!("tcpwatch {command}")));
    let word = |word: &str| word.split('=').next().unwrap_or(word).to_owned();
    own.chain(shown).flat_map(|line| line.split_whitespace().map(word).collect::<Vec<_>>()).collect()
}

#[test]
fn no_flag_is_never_used() {
    if !process::is_there() {
        return;
    }
    for command in commands() {
        let used = used(&command);
        let flags = flags(&help(Some(&command)));
        assert!(flags.len() > 1, "{command}");
        for names in flags.iter().filter(|names| !names.contains(&"--help".to_owned())) {
            // Both forms are one flag to the parser.
            assert!(names.iter().any(|name| is_used(&used, name)), "{command} {names:?} is used by no test");
        }
        for form in ["-h", "--help"] {
            assert_eq!(output(&[&command, form]).status.code(), Some(0), "{command} {form}");
        }
    }
}

fn is_used(used: &BTreeSet<String>, name: &str) -> bool {
    // Short ones are also written together.
    let letter = name.strip_prefix('-').filter(|name| name.len() == 1);
    let together = |word: &String| {
        letter.is_some_and(|letter| word.starts_with('-') && !word.starts_with("--") && word.contains(letter))
    };
    used.contains(name) || used.iter().any(together)
}

#[test]
fn flags_without_an_example_do_what_they_say() {
    if !process::is_there() {
        return;
    }
    let (ns, directory) = (Netns::new("flags"), Directory::new("flags"));
    fs::write(directory.file("tcpwatch.toml"), "[close_wait_buildup]\nmin_count = 7\n").expect("write it");
    ns.run_apart(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("bound");
        let _open = (TcpStream::connect(address).expect("connect"), listener.accept().expect("accept"));
        let fill = |text: &str| {
            let text =
                text.replace("NETNS", &ns.inode().to_string()).replace("PORT", &address.port().to_string());
            text.replace("DIR", directory.path())
        };
        let start = |line: &str| Running::start(&fill(line).split_whitespace().collect::<Vec<_>>());
        let daemon = Daemon::run(&["--no-record"]);
        for (line, code, says) in USES {
            let mut running = start(line);
            // Something to trace, as soon as it does.
            while line.contains("--count") && !running.has_ended() {
                drop((TcpStream::connect(address).expect("connect"), listener.accept().expect("accept")));
                thread::sleep(Duration::from_millis(100));
            }
            let ended = running.finish();
            let said = String::from_utf8_lossy(&ended.stdout);
            assert_eq!(ended.status.code(), Some(*code), "{line}: {ended:?}");
            assert!(said.contains(&fill(says)), "{line}: no {says:?} in {said}");
        }
        for (line, says) in DAEMONS {
            let other = Daemon::ready(start(line));
            other.running.log_line(says);
            other.stop(Signal::TERM);
        }
        for line in WATCHES {
            let mut running = start(line);
            thread::sleep(Duration::from_secs(3));
            assert!(!running.has_ended(), "{line} goes on");
            running.signal(Signal::INT);
            let ended = running.finish();
            let listings = String::from_utf8_lossy(&ended.stdout).matches(&address.to_string()).count();
            assert!(listings > 1, "{line}: {ended:?}");
        }
        daemon.stop(Signal::TERM);
    });
}
