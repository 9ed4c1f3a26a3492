//! `-s --by`: sockets by state, counted apart for each process, container, remote address, listener, namespace or user.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::net::IpAddr;
use std::ops::ControlFlow;

use anyhow::Result;
use serde_json::{Map, Value, json};
use tcpwatch_common::TcpState;

use super::asked::Asked;
use super::list::{Names, Sieve};
use super::owners::Owners;
use super::{By, Kept, NetstatArgs, warn};
use crate::cli::Outcome;
use crate::filter::Filter;
use crate::process::{KERNEL, Pod};
use crate::sample::SocketSample;

/// Groups that are told apart: remote addresses can be as many as there are sockets.
const MOST: usize = 100_000;

/// Where sockets go that have no room of their own.
const OTHER: &str = "(other)";
const UNKNOWN: &str = "(unknown)";

/// Groups that are shown, if nobody says how many.
const SHOWN: usize = 50;

/// By [`TcpState::index`]; half-open requests count as `ss` counts them.
type Counts = [u64; TcpState::COUNT];

/// Listening ports of each namespace, with their addresses.
type Listening = HashMap<(u64, u16), BTreeSet<IpAddr>>;

#[derive(Default)]
struct Groups {
    counts: HashMap<String, Counts>,
    total: u64,
}

impl Groups {
    fn add(&mut self, key: &str, state: TcpState) {
        let state = if state == TcpState::NewSynRecv { TcpState::SynRecv } else { state };
        self.total += 1;
        if let Some(counts) = self.counts.get_mut(key) {
            counts[state.index()] += 1;
            return;
        }
        let key = if self.counts.len() < MOST { key } else { OTHER };
        self.counts.entry(key.to_owned()).or_default()[state.index()] += 1;
    }

    /// Those with the most sockets first.
    fn sorted(self) -> Vec<(String, Counts)> {
        let mut all: Vec<(String, Counts)> = self.counts.into_iter().collect();
        all.sort_by(|(one, few), (other, many)| sum(many).cmp(&sum(few)).then_with(|| one.cmp(other)));
        all
    }
}

fn sum(counts: &Counts) -> u64 {
    counts.iter().sum()
}

/// Counts what is asked for, and prints it.
pub(super) fn groups(
    args: &NetstatArgs,
    asked: &Asked,
    kept: &mut Kept,
    out: &mut dyn Write,
) -> Result<Outcome> {
    let Kept { teller: Some(teller), owners, .. } = kept else { return Ok(Outcome::Fine) };
    owners.begin();
    let needs_owner = asked.looks_for_owners();
    let mut problems = Vec::new();
    if needs_owner && !teller.knows_owners() {
        problems.extend(owners.look());
    }
    let names = teller.names();
    let mut listening = Listening::new();
    if args.by == Some(By::Listener) {
        let listen = Filter::test(crate::filter::Word::State, "listen")?;
        problems.extend(teller.walk(asked, &mut |socket| {
            let facts = crate::filter::SocketFacts::new(socket, None, None);
            if listen.matches(&facts) {
                let key = (socket.netns, socket.local.port());
                listening.entry(key).or_default().insert(socket.local.ip());
            }
            ControlFlow::Continue(())
        }));
    }
    let mut groups = Groups::default();
    let mut key = String::new();
    let mut sieve = Sieve { filter: &asked.filter, family: asked.family, owners, needs_owner };
    problems.extend(teller.walk(asked, &mut |socket| {
        if let Some(socket) = sieve.pass(socket) {
            key.clear();
            name(&mut key, args.by, &socket, sieve.owners, &names, &listening);
            groups.add(&key, socket.state);
        }
        ControlFlow::Continue(())
    }));
    warn(&problems, asked);
    let total = groups.total;
    let limit = args.limit.unwrap_or(if args.json { usize::MAX } else { SHOWN });
    let all = groups.sorted();
    if args.json {
        let shown: Vec<Value> = all.iter().take(limit).map(|(key, counts)| object(key, counts)).collect();
        let by = args.by.map(by_name);
        let answer = json!({"by": by, "total": total, "groups": shown, "truncated": shown.len() < all.len(), "problems": problems});
        writeln!(out, "{answer}")?;
    } else {
        print(out, args.by.map_or("", by_name), &all, limit)?;
    }
    Ok(asked.outcome(total))
}

const fn by_name(by: By) -> &'static str {
    match by {
        By::Process => "process",
        By::Container => "container",
        By::Peer => "peer",
        By::Listener => "listener",
        By::Netns => "netns",
        By::User => "user",
    }
}

