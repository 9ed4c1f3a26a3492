//! A Kubernetes API in as far as a node's watcher sees it: pods with versions, lists and watches over HTTP, and all
//! that can go wrong. Lines, chunks, codes and texts are those of the real one.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub const TOKEN: &str = "let-me-in";

/// What a pod of the API has, to be changed.
pub const POD: &str = include_str!("pod.json");

/// What is answered instead of what was asked for.
#[derive(Clone, Debug)]
pub enum Fault {
    /// With a `Status`, as the API itself does.
    Code(u16, &'static str),
    /// It asks for patience.
    Busy(u32),
    /// A proxy in between.
    Html(u16),
    /// The answer comes so late.
    Late(Duration),
    /// No answer: the connection is closed.
    Hangup,
    /// A watch begins, and this is its first line.
    Line(String),
    /// A watch that ends in the middle of a line.
    Torn,
}

#[derive(Default)]
struct State {
    version: u64,
    pods: BTreeMap<String, Value>,
    /// Version, kind and object of each change.
    changes: Vec<(u64, &'static str, Value)>,
    /// Changes up to this version are no longer known.
    forgotten: u64,
    /// Whether that is told by the code of the answer instead of in a line.
    says_gone_by_code: bool,
    faults: VecDeque<Fault>,
    /// What was asked for.
    asked: Vec<String>,
    /// Watches older than this end in the middle of a line.
    torn: u64,
    watches: u64,
    /// Removed in the end.
    files: Vec<PathBuf>,
    is_over: bool,
}

/// Answers until it is dropped.
pub struct Stub {
    pub address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Stub {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("an address");
        let shared: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let answers = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&answers);
                if lock(&shared).is_over {
                    break;
                }
                std::thread::spawn(move || {
                    // Who hangs up is no trouble.
                    let _ = serve(&stream, &shared);
                });
            }
        });
        let stub = Self { address, shared };
        stub.change(|state| state.version = 1_000);
        stub
    }

    /// A file that leads here, until this is dropped.
    pub fn kubeconfig(&self, name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tcpwatch-kubeconfig-{name}-{}", std::process::id()));
        let address = self.address;
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\npreferences: {{}}\n\
             clusters:\n- cluster:\n    server: http://{address}\n  name: test\n\
             contexts:\n- context:\n    cluster: test\n    user: node\n  name: test\n\
             users:\n- name: node\n  user:\n    token: {TOKEN}\n"
        );
        std::fs::write(&path, text).expect("a temporary file");
        self.change(|state| state.files.push(path.clone()));
        path
    }

    /// A pod is made, or is different now.
    pub fn put(&self, mut pod: Value) {
        self.change(|state| {
            state.version += 1;
            pod["metadata"]["resourceVersion"] = json!(state.version.to_string());
            let uid = pod["metadata"]["uid"].as_str().expect("a uid").to_owned();
            let kind = if state.pods.insert(uid, pod.clone()).is_some() { "MODIFIED" } else { "ADDED" };
            state.changes.push((state.version, kind, pod));
        });
    }

    pub fn delete(&self, uid: &str) {
        self.change(|state| {
            state.version += 1;
            let mut pod = state.pods.remove(uid).expect("it is there");
            pod["metadata"]["resourceVersion"] = json!(state.version.to_string());
            state.changes.push((state.version, "DELETED", pod));
        });
    }

    /// Other things have happened in the cluster.
    pub fn bookmark(&self) {
        self.change(|state| {
            state.version += 100;
            let version = state.version.to_string();
            let object = json!({
                "kind": "Pod", "apiVersion": "v1",
                "metadata": {"resourceVersion": version, "creationTimestamp": null},
                "spec": {"containers": null}, "status": {},
            });
            state.changes.push((state.version, "BOOKMARK", object));
        });
    }

    /// Forgets all changes so far, so that who goes on from there has to begin again.
    pub fn compact(&self, says_gone_by_code: bool) {
        self.change(|state| {
            state.version += 1;
            state.forgotten = state.version;
            state.says_gone_by_code = says_gone_by_code;
            state.changes.clear();
        });
    }

    /// The next answers.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.change(|state| state.faults.extend(faults));
    }

    /// Breaks all watches in the middle of a line.
    pub fn tear(&self) {
        self.change(|state| state.torn = state.watches);
    }

    /// What was asked for so far: paths with their queries.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared).asked.clone()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.shared));
        self.shared.1.notify_all();
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.change(|state| {
            state.is_over = true;
            for path in &state.files {
                let _ = std::fs::remove_file(path);
            }
        });
        // The thread that accepts looks up.
        let _ = TcpStream::connect(self.address);
    }
}

/// A pod like [`POD`] with these ids of containers, which are all called `nginx`.
pub fn pod(uid: &str, name: &str, containers: &[&str]) -> Value {
    let mut pod: Value = serde_json::from_str(POD).expect("JSON");
    pod["metadata"]["uid"] = json!(uid);
    pod["metadata"]["name"] = json!(name);
    let status = &mut pod["status"];
    let one = |id: &&str| json!({"name": "nginx", "containerID": format!("containerd://{id}"), "state": {"running": {}}});
    status["containerStatuses"] = containers.iter().map(one).collect();
    status["initContainerStatuses"] = json!([]);
    status["ephemeralContainerStatuses"] = json!([]);
    pod
}

fn lock(shared: &(Mutex<State>, Condvar)) -> MutexGuard<'_, State> {
    shared.0.lock().expect("no panic there")
}

