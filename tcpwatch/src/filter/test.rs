//! A single test: a word, its values, and whether a socket passes.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use tcpwatch_common::TcpState;
use tcpwatch_common::host::Role;

use super::facts::SocketFacts;
use super::number::{Numbers, Order};
use super::value::{Prefix, Text, Time, User, is_like};
use super::word::Word;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    State(Vec<TcpState>),
    Port(End, Numbers),
    Address(Side, Vec<Prefix>),
    /// Names that may have wildcards.
    Process(Vec<String>),
    Pid(Numbers),
    Container(Vec<String>),
    Pod(Vec<String>),
    Namespace(Vec<String>),
    Workload(Vec<String>),
    Netns(Numbers),
    OlderThan(Duration),
    Role(Vec<Role>),
    User(Vec<User>),
    /// A figure of the connection.
    Figure(Word, Numbers),
    /// A time of the connection.
    Time(Word, Order, Duration),
    /// Names of errors that may have wildcards.
    SoftError(Vec<String>),
    /// The kernel itself has it.
    Kernel,
}

/// Whose port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Either,
    Only(Side),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Local,
    Remote,
}

impl Test {
    pub(super) fn matches(&self, socket: &SocketFacts<'_>) -> bool {
        let local = Some(socket.local);
        match self {
            Self::State(states) => states.iter().any(|state| is_shown_as(socket.state, *state)),
            Self::Port(end, numbers) => {
                let (local, remote) = (*end != End::Only(Side::Remote), *end != End::Only(Side::Local));
                let has = |port: u16| numbers.contain(port.into());
                (local && has(socket.local.port()))
                    || (remote && socket.remote.is_some_and(|end| has(end.port())))
            }
            Self::Address(side, prefixes) => {
                let end = if *side == Side::Local { local } else { socket.remote };
                let has = |ip: IpAddr| prefixes.iter().any(|prefix| prefix.contains(ip));
                end.is_some_and(|end| has(end.ip()))
            }
            Self::Process(patterns) => {
                socket.process.is_some_and(|name| patterns.iter().any(|pattern| is_like(pattern, name)))
            }
            Self::Pid(numbers) => socket.pid.is_some_and(|pid| numbers.contain(pid.into())),
            Self::Container(wanted) => wanted.iter().any(|wanted| {
                socket.container.is_some_and(|id| id.starts_with(wanted.as_str()))
                    || is_called(wanted, socket.container_name)
            }),
            Self::Pod(wanted) => wanted.iter().any(|wanted| is_pod(wanted, socket)),
            Self::Namespace(wanted) => wanted.iter().any(|wanted| is_called(wanted, socket.namespace)),
            Self::Workload(wanted) => wanted.iter().any(|wanted| is_called(wanted, socket.workload)),
            Self::Netns(numbers) => numbers.contain(socket.netns),
            Self::OlderThan(limit) => socket.age.is_some_and(|age| age > *limit),
            Self::Role(roles) => socket.role.is_some_and(|role| roles.contains(&role)),
            Self::User(users) => users.iter().any(|user| match user {
                User::Name(name) => socket.user == Some(name),
                User::Uid(uid) => socket.uid == Some(*uid),
            }),
            Self::Figure(word, numbers) => socket.figure(*word).is_some_and(|figure| numbers.contain(figure)),
            Self::Time(word, order, limit) => {
                socket.time(*word).is_some_and(|time| order.holds(time, *limit))
            }
            Self::SoftError(wanted) => wanted.iter().any(|wanted| is_soft_error(wanted, socket)),
            Self::Kernel => socket.is_kernels,
        }
    }

    /// Whether it asks for what only a cluster tells.
    pub(super) const fn is_of_cluster(&self) -> bool {
        matches!(self, Self::Pod(_) | Self::Namespace(_) | Self::Workload(_))
    }

