//! What the API tells, as the plain data that the screen shows. What is not there is not known.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::Value;
use tcpwatch_common::TcpState;

use crate::cli::netstat::vitals;
use crate::cli::place;
use crate::host::terminal::clean;
use crate::process::KERNEL;
use crate::top::data::{
    Finding, Flow, Listener, Memory, Owner, Process, Queue, Remote, Snapshot, Socket, Sockets,
};

/// An answer of `/api/v1/overview`; `None` if it is something else.
pub(super) fn snapshot(value: &Value) -> Option<Snapshot> {
    let at = time(&value["at"])?;
    let states = value["states"].as_object()?;
    let mut counts = [None; TcpState::COUNT];
    for state in TcpState::RFC {
        counts[state.index()] = states.get(state.name()).and_then(Value::as_u64);
    }
    let detail = &value["detail"];
    let namespaces =
        list(&value["netns"]).filter_map(|one| Some((one["netns"].as_u64()?, text(&one["name"]))));
    Some(Snapshot {
        at,
        host: text(&value["host"]),
        is_ebpf: value["source"] == "ebpf",
        uptime: seconds(&value["uptime"]),
        namespaces: namespaces.collect(),
        counts,
        half_open: detail["half_open"].as_u64(),
        orphans: detail["fin_wait2_orphaned"].as_u64(),
        is_complete: detail["complete"] == true,
        flows: value["transitions"].as_array().map(|all| all.iter().filter_map(flow).collect()),
        findings: value["findings"].as_array().map(|all| all.iter().map(finding).collect()),
        listeners: value["listeners"].as_array().map(|all| all.iter().map(listener).collect()),
        listeners_total: number(&value["listeners_total"]),
        owners: list(&value["owners"]).map(owner).collect(),
        remotes: remotes(&value["remotes"]),
        remotes_within: seconds(&value["remotes"]["seconds"]).unwrap_or_default(),
        notes: notes(value),
    })
}

/// An answer of `/api/v1/sockets`.
pub(super) fn sockets(value: &Value) -> Sockets {
    let sockets = list(&value["sockets"]).map(|one| Socket {
        state: known(&one["state"]),
        age: seconds(&one["age"]),
        local: known(&one["local"]),
        remote: text(&one["remote"]),
        netns: number(&one["netns"]),
        owner: process(&one["owner"]),
        recv_queue: one["recv_queue"].as_u64(),
        send_queue: one["send_queue"].as_u64(),
        retransmits: one["retransmits"].as_u64(),
        rtt: seconds(&one["rtt"]),
        vitals: vitals::parse(one),
    });
    Sockets {
        sockets: sockets.collect(),
        total: number(&value["total"]),
        problems: texts(&value["problems"]),
    }
}

fn notes(value: &Value) -> Vec<String> {
    let mut notes = Vec::new();
    if value["source"] != "ebpf" {
        notes.push("without eBPF only sockets by state are known; `tcpwatch doctor` there says why".into());
    }
    notes.extend(texts(&value["problems"]));
    notes
}

fn flow(value: &Value) -> Option<Flow> {
    Some(Flow {
        from: TcpState::parse(value["from"].as_str()?)?,
        to: TcpState::parse(value["to"].as_str()?)?,
        verdict: known(&value["verdict"]),
        count: number(&value["count"]),
        rate: value["rate"].as_f64(),
    })
}

fn finding(value: &Value) -> Finding {
    let subject = &value["subject"];
    let evidence = value["evidence"].as_object().into_iter().flatten();
    Finding {
        id: known(&value["id"]),
        kind: known(&value["kind"]),
        verdict: text(&value["verdict"]),
        is_critical: value["severity"] == "critical",
        since: time(&value["since"]),
        netns: subject["netns"].as_u64(),
        listener: text(&subject["listener"]),
        destination: text(&subject["destination"]),
        remote: text(&subject["remote"]),
        owner: process(&subject["owner"]),
        confidence: value["confidence"].as_f64(),
        evidence: evidence.map(|(name, value)| (clean(name), figure(value))).collect(),
        summary: known(&value["summary"]),
        meaning: known(&value["meaning"]),
        advice: texts(&value["advice"]),
        verify: texts(&value["verify"]),
    }
}

