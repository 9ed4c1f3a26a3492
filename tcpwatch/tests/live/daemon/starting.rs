//! The server answers from the beginning, while the programs are still loaded.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::process::{self, Running, wait_for};

/// The status line and the body of an answer.
fn get(address: SocketAddr, path: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.lines().next()?.to_owned(), body.to_owned()))
}

#[test]
fn health_is_answered_and_readiness_says_how_far_the_start_has_got() {
    if !process::is_there() {
        return;
    }
    let free = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = free.local_addr().expect("an address");
    drop(free);
    let running =
        Running::start(&["run", "--listen", &address.to_string(), "--no-record", "--socket", "off"]);
    let (status, body) = wait_for("an answer", || get(address, "/healthz"));
    assert!(status.contains("200"), "{status}: {body}");
    let (mut status, mut body) = get(address, "/readyz").expect("an answer");
    assert!(status.contains("503") && body.contains("not yet: "), "{status}: {body}");
    while status.contains("503") {
        assert!(body.contains("% done") || body.contains("starting") || body.contains("watching"), "{body}");
        (status, body) = get(address, "/readyz").expect("an answer");
    }
    assert!(status.contains("200"), "{status}: {body}");
    running.log_line("ready after");
}
