//! Every route over a real connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use tcpwatch_common::TcpState;
use tokio::sync::oneshot;

use super::*;
use crate::detect::{Detectors, Thresholds};
use crate::feed::{Publisher, Wake, feed};
use crate::host::processes::Processes;
use crate::model::Model;
use crate::model::testing::sample_at;
use crate::sample::{Sample, SocketSample};
use crate::source::{Source, SourceError};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// A source of samples, and of one established socket of age 1 s and one of age 2 s.
struct Canned(fn() -> Sample, Processes);

impl Source for Canned {
    fn sample(&mut self, _census: bool) -> Result<Sample, SourceError> {
        Ok((self.0)())
    }

    fn sockets(
        &mut self,
        is_wanted: &dyn Fn(u64) -> bool,
        each: &mut dyn FnMut(&SocketSample),
    ) -> Result<Vec<String>, SourceError> {
        for age in (1..=2).filter(|_| is_wanted(7)) {
            let end = |port| SocketAddr::from(([10, 0, 0, 1], port));
            let socket = SocketSample::new(7, TcpState::Established, end(80), end(age));
            each(&SocketSample { age: Some(Duration::from_secs(age.into())), ..socket });
        }
        Ok(Vec::new())
    }

    fn processes(&mut self) -> &mut Processes {
        &mut self.1
    }
}

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
            let mut detectors = Detectors::default();
            let mut publish = move |publisher: &Publisher| {
                let report = model.apply(sample());
                let findings = detectors.apply(&report.sample, &Thresholds::default());
                publisher.publish(report, findings, Some(Duration::from_millis(3)));
            };
            publish(&publisher);
            std::thread::spawn(move || {
                while let Wake::Asked(mut asked) = publisher.wait(Duration::from_secs(50)) {
                    asked.answer(&mut Canned(sample, Processes::default()));
                    publish(&publisher);
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
                let (usage, settings) = (SelfUsage::default, Settings::new);
                let own = Own { usage, settings, roster: None, config: Arc::default() };
                let shutdown = async { stopped.await.expect("told to stop") };
                serve(TcpListener::from_std(listener)?, None, feed, own, shutdown).await
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
    assert_eq!(routes.len(), 15);
    for route in routes {
        let path = route.split(['[', ' ']).next().expect("a path");
        assert_eq!(server.get(&path.replace("TOPIC", "close_wait")).code, 200, "{path}");
        assert!(
            include_str!("mod.rs").contains(&format!("`GET {path}")),
            "{path} is not in the module's table"
        );
    }
    server.end();
}

#[test]
fn pages_are_json_or_markdown() {
    let server = Server::start(Some(now));
    let json = |answer: &Answer| -> serde_json::Value {
        assert_eq!(answer.kind, JSON);
        serde_json::from_str(&answer.body).expect("JSON")
    };
    let topics = json(&server.get("/api/v1/explain"));
    assert!(topics["sections"].as_array().expect("sections").len() > 5, "{topics}");
    let answer = server.get("/api/v1/explain/CLOSE-WAIT?netns=7");
    let page = json(&answer);
    assert_eq!(
        (answer.code, page["topic"].as_str(), page["netns"].as_u64()),
        (200, Some("close_wait"), Some(7))
    );
    let values = page["values"].as_array().expect("values");
    let value =
        |name: &str| values.iter().find(|value| value["name"] == name).expect("a value")["value"].clone();
    assert_eq!(value("count close_wait"), "0");
    assert_eq!(value("owners close_wait"), serde_json::Value::Null, "there was no survey");
    let markdown = server.get("/api/v1/explain/close_wait?netns=7&format=markdown");
    assert_eq!((markdown.code, markdown.kind.as_str()), (200, "text/markdown; charset=utf-8"));
    assert!(markdown.body.starts_with("# CLOSE_WAIT\n"), "{}", markdown.body);
    for (path, topic) in [
        ("syn_recv_to_established", "syn_recv->established"),
        ("syn_recv-%3Eestablished", "syn_recv->established"),
        ("net/ipv4/tcp_tw_reuse", "net.ipv4.tcp_tw_reuse"),
        ("listen_to_established", "illegal_transition"),
    ] {
        assert_eq!(json(&server.get(&format!("/api/v1/explain/{path}")))["topic"], topic, "{path}");
    }
    let answer = server.get("/api/v1/explain/clsoe_wait");
    let unknown = json(&answer);
    assert_eq!((answer.code, unknown["suggestions"][0].as_str()), (404, Some("close_wait")));
    server.refuses("/api/v1/explain/clsoe_wait", 404, "did you mean close_wait");
    server.refuses("/api/v1/explain/close_wait?netns=8", 404, "no network namespace");
    server.refuses("/api/v1/explain/close_wait?format=html", 400, "neither markdown nor json");
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
        ("findings", "findings"),
    ] {
        let answer = server.get(&format!("/api/v1/{path}"));
        assert_eq!((answer.code, answer.kind.as_str()), (200, JSON));
        let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        assert!(!body[field].is_null(), "{path}: {body}");
    }
    for path in [
        "states?netns=7",
        "transitions?netns=7",
        "listeners?netns=7",
        "remotes?netns=7",
        "findings?netns=7&closed=1h&kind=syn_flood",
    ] {
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
    server.refuses("/api/v1/findings?kind=nope", 400, "there is no kind of finding \"nope\"");
    server.refuses("/api/v1/findings?netns=8", 404, "no network namespace has the inode number 8");
    server.refuses("/api/v1/status?netns=7777", 404, "no network namespace");
    server.refuses("/api/v1/states?netns=8", 404, "no network namespace has the inode number 8");
    server.refuses("/api/v1/transitions?netns=8", 404, "no network namespace has the inode number 8");
    server.refuses("/api/v1/listeners?netns=8", 404, "no network namespace has the inode number 8");
    server.refuses("/api/v1/overview?netns=8", 404, "no network namespace has the inode number 8");
    server.refuses("/api/v1/services?netns=8", 404, "no network namespace has the inode number 8");
    server.refuses("/api/v1/remotes?netns=8", 404, "no network namespace has the inode number 8");
    let posted = server.request("POST", "/api/v1/states");
    assert_eq!((posted.code, posted.kind.as_str(), posted.allow.as_deref()), (405, JSON, Some("GET,HEAD")));
    assert_eq!(posted.body, r#"{"error":"POST is not possible here: everything is read by GET"}"#);
    server.end();
}

#[test]
fn sockets_are_filtered_ordered_and_limited() {
    let server = Server::start(Some(now));
    let asked = |query: &str| {
        let answer = server.get(&format!("/api/v1/sockets?{query}"));
        assert_eq!((answer.code, answer.kind.as_str()), (200, JSON), "{query}: {}", answer.body);
        let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        let ages: Vec<_> =
            body["sockets"].as_array().expect("a list").iter().map(|one| one["age"].as_f64()).collect();
        (ages, body["total"].as_u64(), body["truncated"].as_bool())
    };
    let (old, young) = (Some(2.0), Some(1.0));
    assert_eq!(asked("limit=5"), (vec![old, young], Some(2), Some(false)));
    assert_eq!(asked("limit=1"), (vec![old], Some(2), Some(true)));
    assert_eq!(asked("limit=0"), (vec![], Some(2), Some(true)));
    assert_eq!(asked("state=estab&netns=7&dport=1"), (vec![young], Some(1), Some(false)));
    assert_eq!(asked("filter=older-than%201500ms"), (vec![old], Some(1), Some(false)));
    assert_eq!(asked("filter=netns=8"), (vec![], Some(0), Some(false)));
    server.refuses("/api/v1/sockets", 400, "a filter or a limit is needed");
    server.refuses("/api/v1/sockets?limit=10001", 400, "no number up to 10000");
    server.refuses("/api/v1/sockets?netns=8", 404, "no network namespace has the inode number 8");
    let caret = "column 6: \"http\" is no number\n  port=http\n       ^^^^\nexpected a port";
    server.refuses("/api/v1/sockets?filter=port=http", 400, caret);
    server.end();
}

#[test]
fn before_the_first_report_it_is_alive_and_not_ready() {
    let server = Server::start(None);
    assert_eq!(server.get("/healthz").code, 200);
    server.refuses("/readyz", 503, "not yet: starting");
    for path in [
        "/metrics",
        "/api/v1/status",
        "/api/v1/states",
        "/api/v1/transitions",
        "/api/v1/overview",
        "/api/v1/sockets?limit=1",
    ] {
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
    server.refuses("/readyz", 503, "not complete: `problems`");
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

/// Something illegal has happened.
fn illegal() -> Sample {
    let mut sample = now();
    sample.namespaces[0].illegal.push((TcpState::Listen, TcpState::Established, 2));
    sample
}

#[test]
fn findings_are_served_as_soon_as_they_are_found() {
    let server = Server::start(Some(illegal));
    let body: serde_json::Value = serde_json::from_str(&server.get("/api/v1/findings").body).expect("JSON");
    assert_eq!(body["findings"][0]["id"], "illegal_transition:7:listen-established");
    assert_eq!(body["findings"][0]["subject"]["netns"], 7);
    let of_kind = server.get("/api/v1/findings?kind=syn_flood");
    assert!(of_kind.body.ends_with("\"findings\":[]}"), "{}", of_kind.body);
    assert!(
        server.get("/metrics").body.contains("\ntcpwatch_findings_total{kind=\"illegal_transition\"} 1\n")
    );
    server.end();
}
