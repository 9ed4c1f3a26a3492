//! Sockets as JSON, a line each or all in one object: as [`crate::view::sockets`] has them, without a value in between.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use super::line::{self, Beside};
use super::{text, vitals};
use crate::process::Process;
use crate::sample::SocketSample;
use crate::view::owner::Owner;
use crate::view::timestamp;

/// Bytes that are written at once.
const BLOCK: usize = 256 * 1024;

/// Writes JSON.
pub(super) struct Json<'a> {
    out: &'a mut dyn Write,
    is_lines: bool,
    block: Vec<u8>,
    count: u64,
    /// Owners are few, and described once.
    owners: HashMap<u32, Vec<u8>>,
    nobody: Vec<u8>,
}

/// How a listing ended.
pub(super) struct End<'a> {
    pub(super) total: u64,
    pub(super) problems: &'a [String],
}

impl<'a> Json<'a> {
    pub(super) fn new(out: &'a mut dyn Write, is_lines: bool) -> io::Result<Self> {
        let nobody = serde_json::to_vec(&Owner::default())?;
        let mut block = Vec::with_capacity(BLOCK + 4096);
        if !is_lines {
            write!(block, "{{\"at\":\"{}\",\"sockets\":[", timestamp(SystemTime::now()))?;
        }
        Ok(Self { out, is_lines, block, count: 0, owners: HashMap::new(), nobody })
    }

