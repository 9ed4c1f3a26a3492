//! Single sockets with age and owner.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tcpwatch_common::TcpState;
use tcpwatch_common::host::Role;

use super::owner::Owner;
use super::vitals::Vitals;
use crate::process::Process;
use crate::question::Answer;
use crate::sample::SocketSample;

/// `/api/v1/sockets`
#[derive(Debug, Serialize)]
pub struct Sockets {
    pub at: String,
    /// Those longest in their state first, those for which that is not known last.
    pub sockets: Vec<Socket>,
    /// All that match, shown or not.
    pub total: u64,
    /// There are more than are shown.
    pub truncated: bool,
    /// What could not be looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize)]
pub struct Socket {
    pub local: String,
    /// `null` for listeners.
    pub remote: Option<String>,
    pub state: &'static str,
    /// It is a half-open request, without a socket of its own yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub half_open: bool,
    /// Seconds in the state.
    pub age: Option<f64>,
    /// Seconds since birth.
    pub lifetime: Option<f64>,
    pub role: Option<&'static str>,
    pub owner: Owner,
    pub uid: Option<u32>,
    pub netns: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mapped: bool,
    pub inode: Option<u64>,
    pub recv_queue: Option<u64>,
    pub send_queue: Option<u64>,
    pub retransmits: Option<u64>,
    /// Seconds.
    pub rtt: Option<f64>,
    pub keepalive: Option<bool>,
    pub accepted: Option<bool>,
    #[serde(flatten)]
    pub vitals: Vitals,
}

pub fn sockets(answer: &Answer) -> Sockets {
    let sockets: Vec<Socket> =
        answer.sockets.iter().map(|(sample, owner)| socket(sample, owner.as_ref())).collect();
    Sockets {
        at: super::timestamp(answer.at),
        truncated: u64::try_from(sockets.len()).is_ok_and(|shown| shown < answer.total),
        sockets,
        total: answer.total,
        problems: answer.problems.clone(),
    }
}

fn socket(sample: &SocketSample, owner: Option<&Arc<Process>>) -> Socket {
    let half_open = sample.state == TcpState::NewSynRecv;
    let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64());
    let owner =
        owner.map_or_else(|| Owner { pid: sample.pid, ..Owner::default() }, |owner| Owner::from(&**owner));
    let owner = if sample.is_kernels() { Owner::from(&Process::kernel()) } else { owner };
    Socket {
        local: sample.local.to_string(),
        remote: (sample.remote.port() != 0).then(|| sample.remote.to_string()),
        state: if half_open { TcpState::SynRecv.name() } else { sample.state.name() },
        half_open,
        age: seconds(sample.age),
        lifetime: seconds(sample.lifetime),
        role: sample.role.map(Role::name),
        owner,
        uid: sample.uid,
        netns: sample.netns,
        mapped: sample.mapped,
        inode: sample.inode,
        recv_queue: sample.recv_queue,
        send_queue: sample.send_queue,
        retransmits: sample.retransmits,
        rtt: seconds(sample.rtt),
        keepalive: sample.keepalive,
        accepted: sample.accepted,
        vitals: Vitals::from(&sample.vitals),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Container;
    use serde_json::json;
    use std::time::SystemTime;

    fn sample(state: TcpState) -> SocketSample {
        let end = |text: &str| text.parse().expect("an address");
        SocketSample::new(7, state, end("[::ffff:10.0.0.1]:80"), end("[::ffff:10.0.0.2]:999"))
    }

    #[test]
    fn what_is_known_is_shown() {
        let container = Container { runtime: "docker", id: "ab".into(), ..Container::default() };
        let owner = Process {
            pid: 5,
            command: Some("web".into()),
            user: Some("www".into()),
            container: Some(container),
            ..Process::default()
        };
        let known = SocketSample {
            age: Some(Duration::from_millis(1500)),
            role: Some(Role::Passive),
            pid: Some(5),
            recv_queue: Some(17),
            vitals: crate::sample::Vitals {
                busy: Some(Duration::from_secs(3)),
                rwnd_limited: Some(Duration::from_millis(2500)),
                backoff: Some(6),
                probes: Some(0),
                soft_error: Some(113),
                bytes_acked: Some(9),
                min_rtt: Some(Duration::from_millis(2)),
                ..crate::sample::Vitals::default()
            },
            ..sample(TcpState::CloseWait)
        };
        let sockets_of = vec![(known, Some(Arc::new(owner))), (sample(TcpState::NewSynRecv), None)];
        let answer = Answer {
            at: SystemTime::UNIX_EPOCH,
            sockets: sockets_of,
            total: 3,
            problems: vec!["some".into()],
        };
        let shown = serde_json::to_value(sockets(&answer)).expect("JSON");
        let nobody = json!({"pid": null, "process": null, "container": null, "user": null});
        let web = json!({"pid": 5, "process": "web", "container": "ab", "runtime": "docker", "user": "www"});
        assert_eq!(
            shown,
            json!({
                "at": "1970-01-01T00:00:00.000Z",
                "sockets": [
                    {"local": "10.0.0.1:80", "remote": "10.0.0.2:999", "state": "close_wait", "age": 1.5,
                     "lifetime": null, "role": "passive", "owner": web, "uid": null, "netns": 7, "mapped": true,
                     "inode": null, "recv_queue": 17, "send_queue": null, "retransmits": null, "rtt": null,
                     "keepalive": null, "accepted": null, "busy": 3.0, "rwnd_limited": 2.5, "sndbuf_limited": null,
                     "timeouts": null, "backoff": 6, "probes": 0, "soft_error": "EHOSTUNREACH", "bytes_acked": 9,
                     "bytes_received": null, "segments_out": null, "min_rtt": 0.002},
                    {"local": "10.0.0.1:80", "remote": "10.0.0.2:999", "state": "syn_recv", "half_open": true,
                     "age": null, "lifetime": null, "role": null, "owner": nobody, "uid": null, "netns": 7,
                     "mapped": true, "inode": null, "recv_queue": null, "send_queue": null, "retransmits": null,
                     "rtt": null, "keepalive": null, "accepted": null, "busy": null, "rwnd_limited": null,
                     "sndbuf_limited": null, "timeouts": null, "backoff": null, "probes": null, "soft_error": null,
                     "bytes_acked": null, "bytes_received": null, "segments_out": null, "min_rtt": null}
                ],
                "total": 3, "truncated": true, "problems": ["some"]
            })
        );
    }
}
