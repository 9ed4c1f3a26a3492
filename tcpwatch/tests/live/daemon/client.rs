//! How commands find a daemon: by its local socket, its port, or where they are told.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Output;
use std::thread;

use rustix::process::Signal;
use serde_json::Value;
use tcpwatch::daemon::DEFAULT_SOCKET;

use super::process::{self, Daemon, output};
use crate::support::netns::Netns;

/// Whether a command that works alone as well has asked a daemon.
fn asks_a_daemon(more: &[&str]) -> bool {
    let mut args = vec!["findings", "--json", "--for", "1s"];
    args.extend(more);
    let ended = output(&args);
    let answer: Value = serde_json::from_slice(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:?}"));
    assert!(answer["findings"].is_array(), "{answer}");
    answer.get("looked_for").is_none()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_daemon_is_found_by_its_socket_then_by_its_port() {
    if !process::is_there() {
        return;
    }
    Netns::new("socket").run_apart(|| {
        assert!(!asks_a_daemon(&[]), "there is none");
        // Not on the default port: only the socket leads to it.
        let first = Daemon::run(&["--listen", "127.0.0.1:9001"]);
        let file = fs::metadata(DEFAULT_SOCKET).expect("the default socket");
        assert!(file.file_type().is_socket());
        assert_eq!((file.mode() & 0o777, file.uid()), (0o660, 0));
        assert!(asks_a_daemon(&[]) && asks_a_daemon(&["--remote", &format!("unix:{DEFAULT_SOCKET}")]));
        assert!(!asks_a_daemon(&["--alone"]));

        // A second one does without.
        let second = Daemon::run(&["--listen", "127.0.0.1:9002"]);
        assert_eq!(second.get("/healthz").0, 200);
        second.stop(Signal::TERM);
        assert!(asks_a_daemon(&[]), "the socket of the first is still there");
        // Unless it was asked for.
        let refused = output(&["run", "--listen", "127.0.0.1:9002", "--socket", DEFAULT_SOCKET]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(
            told(&refused).contains("another tcpwatch listens on /run/tcpwatch/tcpwatch.sock"),
            "{refused:?}"
        );
        let third = Daemon::run(&["--listen", "127.0.0.1:9002", "--socket", "/run/third.sock"]);
        assert!(asks_a_daemon(&["--remote", "unix:/run/third.sock"]));
        third.stop(Signal::INT);
        assert!(!Path::new("/run/third.sock").exists());

        first.stop(Signal::TERM);
        assert!(!Path::new(DEFAULT_SOCKET).exists(), "it is removed at the end");
        assert!(!asks_a_daemon(&[]));
        let default = Daemon::run(&["--no-socket"]);
        assert!(!Path::new(DEFAULT_SOCKET).exists());
        assert!(asks_a_daemon(&[]), "by the default port");
        default.stop(Signal::TERM);
    });
}

#[test]
fn the_socket_of_a_killed_daemon_is_replaced() {
    if !process::is_there() {
        return;
    }
    Netns::new("stale").run_apart(|| {
        let mut killed = Daemon::run(&["--listen", "127.0.0.1:9001"]);
        killed.running.signal(Signal::KILL);
        killed.running.wait();
        assert!(Path::new(DEFAULT_SOCKET).exists(), "nobody removed it");
        assert!(!asks_a_daemon(&[]), "nobody listens there");
        let ended = output(&["check", "--remote", &format!("unix:{DEFAULT_SOCKET}")]);
        assert_eq!(ended.status.code(), Some(3), "{ended:?}");
        let line = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(line.starts_with("TCPWATCH UNKNOWN: cannot connect to the daemon at unix:/run/"), "{line}");
        let next = Daemon::run(&["--listen", "127.0.0.1:9001"]);
        assert!(asks_a_daemon(&[]));
        next.stop(Signal::TERM);

        fs::create_dir_all("/run/tcpwatch").expect("make the directory");
        fs::write(DEFAULT_SOCKET, "mine").expect("write a file");
        let other = Daemon::run(&["--listen", "127.0.0.1:9001"]);
        other.stop(Signal::TERM);
        assert_eq!(fs::read_to_string(DEFAULT_SOCKET).ok().as_deref(), Some("mine"), "it is left alone");
    });
}

#[test]
fn remotes_are_found_or_it_is_said_why_not() {
    if !process::is_there() {
        return;
    }
    let daemon = Daemon::start(&[]);
    let address = daemon.address.to_string();
    for remote in [address.clone(), format!("http://{address}"), format!("http://{address}/")] {
        let ended = output(&["netstat", "-s", "--remote", &remote]);
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    }
    let prefixed = output(&["netstat", "-s", "--remote", &format!("http://{address}/tcp")]);
    assert_eq!(prefixed.status.code(), Some(2), "{prefixed:?}");
    assert!(told(&prefixed).contains("answered 404: no such path: /tcp/api/v1/states"), "{prefixed:?}");
    let gone = output(&["netstat", "-s", "--netns", "1", "--remote", &address]);
    assert_eq!(gone.status.code(), Some(2), "{gone:?}");
    assert!(told(&gone).contains("answered 404: no network namespace has the inode number 1"), "{gone:?}");

    let stranger = TcpListener::bind("127.0.0.1:0").expect("listen");
    let at = stranger.local_addr().expect("an address").to_string();
    let greeting = thread::spawn(move || {
        let (mut stream, _) = stranger.accept().expect("accept");
        stream.write_all(b"220 mail ESMTP\r\n").expect("greet");
    });
    let mail = output(&["findings", "--remote", &at]);
    assert_eq!(mail.status.code(), Some(2), "{mail:?}");
    assert!(told(&mail).contains(&format!("at {at} is no tcpwatch daemon")), "{mail:?}");
    greeting.join().expect("no panic");

    let nobody = output(&["findings", "--remote", &at]);
    assert_eq!(nobody.status.code(), Some(2), "{nobody:?}");
    assert!(told(&nobody).contains("does it run there? `tcpwatch run` starts it"), "{nobody:?}");
    for (remote, reason) in [
        ("https://db1:9717", "https is not spoken here. Ask by way of ssh"),
        ("unix:x", "a Unix socket is written unix:/PATH"),
        ("::1", "an IPv6 address is written in brackets"),
        ("db1:http", "\"http\" is no port"),
    ] {
        let ended = output(&["findings", "--remote", remote]);
        assert_eq!(ended.status.code(), Some(64), "{ended:?}");
        assert!(told(&ended).contains(reason), "{ended:?}");
    }
    daemon.stop(Signal::TERM);
}