    pub(super) fn row(&mut self, socket: &SocketSample, beside: Beside<'_>) -> io::Result<()> {
        if !self.is_lines {
            self.block.extend_from_slice(if self.count == 0 { b"\n" } else { b",\n" });
        }
        self.count += 1;
        if let (Some(pid), Some(owner)) = (socket.pid, beside.owner) {
            self.learn(pid, owner)?;
        }
        let Self { block, owners, nobody, .. } = self;
        let known = socket.pid.and_then(|pid| owners.get(&pid)).unwrap_or(nobody);
        object(block, socket, known);
        if self.is_lines {
            self.block.push(b'\n');
        }
        if self.block.len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    fn learn(&mut self, pid: u32, owner: &Process) -> io::Result<()> {
        if let Entry::Vacant(place) = self.owners.entry(pid) {
            place.insert(serde_json::to_vec(&Owner::from(owner))?);
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.block)?;
        self.block.clear();
        self.out.flush()
    }

    pub(super) fn end(&mut self, end: &End<'_>) -> io::Result<()> {
        if !self.is_lines {
            let truncated = self.count < end.total;
            write!(self.block, "\n],\"total\":{},\"truncated\":{truncated}", end.total)?;
            if !end.problems.is_empty() {
                write!(self.block, ",\"problems\":{}", serde_json::to_string(end.problems)?)?;
            }
            self.block.extend_from_slice(b"}\n");
        }
        self.flush()
    }
}

fn object(out: &mut Vec<u8>, socket: &SocketSample, owner: &[u8]) {
    out.extend_from_slice(b"{\"local\":\"");
    text::end(out, socket.local);
    out.extend_from_slice(b"\",\"remote\":");
    if socket.remote.port() == 0 {
        out.extend_from_slice(b"null");
    } else {
        out.push(b'"');
        text::end(out, socket.remote);
        out.push(b'"');
    }
    out.extend_from_slice(b",\"state\":\"");
    out.extend_from_slice(line::state(socket.state).as_bytes());
    out.push(b'"');
    if socket.state == tcpwatch_common::TcpState::NewSynRecv {
        out.extend_from_slice(b",\"half_open\":true");
    }
    seconds(out, "age", socket.age);
    seconds(out, "lifetime", socket.lifetime);
    out.extend_from_slice(b",\"role\":");
    match socket.role {
        Some(role) => {
            out.push(b'"');
            out.extend_from_slice(role.name().as_bytes());
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"owner\":");
    out.extend_from_slice(owner);
    maybe(out, "uid", socket.uid.map(u64::from));
    maybe(out, "netns", Some(socket.netns));
    if socket.mapped {
        out.extend_from_slice(b",\"mapped\":true");
    }
    maybe(out, "inode", socket.inode);
    maybe(out, "recv_queue", socket.recv_queue);
    maybe(out, "send_queue", socket.send_queue);
    maybe(out, "retransmits", socket.retransmits);
    seconds(out, "rtt", socket.rtt);
    truth(out, "keepalive", socket.keepalive);
    truth(out, "accepted", socket.accepted);
    vitals::object(out, &socket.vitals);
    out.push(b'}');
}

pub(super) fn name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

pub(super) fn maybe(out: &mut Vec<u8>, what: &str, value: Option<u64>) {
    name(out, what);
    match value {
        Some(value) => text::number(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

fn truth(out: &mut Vec<u8>, what: &str, value: Option<bool>) {
    name(out, what);
    out.extend_from_slice(match value {
        Some(true) => b"true",
        Some(false) => b"false",
        None => b"null",
    });
}

/// Seconds with as many decimals as mean something.
pub(super) fn seconds(out: &mut Vec<u8>, what: &str, value: Option<Duration>) {
    name(out, what);
    let Some(value) = value else { return out.extend_from_slice(b"null") };
    text::number(out, value.as_secs());
    out.push(b'.');
    let mut rest = value.subsec_nanos();
    let mut unit = 100_000_000;
    loop {
        out.push(b'0' + u8::try_from(rest / unit).unwrap_or(0));
        rest %= unit;
        unit /= 10;
        if rest == 0 || unit == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tcpwatch_common::TcpState;
    use tcpwatch_common::host::Role;

    use crate::question::Answer;
    use crate::view::sockets::sockets;

    fn known() -> SocketSample {
        let end = |text: &str| text.parse().expect("an address");
        SocketSample {
            age: Some(Duration::from_millis(1500)),
            lifetime: Some(Duration::from_nanos(3_000_000_007)),
            role: Some(Role::Passive),
            pid: Some(5),
            uid: Some(33),
            inode: Some(77),
            recv_queue: Some(17),
            send_queue: Some(0),
            retransmits: Some(2),
            rtt: Some(Duration::from_nanos(125)),
            keepalive: Some(false),
            accepted: Some(true),
            vitals: crate::sample::Vitals {
                busy: Some(Duration::from_secs(3)),
                rwnd_limited: Some(Duration::from_millis(2500)),
                sndbuf_limited: Some(Duration::ZERO),
                timeouts: Some(1),
                backoff: Some(6),
                probes: Some(0),
                soft_error: Some(113),
                bytes_acked: Some(9),
                bytes_received: Some(u64::MAX),
                segments_out: Some(7),
                min_rtt: Some(Duration::from_millis(2)),
            },
            ..SocketSample::new(
                7,
                TcpState::CloseWait,
                end("[::ffff:10.0.0.1]:80"),
                end("[::ffff:10.0.0.2]:9"),
            )
        }
    }

    #[test]
    fn both_forms_are_those_of_the_api() {
        let owner =
            Process { pid: 5, command: Some("we\"b".into()), user: Some("www".into()), ..Process::default() };
        let end = |text: &str| text.parse().expect("an address");
        let unknown = SocketSample::new(7, TcpState::NewSynRecv, end("[::1]:80"), end("[::]:0"));
        let mut answer = Answer {
            at: SystemTime::UNIX_EPOCH,
            sockets: vec![(known(), Some(Arc::new(owner.clone()))), (unknown, None)],
            total: 3,
            problems: vec!["so\nme".into()],
        };
        let mut whole = Vec::new();
        let mut lines = Vec::new();
        for (out, is_lines) in [(&mut whole, false), (&mut lines, true)] {
            let mut json = Json::new(out, is_lines).expect("begins");
            json.row(&known(), Beside { owner: Some(&owner), ..Beside::default() }).expect("writes");
            json.row(&unknown, Beside::default()).expect("writes");
            json.end(&End { total: 3, problems: &answer.problems }).expect("ends");
        }
        let mut whole: serde_json::Value = serde_json::from_slice(&whole).expect("JSON");
        whole["at"] = "1970-01-01T00:00:00.000Z".into();
        let expected = serde_json::to_value(sockets(&answer)).expect("JSON");
        assert_eq!(whole, expected);
        let lines = String::from_utf8(lines).expect("UTF-8");
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(serde_json::Value::from(lines), expected["sockets"]);

        answer = Answer { sockets: Vec::new(), total: 0, problems: Vec::new(), ..answer };
        let mut none = Vec::new();
        Json::new(&mut none, false).expect("begins").end(&End { total: 0, problems: &[] }).expect("ends");
        let mut none: serde_json::Value = serde_json::from_slice(&none).expect("JSON");
        none["at"] = "1970-01-01T00:00:00.000Z".into();
        assert_eq!(none, serde_json::to_value(sockets(&answer)).expect("JSON"));
    }
}