fn listener(value: &Value) -> Listener {
    let queue = |value: &Value| Queue { length: value["length"].as_u64(), limit: value["limit"].as_u64() };
    let drops = &value["drops"];
    let causes = [
        ("accept queue, SYN", "accept_queue_syn"),
        ("accept queue, ACK", "accept_queue_ack"),
        ("syn queue", "syn_queue"),
        ("other", "other"),
        ("not known", "unknown"),
    ];
    Listener {
        local: known(&value["local"]),
        netns: number(&value["netns"]),
        owner: process(&value["owner"]),
        accept: queue(&value["accept_queue"]),
        syn: queue(&value["syn_queue"]),
        young: value["syn_queue"]["young"].as_u64(),
        stuck: value["syn_queue"]["stuck"].as_u64(),
        drops: number(&drops["total"]),
        causes: causes.map(|(name, field)| (name.to_owned(), number(&drops[field]))).into(),
        synack_retransmits: number(&value["synack_retransmits"]),
        sockets: list(&value["members"]).count(),
    }
}

fn owner(value: &Value) -> Owner {
    let field = |name: &str| number(&value[name]);
    Owner {
        process: process(&value["owner"]),
        critical: field("critical"),
        warning: field("warning"),
        drops: field("drops"),
        retransmits: field("retransmits"),
        resets: field("resets"),
        connect_failures: field("connect_failures"),
        sockets: field("sockets"),
        close_wait: field("close_wait"),
        stalled: field("stalled"),
        unread_bytes: field("unread_bytes"),
        orphans: field("orphans"),
        memory: value["memory"].is_object().then(|| {
            let bytes = |name: &str| number(&value["memory"][name]);
            Memory {
                send: bytes("send_bytes"),
                receive: bytes("receive_bytes"),
                reserved: bytes("reserved_bytes"),
                unaccepted: bytes("unaccepted_bytes"),
            }
        }),
    }
}

