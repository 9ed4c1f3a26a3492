//! Who: owners, listeners, remote ends, findings. The most important first, and never more than a few.

use std::cmp::Reverse;
use std::time::Duration;

use tcpwatch_common::TcpState;

use super::{NO_EBPF, NO_SAMPLE, NO_SURVEY, Value};
use crate::explain::facts::Facts;
use crate::explain::show;
use crate::finding::Kind;
use crate::sample::memory::{self, Owned};
use crate::sample::{Group, ListenerSample, Memory, RemoteSample, Sample, SourceKind, Survey, Trouble};

/// Lines that a list has at the most.
const MOST: usize = 8;

pub fn value(name: &str, args: &[&str], facts: &Facts) -> Option<Value> {
    Some(match (name, args) {
        ("owners", [state]) => {
            let state = TcpState::parse(state)?;
            groups(facts, |group| group.state == state)
        }
        ("troubled", [trouble]) => {
            let trouble = match *trouble {
                "unacknowledged" => Trouble::Unacknowledged,
                "no_keepalive" => Trouble::NoKeepalive,
                "peer_window_zero" => Trouble::PeerWindowZero,
                "own_window_zero" => Trouble::OwnWindowZero,
                _ => return None,
            };
            groups(facts, |group| group.trouble == trouble)
        }
        ("memory_owners", []) => memory_owners(facts),
        ("unread", []) => groups(facts, |group| group.unread > 0),
        ("listeners", []) => listeners(facts),
        ("remotes", []) => remotes(facts),
        ("ports", []) => ports(facts),
        ("findings", []) => findings(facts, None),
        ("findings", [kind]) => {
            let kind = Kind::ALL.into_iter().find(|one| one.name() == *kind)?;
            findings(facts, Some(kind))
        }
        _ => return None,
    })
}

fn list(mut lines: Vec<String>, none: &str) -> Value {
    let more = lines.len().saturating_sub(MOST);
    lines.truncate(MOST);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    if lines.is_empty() {
        lines.push(none.into());
    }
    Value::List(lines)
}

/// A process as pages name it.
fn owner(sample: &Sample, pid: Option<u32>) -> String {
    let Some(pid) = pid else { return "owner unknown".into() };
    let process = sample.processes.get(&pid);
    let ended = if process.is_some_and(|process| process.exited) { ", which has ended" } else { "" };
    if process.is_some_and(|process| process.is_kernel()) {
        return "the kernel itself".into();
    }
    match process.and_then(|process| process.command.as_deref()) {
        Some(command) => format!("{command}[{pid}]{ended}"),
        None => format!("process {pid}{ended}"),
    }
}

/// The owner of a group, or the container that it was made in.
fn of_group(sample: &Sample, group: &Group) -> String {
    match sample.owner(group) {
        Some(place) if group.pid.is_none() => place.to_string(),
        _ => owner(sample, group.pid),
    }
}

/// Who has TCP's memory.
fn memory_owners(facts: &Facts) -> Value {
    let Some(sample) = &facts.sample else { return Value::unknown(NO_SAMPLE) };
    let surveys = surveys(facts);
    if surveys.is_empty() {
        return no_survey(sample);
    }
    let line = |owned: Owned| {
        let who = owned.owner.as_ref().map_or_else(|| "owner unknown".into(), ToString::to_string);
        let Memory { send, receive, reserved } = owned.memory;
        format!(
            "{who}: {} to be sent, {} not read, {} set aside; {} of it in connections not yet accepted",
            show::bytes(send),
            show::bytes(receive),
            show::bytes(reserved),
            show::bytes(owned.unaccepted)
        )
    };
    let owners = memory::by_owner(sample, surveys.iter().flat_map(|survey| &survey.groups));
    list(owners.into_iter().map(line).collect(), "none at the last look")
}

fn surveys(facts: &Facts) -> Vec<&Survey> {
    facts.chosen().filter_map(|namespace| namespace.survey.as_deref()).collect()
}

fn no_survey(sample: &Sample) -> Value {
    match sample.source {
        SourceKind::Ebpf => Value::unknown("no walk over the sockets has looked at owners and ages yet"),
        SourceKind::Netlink => Value::unknown(NO_SURVEY),
    }
}

fn groups(facts: &Facts, wanted: impl Fn(&Group) -> bool) -> Value {
    let Some(sample) = &facts.sample else { return Value::unknown(NO_SAMPLE) };
    let surveys = surveys(facts);
    if surveys.is_empty() {
        return no_survey(sample);
    }
    let mut found: Vec<&Group> =
        surveys.iter().flat_map(|survey| &survey.groups).filter(|group| wanted(group)).collect();
    found.sort_by_key(|group| Reverse(group.count));
    let lines = found.into_iter().map(|group| group_line(sample, group)).collect();
    list(lines, "none at the last look")
}

