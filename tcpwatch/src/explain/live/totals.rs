//! What the eBPF programs and the kernel have counted.

use tcpwatch_common::TcpState;
use tcpwatch_common::cause::Cause;
use tcpwatch_common::histogram::{self, BUCKETS, Histogram};
use tcpwatch_common::host::{HostCounters, Retransmit, Role};

use super::{NO_EBPF, NO_SAMPLE, NO_SURVEY, Value};
use crate::explain::facts::Facts;
use crate::explain::show;
use crate::sample::counters::NetCounters;
use crate::sample::{Sample, SourceKind};

pub fn value(name: &str, args: &[&str], facts: &Facts) -> Option<Value> {
    let sample = facts.sample.as_deref();
    let host = |value: &dyn Fn(&HostCounters) -> Value| match sample.and_then(|sample| sample.host.as_deref())
    {
        Some(host) => value(host),
        None => Value::unknown(NO_EBPF),
    };
    Some(match (name, args) {
        ("durations", [state]) => {
            let state = TcpState::parse(state)?;
            host(&|host| durations(&host.time_in_state[state.index()]))
        }
        ("handshakes", [role]) => {
            let role = role_of(role)?;
            host(&|host| durations(&host.handshake[role as usize]))
        }
        ("lifetimes", [role]) => {
            let role = role_of(role)?;
            host(&|host| durations(&host.lifetime[role as usize]))
        }
        ("ends", [cause]) => {
            let cause = Cause::ALL.into_iter().find(|one| one.name() == *cause)?;
            host(&|host| Value::known(host.endings.iter().map(|row| row[cause as usize]).sum::<u64>()))
        }
        ("ends_in", [state]) => {
            let state = TcpState::parse(state)?;
            host(&|host| Value::known(endings(&host.endings[state.index()])))
        }
        ("retransmits", [kind]) => {
            let kind = Retransmit::ALL.into_iter().find(|one| one.name() == *kind)?;
            host(&|host| Value::known(host.retransmits[kind as usize]))
        }
        ("resets", ["sent"]) => host(&|host| Value::known(host.resets_sent)),
        ("resets", ["received"]) => host(&|host| Value::known(host.resets_received)),
        ("resets", ["no_socket"]) => host(&|host| Value::known(host.resets_sent_no_socket)),
        ("reset_reasons", []) => sample.map_or_else(|| Value::unknown(NO_SAMPLE), reset_reasons),
        ("trust", ["illegal"]) => host(&|host| Value::known(host.illegal)),
        ("trust", ["gaps"]) => host(&|host| Value::known(host.gaps)),
        ("trust", ["recovered"]) => host(&|host| Value::known(host.nested)),
        ("trust", ["untracked"]) => host(&|host| Value::known(host.untracked)),
        ("trust", ["ungrouped"]) => host(&|_| Value::or(sample.and_then(Sample::ungrouped), NO_SURVEY)),
        ("trust", ["missed"]) => host(&|_| Value::or(sample.map(Sample::missed_transitions), NO_SAMPLE)),
        ("trust", ["mptcp"]) => host(&|host| Value::known(host.mptcp.iter().sum::<u64>())),
        ("counter", [name]) => counter(name, facts)?,
        ("source", []) => match sample.map(|sample| sample.source) {
            Some(SourceKind::Ebpf) => Value::known("eBPF programs that count every transition"),
            Some(SourceKind::Netlink) => Value::known("netlink: numbers of sockets by state, no transitions"),
            None => Value::unknown(NO_SAMPLE),
        },
        _ => return None,
    })
}

fn role_of(name: &str) -> Option<Role> {
    Role::ALL.into_iter().find(|role| role.name() == name)
}

/// What bounds the buckets can tell: half and nearly all of them.
fn durations(histogram: &Histogram) -> Value {
    let count: u64 = histogram.buckets.iter().sum();
    if count == 0 {
        return Value::known("none ended since tcpwatch runs");
    }
    let below = |share: u64| {
        let mut seen = 0;
        let place = histogram.buckets.iter().position(|bucket| {
            seen += bucket;
            seen * 100 >= count * share
        });
        match histogram::upper_bound(place.unwrap_or(BUCKETS - 1)) {
            Some(bound) => format!("below {}", show::seconds(bound)),
            None => "three days and longer".into(),
        }
    };
    Value::known(format!("half of them {}, 99 % {}, of {count}", below(50), below(99)))
}

fn endings(row: &[u64; Cause::COUNT]) -> String {
    let some: Vec<String> = Cause::ALL
        .into_iter()
        .filter(|cause| row[*cause as usize] > 0)
        .map(|cause| format!("{} {}", row[cause as usize], cause.name()))
        .collect();
    if some.is_empty() { "none since tcpwatch runs".into() } else { some.join(", ") }
}

fn reset_reasons(sample: &Sample) -> Value {
    let mut reasons: Vec<&(String, u64)> =
        sample.reset_reasons.iter().filter(|(_, count)| *count > 0).collect();
    if reasons.is_empty() {
        return match &sample.host {
            Some(host) if host.resets_sent == 0 => Value::known("none sent"),
            Some(_) => {
                Value::unknown("this kernel does not say why it sends a reset; Linux 6.10 and later do")
            }
            None => Value::unknown(NO_EBPF),
        };
    }
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let text: Vec<String> = reasons.iter().map(|(name, count)| format!("{count} {name}")).collect();
    Value::known(text.join(", "))
}

/// A counter by the kernel's name for it; `None` if there is none of this name.
fn counter(name: &str, facts: &Facts) -> Option<Value> {
    let is_it = |column: &(&str, Option<u64>)| column.0 == name;
    NetCounters::default().columns().find(is_it)?;
    let Some(namespace) = facts.namespace() else { return Some(Value::unknown(NO_SAMPLE)) };
    let Some(counters) = &namespace.counters else {
        return Some(Value::unknown("the kernel's counters of this network namespace were not read"));
    };
    let value = counters.columns().find(is_it).and_then(|(_, value)| value);
    Some(Value::or(value, "this kernel does not count it"))
}
