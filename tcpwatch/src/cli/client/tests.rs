//! Servers that answer rightly, wrongly, slowly or not at all.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use proptest::prelude::*;

use super::*;

/// Answers one request with these bytes, then does `after`.
fn server(
    answer: &'static [u8],
    after: impl FnOnce(TcpStream) + Send + 'static,
) -> (Client, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let at = listener.local_addr().expect("an address").to_string().parse().expect("an address");
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        let request = read_request(&mut stream);
        // The client may have seen enough.
        let _ = stream.write_all(answer);
        after(stream);
        request
    });
    (Client::new(at), serving)
}

fn read_request(stream: &mut impl io::Read) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("a request") > 0 {
        request.push(byte[0]);
    }
    String::from_utf8(request).expect("UTF-8")
}

fn json(answer: &'static [u8]) -> Result<Value, ClientError> {
    let (client, serving) = server(answer, drop);
    let answer = client.json("/x");
    serving.join().expect("no panic");
    answer
}

#[test]
fn every_kind_of_body_is_read() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"a\":[1,2]}"[..],
        b"HTTP/1.0 200 OK\r\n\r\n{\"a\":[1,2]}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"a\":[1,2]}and more that is not meant",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n7;x=y\r\n:[1,2]}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 3\r\n\r\nB\r\n{\"a\":[1,2]}\r\n0\r\nx: y\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{\"a\":[1,2]}",
        b"HTTP/1.1 200 OK\nx:y\n\n{\"a\":[1,2]}",
    ] {
        let read = json(answer).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(answer)));
        assert_eq!(read["a"][1], 2);
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (answer, message) in [
        (&b""[..], "is no tcpwatch daemon: it closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9\r\n", "is no tcpwatch daemon: what it sent is not HTTP"),
        (b"\x16\x03\x01", "what it sent is not HTTP"),
        (b"HTTP/1.1 abc\r\n\r\n", "what it sent is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nwithout a colon\r\n\r\n", "a header that is none"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "a length that is none"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", "an encoding that is not understood"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n", "it sent a chunk without a size"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n{}", "broke off"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}", "broke off"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", "broke off"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "it sent no JSON"),
        (b"HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n", "it answered 302 to /x"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n<html>", "is no tcpwatch daemon: it answered 404 to /x"),
        (
            b"HTTP/1.1 404 Not Found\r\n\r\n{\"error\":\"no such namespace\"}",
            "answered 404: no such namespace",
        ),
        (b"HTTP/1.1 503 x\r\ncontent-length: 19\r\n\r\n{\"error\":\"not yet\"}", "answered 503: not yet"),
    ] {
        let error = json(answer).expect_err(message).to_string();
        assert!(error.contains(message), "{error}");
        assert!(error.contains("127.0.0.1:"), "whose answer: {error}");
    }
}

#[test]
fn requests_are_what_servers_want() {
    let (client, serving) = server(b"HTTP/1.1 200 OK\r\n\r\n{}", drop);
    let Address::Tcp { host, port, .. } = client.at.clone() else { panic!("TCP") };
    let at: Address = format!("http://{host}:{port}/tcp/db1/").parse().expect("an address");
    Client::new(at).json("/api/v1/states?netns=7").expect("fine");
    let request = serving.join().expect("no panic");
    assert!(request.starts_with("GET /tcp/db1/api/v1/states?netns=7 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nHost: {host}:{port}\r\n")), "{request}");
    assert!(request.contains("\r\nConnection: close\r\n"), "{request}");
}

#[test]
fn nobody_is_waited_for_for_ever() {
    let slow = |stream: TcpStream| {
        thread::sleep(Duration::from_secs(1));
        drop(stream);
    };
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n{"] {
        let (mut client, serving) = server(answer, slow);
        client.within = Duration::from_millis(200);
        let begun = Instant::now();
        let error = client.json("/x").expect_err("too late");
        assert!(matches!(error, ClientError::Late { .. }), "{error}");
        assert!(begun.elapsed() < Duration::from_millis(900));
        serving.join().expect("no panic");
    }
    // A byte now and then does not help.
    let (mut client, serving) = server(b"HTTP/1.1 200 OK\r\n\r\n{", |mut stream| {
        while stream.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    client.within = Duration::from_millis(300);
    assert!(matches!(client.json("/x"), Err(ClientError::Late { .. })));
    serving.join().expect("no panic");
}

#[test]
fn an_endless_answer_is_refused() {
    let (client, serving) = server(b"HTTP/1.1 200 OK\r\n\r\n", |mut stream| {
        let block = vec![b' '; 1 << 16];
        while stream.write_all(&block).is_ok() {}
    });
    let error = client.json("/x").expect_err("too long").to_string();
    assert!(error.contains("longer than 64 MiB"), "{error}");
    serving.join().expect("no panic");
    let (client, serving) = server(b"HTTP/1.1 200 OK\r\n", |mut stream| {
        while stream.write_all(b"x: 0123456789012345678901234567890123456789\r\n").is_ok() {}
    });
    let error = client.json("/x").expect_err("too many headers").to_string();
    assert!(error.contains("no tcpwatch daemon"), "{error}");
    serving.join().expect("no panic");
}

#[test]
fn a_daemon_that_is_not_there_is_told_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("listen").local_addr().expect("an address");
    let error = Client::new(taken.to_string().parse().expect("an address")).json("/x").expect_err("nobody");
    let error = error.to_string();
    assert!(error.starts_with(&format!("cannot connect to the daemon at {taken}: ")), "{error}");
    assert!(error.contains("does it run there?"), "{error}");
    let error = Client::new(Address::Unix("/nonexistent/x.sock".into())).json("/x").expect_err("nobody");
    assert!(error.to_string().contains("unix:/nonexistent/x.sock: "), "{error}");
}

#[test]
fn unix_sockets_are_asked_as_well() {
    let path = std::env::temp_dir().join(format!("tcpwatch-client-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).expect("bind");
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        let request = read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"a\":1}").expect("answer");
        request
    });
    let client = Client::new(format!("unix:{}", path.display()).parse().expect("an address"));
    assert_eq!(client.json("/x").expect("fine")["a"], 1);
    assert!(serving.join().expect("no panic").contains("\r\nHost: localhost\r\n"));
    std::fs::remove_file(&path).expect("remove");
}

proptest! {
    #[test]
    fn no_answer_is_too_odd(
        begin in proptest::sample::select(vec![
            "", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "HTTP/1.1 100 x\r\n\r\n", "HTTP/1.",
        ]),
        rest in prop_oneof!["[0-9a-f]{0,18}\r\n.{0,40}", proptest::collection::vec(any::<u8>(), 0..200)
            .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())],
    ) {
        let bytes = format!("{begin}{rest}").into_bytes();
        if let Ok(mut answer) = http::read_head(bytes.as_slice()) {
            let mut body = Vec::new();
            // Right or wrong: it ends, and has nothing that was not sent.
            let _ = answer.body.read_to_end(&mut body);
            prop_assert!(body.len() <= bytes.len());
        }
    }

    #[test]
    fn no_address_is_too_odd(text in "(http://|unix:|\\[)?.{0,20}(:[0-9]{0,6})?(/.{0,10})?") {
        if let Ok(address) = text.parse::<Address>() {
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }
    }
}