fn group_line(sample: &Sample, group: &Group) -> String {
    let owner = of_group(sample, group);
    let mut parts = vec![format!("{owner}: {} on port {}", group.count, group.port)];
    if group.oldest > Duration::ZERO {
        parts.push(format!("the oldest for {}", show::seconds(group.oldest.as_secs_f64())));
    }
    if group.unknown_age > 0 {
        parts.push(format!("{} of unknown age", group.unknown_age));
    }
    if group.never_accepted {
        parts.push("never accepted".into());
    }
    if group.orphan {
        parts.push("closed by their process".into());
    }
    if group.unread_bytes > 0 {
        parts.push(format!("{} not read", show::bytes(group.unread_bytes)));
    }
    if group.unsent_bytes > 0 {
        parts.push(format!("{} not acknowledged", show::bytes(group.unsent_bytes)));
    }
    format!("{} (such as {} to {})", parts.join(", "), group.example.local, group.example.remote)
}

fn listeners(facts: &Facts) -> Value {
    let Some(sample) = &facts.sample else { return Value::unknown(NO_SAMPLE) };
    let mut found: Vec<&ListenerSample> =
        sample.listeners.iter().filter(|one| facts.netns.is_none_or(|netns| netns == one.netns)).collect();
    if found.is_empty() && facts.counts[TcpState::Listen.index()] != Some(0) {
        return Value::unknown("the queues of listeners were not read");
    }
    found.sort_by_key(|one| Reverse((one.drops, one.accept_queue, one.syn_queue)));
    let line = |one: &&ListenerSample| {
        let syn = one.syn_queue.map_or_else(|| "unknown".into(), |length| length.to_string());
        format!(
            "{} of {}: accept queue {} of {}, half-open requests {syn}, {} drops",
            one.local,
            owner(sample, one.pid),
            one.accept_queue,
            one.accept_limit,
            one.drops
        )
    };
    list(found.iter().map(line).collect(), "nobody listens")
}

fn remotes(facts: &Facts) -> Value {
    let Some(sample) = &facts.sample else { return Value::unknown(NO_SAMPLE) };
    let mut found: Vec<&RemoteSample> =
        sample.remotes.iter().filter(|one| facts.netns.is_none_or(|netns| netns == one.netns)).collect();
    if found.is_empty() {
        let had_trouble = sample.host.as_ref().is_none_or(|host| {
            host.retransmits.iter().sum::<u64>() + host.resets_sent + host.resets_received > 0
        });
        return match (sample.source, had_trouble) {
            (SourceKind::Netlink, _) => Value::unknown(NO_EBPF),
            (_, true) => Value::unknown("remote ends were not told apart"),
            _ => Value::List(vec!["none: nothing was sent again or reset since tcpwatch runs".into()]),
        };
    }
    let trouble = |one: &RemoteSample| {
        let counts = &one.counts;
        let failures: u64 = counts.failures.iter().sum();
        counts.data() + counts.syn + counts.synack + counts.resets_sent + counts.resets_received + failures
    };
    found.sort_by_key(|one| Reverse(trouble(one)));
    let line = |one: &&RemoteSample| {
        let (role, counts) = (if one.is_client { "client of port" } else { "port" }, &one.counts);
        format!(
            "{} {role} {}: sent again {} data, {} SYN, {} SYN-ACK; resets {} sent, {} received; {} failed connects",
            one.address,
            one.port,
            counts.data(),
            counts.syn,
            counts.synack,
            counts.resets_sent,
            counts.resets_received,
            counts.failures.iter().sum::<u64>()
        )
    };
    list(found.iter().map(line).collect(), "none")
}

fn ports(facts: &Facts) -> Value {
    let Some(sample) = &facts.sample else { return Value::unknown(NO_SAMPLE) };
    let surveys = surveys(facts);
    if surveys.is_empty() {
        return no_survey(sample);
    }
    let mut tuples: Vec<_> = surveys.iter().flat_map(|survey| &survey.tuples).collect();
    tuples.sort_by_key(|tuple| Reverse(tuple.used));
    let line = |tuple: &&crate::sample::Tuple| {
        format!(
            "{} to {}: {} ports, {} of them TIME_WAIT",
            tuple.local, tuple.remote, tuple.used, tuple.time_wait
        )
    };
    list(tuples.iter().map(line).collect(), "no destination uses many ports")
}

fn findings(facts: &Facts, kind: Option<Kind>) -> Value {
    let Some(findings) = &facts.findings else {
        return match facts.sample.as_ref().map(|sample| sample.source) {
            Some(SourceKind::Ebpf) => Value::unknown("nothing has looked for what is wrong yet"),
            _ => Value::unknown("only the daemon looks for what is wrong: `tcpwatch run`"),
        };
    };
    let open = findings.iter().filter(|one| one.closed.is_none());
    let open = open.filter(|one| kind.is_none_or(|kind| one.seen.kind == kind));
    let open = open
        .filter(|one| facts.netns.is_none_or(|netns| one.seen.subject.netns.is_none_or(|own| own == netns)));
    let mut open: Vec<_> = open.collect();
    open.sort_by_key(|one| (Reverse(one.seen.severity), one.since));
    let line = |one: &&crate::finding::Finding| {
        format!("{} ({}): {}", one.seen.kind.name(), one.seen.severity.name(), one.seen.summary)
    };
    list(open.iter().map(line).collect(), "nothing found")
}