fn serve(stream: &TcpStream, shared: &(Mutex<State>, Condvar)) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(request) = lines.next().transpose()? {
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut is_known = false;
        for header in lines.by_ref() {
            let header = header?;
            is_known |= header.eq_ignore_ascii_case(&format!("authorization: Bearer {TOKEN}"));
            if header.is_empty() {
                break;
            }
        }
        let fault = {
            let mut state = lock(shared);
            if state.is_over {
                return Ok(());
            }
            state.asked.push(path.clone());
            state.faults.pop_front()
        };
        if !is_known {
            status(stream, 401, "Unauthorized", "")?;
            continue;
        }
        match fault {
            Some(Fault::Code(code, message)) => status(stream, code, message, "")?,
            Some(Fault::Busy(seconds)) => {
                let header = format!("Retry-After: {seconds}\r\n");
                status(stream, 429, "Too many requests, please try again later.", &header)?;
            }
            Some(Fault::Html(code)) => {
                let page = "<html><body><h1>502 Bad Gateway</h1></body></html>";
                whole(stream, code, "text/html", "", page)?;
            }
            Some(Fault::Hangup) => return Ok(()),
            Some(Fault::Line(line)) => {
                return begin(stream).and_then(|()| chunk(stream, &format!("{line}\n")));
            }
            Some(Fault::Torn) => {
                return begin(stream).and_then(|()| chunk(stream, "{\"type\":\"MODIFIED\",\"obj"));
            }
            Some(Fault::Late(time)) => {
                std::thread::sleep(time);
                answer(stream, &path, shared)?;
            }
            None => answer(stream, &path, shared)?,
        }
    }
    Ok(())
}

fn answer(stream: &TcpStream, path: &str, shared: &(Mutex<State>, Condvar)) -> std::io::Result<()> {
    let (place, query) = path.split_once('?').unwrap_or((path, ""));
    let asked = |name: &str| query.split('&').find_map(|part| part.strip_prefix(&format!("{name}=")));
    let node = asked("fieldSelector").and_then(|selector| selector.strip_prefix("spec.nodeName%3D"));
    let (Some(node), "/api/v1/pods") = (node, place) else {
        return status(stream, 403, "pods is forbidden: only those of a node may be listed", "");
    };
    if asked("watch") == Some("true") {
        let from = asked("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        let seconds = asked("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(300);
        return watch(stream, node, from, Duration::from_secs(seconds), shared);
    }
    let list = {
        let state = lock(shared);
        let is_here = |pod: &&Value| pod["spec"]["nodeName"] == node;
        let all: Vec<Value> = state.pods.values().filter(is_here).cloned().collect();
        // Out of its memory it answers at once, whatever the limit.
        let limit = asked("limit")
            .and_then(|limit| limit.parse().ok())
            .filter(|_| asked("resourceVersion").is_none());
        let from: usize = asked("continue").and_then(|place| place.parse().ok()).unwrap_or(0);
        let to = limit.map_or(all.len(), |limit: usize| (from + limit).min(all.len()));
        let next = if to < all.len() { to.to_string() } else { String::new() };
        json!({"kind": "PodList", "apiVersion": "v1",
            "metadata": {"resourceVersion": state.version.to_string(), "continue": next},
            "items": all[from.min(to)..to]})
    };
    whole(stream, 200, "application/json", "", &list.to_string())
}

fn watch(
    stream: &TcpStream,
    node: &str,
    from: u64,
    lasts: Duration,
    shared: &(Mutex<State>, Condvar),
) -> std::io::Result<()> {
    let mut state = lock(shared);
    let old = format!("too old resource version: {from} ({})", state.version);
    if from < state.forgotten && state.says_gone_by_code {
        drop(state);
        return status(stream, 410, &old, "");
    }
    state.watches += 1;
    let own = state.watches;
    begin(stream)?;
    if from < state.forgotten {
        drop(state);
        let refusal = json!({"type": "ERROR", "object": refusal(410, &old)});
        chunk(stream, &format!("{refusal}\n"))?;
        return end(stream);
    }
    let (mut told, until) = (from, Instant::now() + lasts);
    loop {
        let news: Vec<_> = state.changes.iter().filter(|(version, ..)| *version > told).cloned().collect();
        let (is_torn, is_over) = (state.torn >= own, state.is_over);
        drop(state);
        for (version, kind, object) in news {
            if kind == "BOOKMARK" || object["spec"]["nodeName"] == node {
                chunk(stream, &format!("{}\n", json!({"type": kind, "object": object})))?;
            }
            told = version;
        }
        if is_torn {
            chunk(stream, "{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Po")?;
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        let left = until.saturating_duration_since(Instant::now());
        if is_over || left.is_zero() {
            return end(stream);
        }
        state =
            shared.1.wait_timeout(lock(shared), left.min(Duration::from_millis(100))).expect("no panic").0;
    }
}

fn refusal(code: u16, message: &str) -> Value {
    let reason = match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code})
}

fn status(stream: &TcpStream, code: u16, message: &str, header: &str) -> std::io::Result<()> {
    whole(stream, code, "application/json", header, &refusal(code, message).to_string())
}

fn whole(mut stream: &TcpStream, code: u16, kind: &str, header: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {code} X\r\nContent-Type: {kind}\r\n{header}Content-Length: {length}\r\n\r\n{body}"
    )
}

fn begin(mut stream: &TcpStream) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
}

/// In two chunks, as a line need not be one.
fn chunk(mut stream: &TcpStream, text: &str) -> std::io::Result<()> {
    let (first, second) = text.split_at(text.len() / 2);
    for part in [first, second].iter().filter(|part| !part.is_empty()) {
        write!(stream, "{:x}\r\n{part}\r\n", part.len())?;
        stream.flush()?;
    }
    Ok(())
}

fn end(mut stream: &TcpStream) -> std::io::Result<()> {
    write!(stream, "0\r\n\r\n")
}
