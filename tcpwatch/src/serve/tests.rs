//! Every route over a real connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::oneshot;

use super::*;
use crate::feed::{Wake, feed};
use crate::model::Model;
use crate::model::testing::sample_at;
use crate::sample::Sample;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<io::Result<()>>,
}

#[derive(Debug, PartialEq)]
struct Answer {
    code: u16,
    kind: String,
    body: String,
    allow: Option<String>,
}

impl Server {
    /// Serves what `sampler` makes: `sample` gives `None` for a sampling thread that has ended.
    fn start(sample: Option<fn() -> Sample>) -> Self {
        let (publisher, feed) = feed();
        if let Some(sample) = sample {
            let mut model = Model::default();
            publisher.publish(model.apply(sample()));
            std::thread::spawn(move || {
                while publisher.wait(Duration::from_secs(50)) == Wake::Asked {
                    publisher.publish(model.apply(sample()));
                }
            });
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        listener.set_nonblocking(true).expect("a socket");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let shutdown = async { stopped.await.expect("told to stop") };
                serve(TcpListener::from_std(listener)?, feed, SelfUsage::default, shutdown).await
            })
        });
        Self { address, stop, thread }
    }

    fn request(&self, method: &str, target: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        write!(stream, "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer in UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines
                .into_iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
        };
        Answer {
            code: head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a code"),
            kind: header("content-type").unwrap_or_default(),
            body: body.into(),
            allow: header("allow"),
        }
    }

    fn get(&self, target: &str) -> Answer {
        self.request("GET", target)
    }

    /// Checks that there is no answer, and why.
    fn refuses(&self, target: &str, code: u16, error: &str) {
        let answer = self.get(target);
        assert_eq!((answer.code, answer.kind.as_str()), (code, JSON), "{target}: {}", answer.body);
        let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        let told = body["error"].as_str().expect("an error");
        assert!(told.contains(error), "{target}: {told}");
    }

    fn end(self) {
        self.stop.send(()).expect("it runs");
        self.thread.join().expect("no panic").expect("no error");
    }
}

fn now() -> Sample {
    let mut sample = sample_at(1.0, 7);
    sample.at = SystemTime::now();
    sample.namespaces[0].is_own = true;
    sample
}

#[test]
fn every_route_of_the_index_answers() {
    let server = Server::start(Some(now));
    let index = server.get("/");
    assert_eq!((index.code, index.kind.as_str()), (200, TEXT));
    let routes: Vec<_> = index.body.lines().filter(|line| line.starts_with('/')).collect();
    assert_eq!(routes.len(), 8);
    for route in routes {
        let path = route.split(['[', ' ']).next().expect("a path");
        assert_eq!(server.get(path).code, 200, "{path}");
        assert!(
            include_str!("mod.rs").contains(&format!("`GET {path}")),
            "{path} is not in the module's table"
        );
    }
    server.end();
}

#[test]
fn figures_are_json_or_metrics() {
    let server = Server::start(Some(now));
    for (path, field) in [
        ("status", "version"),
        ("states", "states"),
        ("transitions", "drift"),
        ("listeners", "listeners"),
        ("remotes", "top"),
    ] {
        let answer = server.get(&format!("/api/v1/{path}"));
        assert_eq!((answer.code, answer.kind.as_str()), (200, JSON));
        let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        assert!(!body[field].is_null(), "{path}: {body}");
    }
    for path in ["states?netns=7", "transitions?netns=7", "listeners?netns=7", "remotes?netns=7"] {
        assert_eq!(server.get(&format!("/api/v1/{path}")).code, 200, "{path}");
    }
    let metrics = server.get("/metrics");
    assert_eq!((metrics.code, metrics.kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    assert!(metrics.body.contains("\ntcpwatch_namespaces 1\n"));
    for path in ["/healthz", "/readyz"] {
        let ok = Answer { code: 200, kind: TEXT.into(), body: "ok\n".into(), allow: None };
        assert_eq!(server.get(path), ok);
    }
    assert_eq!(server.request("HEAD", "/metrics").body, "");
    server.end();
}

#[test]
fn what_cannot_be_answered_is_said() {
    let server = Server::start(Some(now));
    server.refuses("/nope", 404, "no such path: /nope");
    server.refuses("/api/v1/states/", 404, "no such path: /api/v1/states/");
    server.refuses("/api/v1/states?netns=abc", 400, "netns=\"abc\" is no number");
    server.refuses("/api/v1/transitions?ns=7", 400, "unknown parameter \"ns\": this path takes netns=N");
    server.refuses("/api/v1/status?netns=7777", 404, "no network namespace");
    server.refuses("/api/v1/states?netns=8", 404, "no network namespace has the inode number 8");
    server.refuses("/api/v1/transitions?netns=8", 404, "no network namespace has the inode number 8");
    server.refuses("/api/v1/listeners?netns=8", 404, "no network namespace has the inode number 8");
    server.refuses("/api/v1/remotes?netns=8", 404, "no network namespace has the inode number 8");
    let posted = server.request("POST", "/api/v1/states");
    assert_eq!((posted.code, posted.kind.as_str(), posted.allow.as_deref()), (405, JSON, Some("GET,HEAD")));
    assert_eq!(posted.body, r#"{"error":"POST is not possible here: everything is read by GET"}"#);
    server.end();
}

#[test]
fn before_the_first_report_it_is_alive_and_not_ready() {
    let server = Server::start(None);
    assert_eq!(server.get("/healthz").code, 200);
    for path in ["/readyz", "/metrics", "/api/v1/status", "/api/v1/states", "/api/v1/transitions"] {
        server.refuses(path, 503, "no figures yet");
    }
    server.end();
}

#[test]
fn it_is_ready_once_its_own_namespace_is_complete() {
    let server = Server::start(Some(|| {
        let mut sample = now();
        sample.namespaces[0].is_complete = false;
        sample
    }));
    assert_eq!(server.get("/healthz").code, 200);
    server.refuses("/readyz", 503, "not all sockets");
    server.end();
    let server = Server::start(Some(|| {
        let mut sample = now();
        sample.namespaces[0].is_own = false;
        sample
    }));
    server.refuses("/readyz", 503, "own network namespace");
    server.end();
}

#[test]
fn old_figures_are_neither_health_nor_metrics() {
    let server = Server::start(Some(|| {
        let mut sample = now();
        sample.at -= Duration::from_secs(12);
        sample
    }));
    server.refuses("/healthz", 503, "no new figures for 12 s");
    server.refuses("/metrics", 503, "no new figures for 12 s");
    assert_eq!(server.get("/api/v1/status").code, 200, "it says how old it is");
    server.end();
}

#[test]
fn a_long_tick_is_no_illness() {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let server = Server::start(Some(|| {
        let mut sample = now();
        if !ASKED.swap(true, Ordering::Relaxed) {
            sample.at -= Duration::from_mins(50);
        }
        sample
    }));
    assert_eq!(server.get("/healthz").code, 200);
    server.end();
}

#[test]
fn a_client_that_hangs_does_not_keep_it_from_ending() {
    let server = Server::start(Some(now));
    let mut stuck = TcpStream::connect(server.address).expect("it listens");
    stuck.write_all(b"GET /metrics HTTP/1.1\r\nHos").expect("sent");
    assert_eq!(server.get("/healthz").code, 200);
    let stopped = Instant::now();
    server.end();
    assert!(stopped.elapsed() < GRACE + Duration::from_secs(2));
}
