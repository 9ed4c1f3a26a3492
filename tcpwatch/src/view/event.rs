//! Facts told one by one: a line of `tcpwatch trace --json`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tcpwatch_common::event::{Event, Kind, UNKNOWN};
use tcpwatch_common::host::Retransmit;
use tcpwatch_common::{Cause, TcpState, judge};

use super::owner::Owner;
use crate::process::Process;
use tcpwatch_common::socket::KERNEL_PID;

/// One fact.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    pub at: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<&'static str>,
    /// Why the socket ended, if the transition is an ending.
    pub cause: Option<&'static str>,
    /// State of the socket, where nothing changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    /// State in which the socket should have been, for a gap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<&'static str>,
    /// Of a retransmit: what was sent again.
    #[serde(rename = "kind", skip_serializing_if = "Option::is_none")]
    pub what: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<&'static str>,
    /// Of a sent reset: the kernel's reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub local: String,
    pub remote: String,
    pub netns: u32,
    pub family: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mapped: bool,
    /// Seconds in the old state.
    pub in_state: Option<f64>,
    /// Its number and name, as the event told them: nobody looks further while events come.
    pub owner: Owner,
    pub cookie: String,
}

/// What turns kernel numbers into what people read.
pub struct Context<'a> {
    /// Wall clock time at the monotonic clock's zero.
    pub boot: SystemTime,
    pub reset_reasons: &'a [String],
    /// Command names of processes, where the event itself does not carry one.
    pub process: &'a dyn Fn(u32) -> Option<String>,
}

/// What people see of `event`; `None` if it makes no sense, which this build of the programs never writes.
pub fn view(event: &Event, context: &Context<'_>) -> Option<View> {
    let kind = Kind::from_raw(event.kind)?;
    let old = TcpState::from_kernel(event.old.into());
    let new = TcpState::from_kernel(event.new.into());
    let changes = matches!(kind, Kind::Transition | Kind::Gap);
    let local = Ipv6Addr::from(event.local);
    let remote = Ipv6Addr::from(event.remote);
    let mapped = event.family == 6 && (local.to_ipv4_mapped().is_some() || remote.to_ipv4_mapped().is_some());
    Some(View {
        at: super::timestamp(context.boot + Duration::from_nanos(event.at)),
        kind: match kind {
            Kind::Transition => "transition",
            Kind::Retransmit => "retransmit",
            Kind::ResetSent | Kind::ResetReceived => "reset",
            Kind::Gap => "gap",
        },
        from: old.filter(|_| changes).map(TcpState::name),
        to: new.filter(|_| changes).map(TcpState::name),
        verdict: old.zip(new).filter(|_| changes).map(|(old, new)| judge(old, new).verdict.name()),
        cause: (kind == Kind::Transition).then(|| Cause::from_raw(event.what)).flatten().map(Cause::name),
        state: old.filter(|_| !changes).map(TcpState::name),
        expected: (kind == Kind::Gap)
            .then(|| TcpState::from_kernel(event.what.into()))
            .flatten()
            .map(TcpState::name),
        what: (kind == Kind::Retransmit)
            .then(|| Retransmit::ALL.get(usize::from(event.what)))
            .flatten()
            .map(|what| what.name()),
        direction: match kind {
            Kind::ResetSent => Some("sent"),
            Kind::ResetReceived => Some("received"),
            _ => None,
        },
        reason: (kind == Kind::ResetSent).then(|| reason(event.detail, context.reset_reasons)).flatten(),
        local: address(local, event.local_port),
        remote: address(remote, event.remote_port),
        netns: event.netns,
        family: if event.family == 4 || mapped { "ipv4" } else { "ipv6" },
        mapped,
        in_state: (event.in_state != UNKNOWN).then(|| Duration::from_nanos(event.in_state).as_secs_f64()),
        owner: owner(event, context),
        cookie: format!("{:016x}", event.socket),
    })
}

/// An address with its port; v4-mapped ones are shown as IPv4.
pub fn address(address: Ipv6Addr, port: u16) -> String {
    let ip = address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4);
    SocketAddr::new(ip, port).to_string()
}

fn reason(number: u32, names: &[String]) -> Option<String> {
    let name = names.get(usize::try_from(number).ok()?)?;
    (!name.is_empty()).then(|| name.clone())
}

fn owner(event: &Event, context: &Context<'_>) -> Owner {
    if event.owner == 0 || event.pid == 0 {
        return Owner::default();
    }
    if event.pid == KERNEL_PID {
        return Owner::from(&Process::kernel());
    }
    let length = event.comm.iter().position(|byte| *byte == 0).unwrap_or(event.comm.len());
    let comm = String::from_utf8_lossy(&event.comm[..length]).into_owned();
    let process = if comm.is_empty() { (context.process)(event.pid) } else { Some(comm) };
    Owner { pid: Some(event.pid), process, ..Owner::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(event: &Event) -> Option<View> {
        let reasons = vec!["not_specified".to_owned(), String::new(), "tcp_abort_on_close".to_owned()];
        let process = |pid: u32| (pid == 7).then(|| "known".to_owned());
        let context = Context { boot: SystemTime::UNIX_EPOCH, reset_reasons: &reasons, process: &process };
        view(event, &context)
    }

    fn ending() -> Event {
        let mut event = Event {
            at: 1_500_000_000,
            in_state: 2_000_000,
            kind: 1,
            old: 1,
            new: 7,
            what: 1,
            family: 6,
            local_port: 80,
            remote_port: 4000,
            ..Event::default()
        };
        event.local[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 1]);
        event.remote[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 2]);
        event
    }

    #[test]
    fn an_ending_has_verdict_cause_and_addresses() {
        let view = shown(&ending()).expect("a transition");
        assert_eq!((view.kind, view.from, view.to), ("transition", Some("established"), Some("close")));
        assert_eq!((view.verdict, view.cause), (Some("rfc"), Some("reset_received")));
        assert_eq!((view.local.as_str(), view.remote.as_str()), ("10.0.0.1:80", "10.0.0.2:4000"));
        assert_eq!((view.family, view.mapped, view.in_state), ("ipv4", true, Some(0.002)));
        assert_eq!(view.at, "1970-01-01T00:00:01.500Z");
        assert_eq!(view.owner, Owner::default());
    }

    #[test]
    fn an_owner_is_named_by_the_event_or_looked_up_or_unknown() {
        let mut event = Event { owner: 1, pid: 9, ..ending() };
        event.comm[..4].copy_from_slice(b"curl");
        assert_eq!(shown(&event).expect("valid").owner.process.as_deref(), Some("curl"));
        let remembered = Event { owner: 2, pid: 7, ..ending() };
        assert_eq!(shown(&remembered).expect("valid").owner.process.as_deref(), Some("known"));
        let interrupted = Event { owner: 0, pid: 7, ..ending() };
        assert_eq!(shown(&interrupted).expect("valid").owner.pid, None);
    }

    #[test]
    fn unknown_is_null_and_nonsense_is_nothing() {
        let event = Event { in_state: UNKNOWN, what: 0xff, ..ending() };
        let view = shown(&event).expect("valid");
        assert_eq!((view.in_state, view.cause), (None, None));
        assert_eq!(shown(&Event { kind: 99, ..ending() }), None);
        let reset = Event { kind: 3, detail: 2, ..ending() };
        assert_eq!(shown(&reset).expect("valid").reason.as_deref(), Some("tcp_abort_on_close"));
        assert_eq!(shown(&Event { detail: 77, ..reset }).expect("valid").reason, None);
    }
}