    /// The word that it is written with.
    pub(super) fn word(&self) -> Word {
        match self {
            Self::State(_) => Word::State,
            Self::Port(End::Either, _) => Word::Port,
            Self::Port(End::Only(Side::Local), _) => Word::LocalPort,
            Self::Port(End::Only(Side::Remote), _) => Word::RemotePort,
            Self::Address(Side::Local, _) => Word::Local,
            Self::Address(Side::Remote, _) => Word::Peer,
            Self::Process(_) => Word::Process,
            Self::Pid(_) => Word::Pid,
            Self::Container(_) => Word::Container,
            Self::Pod(_) => Word::Pod,
            Self::Namespace(_) => Word::Namespace,
            Self::Workload(_) => Word::Workload,
            Self::Netns(_) => Word::Netns,
            Self::OlderThan(_) => Word::OlderThan,
            Self::Role(_) => Word::Role,
            Self::User(_) => Word::User,
            Self::Figure(word, _) | Self::Time(word, ..) => *word,
            Self::SoftError(_) => Word::SoftError,
            Self::Kernel => Word::Kernel,
        }
    }
}

/// Whether a name is what the pattern says; what has none is nothing.
fn is_called(pattern: &str, name: Option<&str>) -> bool {
    name.is_some_and(|name| is_like(pattern, name))
}

/// By name, by namespace and name, or by uid.
fn is_pod(wanted: &str, socket: &SocketFacts<'_>) -> bool {
    match wanted.split_once('/') {
        Some((namespace, name)) => is_called(namespace, socket.namespace) && is_called(name, socket.pod),
        None => is_called(wanted, socket.pod) || socket.pod_uid == Some(wanted),
    }
}

/// `*` means any error, and not that there is none.
fn is_soft_error(wanted: &str, socket: &SocketFacts<'_>) -> bool {
    let is_none = socket.vitals.soft_error == Some(0);
    match socket.vitals.soft_error_name() {
        Some(name) if is_none => wanted.eq_ignore_ascii_case(&name),
        Some(name) => is_like(&wanted.to_ascii_uppercase(), &name.to_ascii_uppercase()),
        None => false,
    }
}

/// Half-open requests are shown as `syn_recv`, and can be asked for alone.
fn is_shown_as(state: TcpState, wanted: TcpState) -> bool {
    state == wanted || (state == TcpState::NewSynRecv && wanted == TcpState::SynRecv)
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(states) => list(f, "state", states.iter().map(|state| state.name())),
            Self::Port(End::Either, numbers) => write!(f, "port{numbers}"),
            Self::Port(End::Only(Side::Local), numbers) => write!(f, "sport{numbers}"),
            Self::Port(End::Only(Side::Remote), numbers) => write!(f, "dport{numbers}"),
            Self::Address(Side::Local, prefixes) => list(f, "local", prefixes.iter()),
            Self::Address(Side::Remote, prefixes) => list(f, "peer", prefixes.iter()),
            Self::Process(names) => list(f, "process", names.iter().map(|name| Text(name))),
            Self::Pid(numbers) => write!(f, "pid{numbers}"),
            Self::Container(names) => list(f, "container", names.iter().map(|name| Text(name))),
            Self::Pod(names) => list(f, "pod", names.iter().map(|name| Text(name))),
            Self::Namespace(names) => list(f, "namespace", names.iter().map(|name| Text(name))),
            Self::Workload(names) => list(f, "workload", names.iter().map(|name| Text(name))),
            Self::Netns(numbers) => write!(f, "netns{numbers}"),
            Self::OlderThan(limit) => write!(f, "older-than={}", Time(*limit)),
            Self::Role(roles) => list(f, "role", roles.iter().map(|role| role.name())),
            Self::User(users) => list(f, "user", users.iter()),
            Self::Figure(word, numbers) => write!(f, "{word}{numbers}"),
            Self::Time(word, order, limit) => write!(f, "{word}{}{}", order.sign(), Time(*limit)),
            Self::SoftError(names) => list(f, "soft-error", names.iter().map(|name| Text(name))),
            Self::Kernel => f.write_str("kernel"),
        }
    }
}

fn list(
    f: &mut fmt::Formatter<'_>,
    word: &str,
    values: impl Iterator<Item = impl fmt::Display>,
) -> fmt::Result {
    f.write_str(word)?;
    for (place, value) in values.enumerate() {
        write!(f, "{}{value}", if place == 0 { "=" } else { "," })?;
    }
    Ok(())
}