/// They come by what went wrong; here each remote end is one.
fn remotes(value: &Value) -> Vec<Remote> {
    let mut all: Vec<Remote> = Vec::new();
    for top in list(&value["top"]) {
        for one in list(&top["remotes"]) {
            let new = Remote {
                address: known(&one["remote"]),
                port: one["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
                is_client: one["role"] == "client",
                netns: number(&one["netns"]),
                owner: process(&one["owner"]),
                ..Remote::default()
            };
            let key = |one: &Remote| (one.netns, one.address.clone(), one.port, one.is_client);
            let place = all.iter().position(|other| key(other) == key(&new)).unwrap_or_else(|| {
                all.push(new);
                all.len() - 1
            });
            let count = match top["kind"].as_str() {
                Some("data") => &mut all[place].data,
                Some("syn") => &mut all[place].syn,
                Some("synack") => &mut all[place].synack,
                Some("resets_sent") => &mut all[place].resets_sent,
                Some("resets_received") => &mut all[place].resets_received,
                Some("connect_failures") => &mut all[place].connect_failures,
                _ => continue,
            };
            *count += number(&one["count"]);
        }
    }
    all
}

fn process(value: &Value) -> Process {
    let container = place::container(value).map(|container| clean(&container));
    Process {
        pid: value["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()),
        command: if value["kernel"] == true { Some(KERNEL.into()) } else { text(&value["process"]) },
        place: container.or_else(|| text(&value["unit"])),
        has_ended: value["exited"] == true,
    }
}

fn figure(value: &Value) -> String {
    match value {
        Value::Null => "unknown".into(),
        Value::String(text) => clean(text),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(number) if number.fract() == 0.0 => format!("{number:.0}"),
            Some(number) => format!("{number:.3}"),
            None => number.to_string(),
        },
        other => clean(&other.to_string()),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn seconds(value: &Value) -> Option<Duration> {
    value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

fn time(value: &Value) -> Option<SystemTime> {
    value.as_str()?.parse::<Timestamp>().ok().map(SystemTime::from)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(clean)
}

fn known(value: &Value) -> String {
    text(value).unwrap_or_else(|| "unknown".into())
}

fn texts(value: &Value) -> Vec<String> {
    list(value).filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Detectors, Thresholds};
    use crate::model::Model;
    use crate::model::testing::{listener_at, sample_at};
    use crate::sample::{ListenerSample, RemoteCounts, RemoteSample};
    use crate::view::overview::overview;
    use serde_json::json;

    #[test]
    fn all_that_is_told_arrives() {
        let mut sample = sample_at(5.0, 7);
        sample.namespaces[0].name = Some("web".into());
        let full = ListenerSample { accept_queue: 9, accept_limit: 8, pid: Some(42), ..listener_at(7, 81) };
        sample.listeners = vec![listener_at(7, 80), full];
        let (mut model, mut detectors) = (Model::default(), Detectors::default());
        model.apply(sample.clone());
        sample.elapsed *= 2;
        sample.remotes = vec![RemoteSample {
            netns: 7,
            address: "::ffff:10.0.0.9".parse().expect("an address"),
            port: 443,
            is_client: false,
            pid: Some(42),
            counts: RemoteCounts { syn: 3, resets_sent: 4, ..RemoteCounts::default() },
        }];
        let report = model.apply(sample);
        let found = detectors.apply(&report.sample, &Thresholds::default());
        let told = serde_json::to_value(overview(&report, &found, None, Some("db1".into()))).expect("JSON");
        let shot = snapshot(&told).expect("a snapshot");
        assert_eq!((shot.host.as_deref(), shot.is_ebpf, shot.is_complete), (Some("db1"), true, true));
        assert_eq!((shot.at, shot.uptime), (report.sample.at, Some(Duration::from_secs(10))));
        assert_eq!(shot.namespaces, [(7, Some("web".into()))]);
        let count = |state: TcpState| shot.counts[state.index()];
        // Without a census nobody knows of mini-sockets.
        assert_eq!((count(TcpState::CloseWait), count(TcpState::TimeWait)), (Some(0), None));
        let listeners = shot.listeners.expect("listeners");
        assert_eq!((listeners[0].local.as_str(), listeners[0].accept.fill()), ("0.0.0.0:81", 1125));
        assert_eq!((listeners[0].causes.len(), listeners[0].sockets), (5, 1));
        assert_eq!((shot.listeners_total, shot.findings), (2, Some(Vec::new())));
        let [remote] = shot.remotes.as_slice() else { panic!("one remote: {:?}", shot.remotes) };
        assert_eq!((remote.name().as_str(), remote.retransmits(), remote.resets()), ("10.0.0.9:443", 3, 4));
        let owner = &shot.owners[0];
        assert_eq!((owner.process.pid, owner.retransmits, owner.resets), (Some(42), 3, 4));
    }

    #[test]
    fn a_finding_has_all_its_parts_and_no_control_characters() {
        let told = json!({
            "id": "syn_flood:1", "kind": "syn_flood", "severity": "critical", "verdict": null,
            "since": "2026-01-31T03:12:45.000Z", "confidence": 0.5,
            "subject": {"netns": 7, "listener": "10.0.0.1:80", "destination": null, "remote": null,
                "owner": {"pid": 5, "process": "\u{1b}[2Jweb", "container": "0123456789abcdef", "runtime": "docker"}},
            "evidence": {"rate": 1.5, "drops": 3, "state": "listen", "unknown": null},
            "summary": "s", "meaning": "m", "advice": ["a"], "verify": ["v"],
        });
        let found = finding(&told);
        assert!(found.is_critical && found.since.is_some() && found.netns == Some(7));
        assert_eq!(found.owner.long_name(), "?[2Jweb[5] in docker 0123456789ab");
        let evidence: Vec<&str> = found.evidence.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(evidence, ["3", "1.500", "listen", "unknown"]);
        assert_eq!((found.advice, found.verify), (vec!["a".to_owned()], vec!["v".to_owned()]));
    }

    #[test]
    fn something_else_is_no_snapshot_and_no_panic() {
        for value in
            [json!(null), json!([]), json!({"at": 1, "states": {}}), json!({"at": "2026-01-31T03:12:45Z"})]
        {
            assert_eq!(snapshot(&value), None, "{value}");
        }
        let strange = json!({
            "at": "2026-01-31T03:12:45Z", "states": {"listen": -1}, "netns": {"a": 1}, "findings": [1, null, {}],
            "listeners": [{"local": 7}], "owners": [[]], "transitions": [{"from": "x"}], "uptime": -1e300,
            "remotes": {"seconds": "x", "top": [{"kind": "x", "remotes": [{"port": 1e9}]}, 3]}, "problems": "no",
        });
        let shot = snapshot(&strange).expect("a snapshot of what is known");
        assert_eq!((shot.counts[TcpState::Listen.index()], shot.uptime), (None, None));
        assert_eq!(sockets(&json!({"sockets": [{}, 1]})).sockets.len(), 2);
    }
}
