//! `-l`: listeners with both queues and their limits, what was dropped and why, and whose they are.

use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::time::SystemTime;

use anyhow::Result;
use serde_json::{Value, json};
use tcpwatch_common::TcpState;

use super::asked::Asked;
use super::list::Sieve;
use super::teller::Teller;
use super::{Kept, NetstatArgs, client, eprint, warn};
use crate::cli::{Outcome, place};
use crate::filter::SocketFacts;
use crate::host::netns::discover;
use crate::process::KERNEL;
use crate::sample::SocketSample;
use crate::sample::Vitals;
use crate::view::bar::bar;
use crate::view::listeners::address;
use crate::view::owner::Owner;
use crate::view::timestamp;

/// Shows the listeners that are asked for.
pub(super) fn listeners(
    args: &NetstatArgs,
    asked: &Asked,
    kept: &mut Kept,
    out: &mut dyn Write,
) -> Result<Outcome> {
    let netns = match &asked.netns.0 {
        Some(text) if text.parse::<u64>().is_err() => asked.netns.choose(&discover()?.namespaces)?.number(),
        Some(text) => text.parse().ok(),
        None => None,
    };
    let path =
        netns.map_or_else(|| "/api/v1/listeners".into(), |netns| format!("/api/v1/listeners?netns={netns}"));
    let mut answer = match client::get(&args.remote, &path)? {
        Some(mut answer) => {
            if let Some(all) = answer["listeners"].as_array_mut() {
                all.retain(|listener| matches(listener, asked));
            }
            answer
        }
        None => look(args, asked, kept)?,
    };
    let all = answer["listeners"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let total = all.len();
    let shown: Vec<Value> = all.into_iter().take(asked.limit).collect();
    if args.json {
        answer["listeners"] = shown.into();
        writeln!(out, "{answer}")?;
    } else {
        print(out, &shown, asked)?;
        if total > asked.limit {
            eprint(&format!("{} of {total} listeners are shown: --limit shows more", asked.limit));
        }
    }
    Ok(asked.outcome(total as u64))
}

/// Whether a listener that a daemon tells of is asked for.
fn matches(listener: &Value, asked: &Asked) -> bool {
    let Some(local) = listener["local"].as_str().and_then(|text| text.parse::<SocketAddr>().ok()) else {
        return true;
    };
    let owner = &listener["owner"];
    let is_v6 = local.is_ipv6() || listener["mapped"] == true;
    let small = |told: &Value| told.as_u64().and_then(|number| u32::try_from(number).ok());
    let facts = SocketFacts {
        state: TcpState::Listen,
        local,
        remote: None,
        netns: listener["netns"].as_u64().unwrap_or(0),
        age: None,
        role: None,
        pid: small(&owner["pid"]),
        process: owner["process"].as_str(),
        container: owner["container"].as_str(),
        container_name: owner["container_name"].as_str(),
        pod: owner["pod_name"].as_str(),
        pod_uid: owner["pod"].as_str(),
        namespace: owner["namespace"].as_str(),
        workload: owner["workload"].as_str(),
        uid: small(&owner["uid"]),
        user: owner["user"].as_str(),
        is_kernels: owner["kernel"] == true,
        retransmits: None,
        rtt: None,
        vitals: Vitals::default(),
    };
    asked.filter.matches(&facts) && asked.family.is_none_or(|wanted| wanted == is_v6)
}

/// Without a daemon, one walk tells of listeners, and of half-open requests by their port.
fn look(args: &NetstatArgs, asked: &Asked, kept: &mut Kept) -> Result<Value> {
    kept.find(asked, &args.remote)?;
    kept.owners.begin();
    let mut problems = Vec::new();
    let Kept { teller: Some(teller), owners, .. } = kept else { return Ok(Value::Null) };
    if asked.looks_for_owners() {
        problems.extend(owners.look());
    }
    let mut found: Vec<SocketSample> = Vec::new();
    let mut requests: HashMap<(u64, SocketAddr), u64> = HashMap::new();
    let mut sieve =
        Sieve { filter: &asked.filter, family: asked.family, owners, needs_owner: asked.looks_for_owners() };
    problems.extend(teller.walk(asked, &mut |socket| {
        if socket.state == TcpState::NewSynRecv {
            *requests.entry((socket.netns, socket.local)).or_default() += 1;
        }
        found.extend(sieve.pass(socket));
        ControlFlow::Continue(())
    }));
    warn(&problems, asked);
    found.sort_by_key(|socket| (socket.netns, socket.local));
    let listeners: Vec<Value> = found
        .iter()
        .map(|socket| {
            let owner = sieve
                .owners
                .of(socket)
                .map_or_else(|| Owner { pid: socket.pid, ..Owner::default() }, Owner::from);
            listener(socket, &owner, teller, half_open(socket, &found, &requests))
        })
        .collect();
    Ok(json!({"at": timestamp(SystemTime::now()), "listeners": listeners, "netns": [], "problems": problems}))
}

fn listener(socket: &SocketSample, owner: &Owner, teller: &Teller, half_open: u64) -> Value {
    let (local, mapped) = address(socket.local);
    // Queues of a listener are in the same places as those of a connection, and netlink leaves them out.
    let (length, limit) =
        if teller.knows_details() { (socket.recv_queue, socket.send_queue) } else { (None, None) };
    json!({
        "local": local, "mapped": mapped, "v6_only": null, "netns": socket.netns, "owner": owner,
        "accept_queue": {"length": length, "limit": limit},
        "syn_queue": {"length": half_open, "limit": limit, "young": null, "stuck": null},
        "drops": null, "synack_retransmits": null,
    })
}

/// Half-open requests of a listener: those to its address, or to any that no other listener on the port has.
fn half_open(socket: &SocketSample, all: &[SocketSample], requests: &HashMap<(u64, SocketAddr), u64>) -> u64 {
    let port = socket.local.port();
    let has_own = |ip: IpAddr| {
        all.iter().any(|other| other.netns == socket.netns && other.local == SocketAddr::new(ip, port))
    };
    requests
        .iter()
        .filter(|((netns, local), _)| {
            *netns == socket.netns
                && local.port() == port
                && (local.ip() == socket.local.ip()
                    || (socket.local.ip().is_unspecified() && !has_own(local.ip())))
        })
        .map(|(_, count)| count)
        .sum()
}

fn print(out: &mut dyn Write, listeners: &[Value], asked: &Asked) -> Result<()> {
    let queue = |told: &Value| bar(told["length"].as_u64(), told["limit"].as_u64());
    let mut lines = vec![["local", "accept queue", "syn queue", "drops", "owner", "netns"].map(String::from)];
    lines.extend(listeners.iter().map(|listener| {
        [
            listener["local"].as_str().unwrap_or("?").to_owned(),
            queue(&listener["accept_queue"]),
            queue(&listener["syn_queue"]),
            drops(&listener["drops"]),
            owner(&listener["owner"]),
            listener["netns"].as_u64().map_or_else(|| "?".into(), |netns| netns.to_string()),
        ]
    }));
    let mut widths = [0; 6];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    // What there is no room for goes, the namespace first; what identifies a listener stays.
    let mut columns = vec![0, 1, 2, 3, 4, 5];
    for dispensable in [5, 2] {
        let line: usize = columns.iter().map(|column| widths[*column] + 2).sum();
        if asked.width.is_some_and(|width| line > width + 2) {
            columns.retain(|column| *column != dispensable);
        }
    }
    for line in lines.iter().skip(usize::from(!asked.has_header)) {
        let mut text = String::new();
        for column in &columns {
            let width = widths[*column] + 2;
            text += &line[*column];
            text.extend(std::iter::repeat_n(' ', width - line[*column].chars().count()));
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// All drops, and by cause.
fn drops(told: &Value) -> String {
    let Some(total) = told["total"].as_u64() else { return "?".into() };
    let causes = [
        ("accept_queue_syn", "accept-queue-syn"),
        ("accept_queue_ack", "accept-queue-ack"),
        ("syn_queue", "syn-queue"),
        ("other", "other"),
        ("unknown", "unknown"),
    ];
    let parts: Vec<String> = causes
        .iter()
        .filter_map(|(field, name)| Some((told[*field].as_u64().filter(|count| *count > 0)?, name)))
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    if parts.is_empty() { total.to_string() } else { format!("{total} ({})", parts.join(", ")) }
}

fn owner(told: &Value) -> String {
    if told["kernel"] == true {
        return KERNEL.into();
    }
    let pid = told["pid"].as_u64().map(|pid| format!("[{pid}]")).unwrap_or_default();
    let process = told["process"].as_str().unwrap_or_default();
    let process: String = process.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let container = place::word(told).map(|word| format!(" {word}")).unwrap_or_default();
    let owner = format!("{process}{pid}{container}");
    if owner.is_empty() { "-".into() } else { owner }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_told_by_cause_and_unknown_ones_are_not_none() {
        let told = json!({"accept_queue_syn": 7, "accept_queue_ack": 0, "syn_queue": 2, "other": 0, "unknown": 0,
            "total": 9});
        assert_eq!(drops(&told), "9 (7 accept-queue-syn, 2 syn-queue)");
        assert_eq!(drops(&json!({"total": 0})), "0");
        assert_eq!(drops(&Value::Null), "?");
    }

    #[test]
    fn owners_are_as_known_as_they_are() {
        assert_eq!(owner(&json!({"pid": 7, "process": "we\u{1b}b"})), "we?b[7]");
        let id = "0123456789abcdef";
        assert_eq!(owner(&json!({"pid": 7, "process": null, "container": id})), "[7] 0123456789ab");
        assert_eq!(owner(&Value::Null), "-");
    }

    #[test]
    fn requests_belong_to_the_listener_of_their_address() {
        let end = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let listener = |local: &str| SocketSample::new(1, TcpState::Listen, end(local), end("0.0.0.0:0"));
        let (any, one) = (listener("0.0.0.0:80"), listener("10.0.0.1:80"));
        let requests = HashMap::from([
            ((1, end("10.0.0.1:80")), 2),
            ((1, end("10.0.0.2:80")), 3),
            ((2, end("10.0.0.1:80")), 9),
        ]);
        let all = [any, one];
        assert_eq!(half_open(&one, &all, &requests), 2);
        assert_eq!(half_open(&any, &all, &requests), 3);
        assert_eq!(half_open(&any, &[any], &requests), 5);
    }
}