/// What the group of a socket is called.
fn name(
    key: &mut String,
    by: Option<By>,
    socket: &SocketSample,
    owners: &Owners,
    names: &Names,
    listening: &Listening,
) {
    use std::fmt::Write as _;
    let owner = owners.of(socket);
    let written = match by {
        None => write!(key, "all"),
        Some(By::Process) if socket.is_kernels() => write!(key, "{KERNEL}"),
        Some(By::Process) => match (owner.and_then(|owner| owner.command.as_deref()), socket.pid) {
            (Some(command), Some(pid)) => write!(key, "{command}[{pid}]"),
            (None, Some(pid)) => write!(key, "[{pid}]"),
            _ => write!(key, "{UNKNOWN}"),
        },
        Some(By::Container) => match owner.map(|owner| owner.container.as_ref()) {
            Some(Some(container)) => match (container.pod.as_ref().and_then(Pod::path), &container.name) {
                (Some(pod), Some(name)) => write!(key, "{pod}/{name}"),
                (Some(pod), None) => write!(key, "{pod}"),
                (None, _) => write!(key, "{}", container.id),
            },
            Some(None) => write!(key, "(none)"),
            None => write!(key, "{UNKNOWN}"),
        },
        Some(By::Peer) if socket.remote.port() == 0 => write!(key, "(none)"),
        Some(By::Peer) => write!(key, "{}", socket.remote.ip()),
        Some(By::Listener) => {
            let (ip, port) = (socket.local.ip(), socket.local.port());
            let found = listening
                .get(&(socket.netns, port))
                .and_then(|all| all.get(&ip).or_else(|| all.iter().find(|address| address.is_unspecified())));
            match found {
                Some(address) => write!(key, "{}", std::net::SocketAddr::new(*address, port)),
                None => write!(key, "(no listener)"),
            }
        }
        Some(By::Netns) => match names.get(&socket.netns) {
            Some(name) => write!(key, "{name}"),
            None => write!(key, "{}", socket.netns),
        },
        Some(By::User) => match (owners.user(socket), socket.uid) {
            (Some(user), _) => write!(key, "{user}"),
            (None, Some(uid)) => write!(key, "{uid}"),
            _ => write!(key, "{UNKNOWN}"),
        },
    };
    // Writing into memory cannot fail.
    let _ = written;
}

fn object(key: &str, counts: &Counts) -> Value {
    let states: Map<String, Value> =
        TcpState::RFC.iter().map(|state| (state.name().into(), counts[state.index()].into())).collect();
    json!({"key": key, "total": sum(counts), "states": states})
}

/// A line for each group, a column for each state that there is.
fn print(out: &mut dyn Write, by: &str, all: &[(String, Counts)], limit: usize) -> Result<()> {
    let states: Vec<TcpState> = TcpState::RFC
        .into_iter()
        .filter(|state| all.iter().any(|(_, counts)| counts[state.index()] > 0))
        .collect();
    let shown = &all[..all.len().min(limit)];
    let width = shown.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0).max(by.len()).max(7);
    write!(out, "{by:<width$} {:>9}", "total")?;
    for state in &states {
        write!(out, " {:>11}", state.name())?;
    }
    writeln!(out)?;
    let mut line = |key: &str, counts: &Counts| -> Result<()> {
        let key: String = key.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        write!(out, "{key:<width$} {:>9}", sum(counts))?;
        for state in &states {
            write!(out, " {:>11}", counts[state.index()])?;
        }
        writeln!(out)?;
        Ok(())
    };
    for (key, counts) in shown {
        line(key, counts)?;
    }
    if all.len() > 1 {
        let mut total = Counts::default();
        for (_, counts) in all {
            total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        }
        line("(all)", &total)?;
    }
    if shown.len() < all.len() {
        writeln!(out, "\n{} of {} groups are shown: --limit shows more", shown.len(), all.len())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_counted_and_the_largest_come_first() {
        let mut groups = Groups::default();
        for (key, state) in [
            ("a", TcpState::Established),
            ("b", TcpState::NewSynRecv),
            ("b", TcpState::SynRecv),
            ("b", TcpState::CloseWait),
        ] {
            groups.add(key, state);
        }
        assert_eq!(groups.total, 4);
        let all = groups.sorted();
        let mut out = Vec::new();
        print(&mut out, "process", &all, 1).expect("writes to memory");
        let text = String::from_utf8(out).expect("UTF-8");
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["process", "total", "established", "syn_recv", "close_wait"]);
        assert_eq!(lines[1], ["b", "3", "0", "2", "1"]);
        assert_eq!(lines[2], ["(all)", "4", "1", "2", "1"]);
        assert!(text.contains("1 of 2 groups"), "{text}");
        assert_eq!(object("b", &all[0].1)["states"]["syn_recv"], 2);
    }

    #[test]
    fn what_has_no_room_is_other() {
        let mut groups = Groups::default();
        for number in 0..=MOST {
            groups.add(&number.to_string(), TcpState::Established);
        }
        groups.add("7", TcpState::Established);
        assert_eq!(groups.counts.len(), MOST + 1);
        assert_eq!(sum(&groups.counts[OTHER]), 1);
        assert_eq!(sum(&groups.counts["7"]), 2);
    }
}
