//! Settings of the host, what follows from them, and how near its limits are.

use super::{NO_SAMPLE, Value};
use crate::explain::facts::{Facts, Setting};
use crate::explain::{show, timers};
use crate::sample::{HostLimits, Sysctls};

pub fn value(name: &str, args: &[&str], facts: &Facts) -> Option<Value> {
    Some(match (name, args) {
        ("sysctl", [name]) => match setting(facts, name) {
            Setting::Value(value) => Value::Known(value),
            other => Value::Unknown(why(&other)),
        },
        ("syn_schedule", []) => syn(facts, schedule),
        ("syn_giveup_seconds", []) => syn(facts, |schedule| show::seconds(schedule.gives_up)),
        ("synack_schedule", []) => synack(facts, schedule),
        ("synack_giveup_seconds", []) => synack(facts, |schedule| show::seconds(schedule.gives_up)),
        ("data_giveup_seconds", []) => of_retries(facts, "net.ipv4.tcp_retries2", timers::data),
        ("orphan_giveup_seconds", []) => of_retries(facts, "net.ipv4.tcp_orphan_retries", timers::orphan),
        ("keepalive_giveup_seconds", []) => keepalive(facts),
        ("memory", []) => limits(facts, memory),
        ("orphans", []) => limits(facts, |limits| Some(show::part(limits.orphans?, limits.max_orphans?))),
        ("time_wait_use", []) => time_wait(facts),
        ("ephemeral_ports", []) => ports(facts),
        _ => return None,
    })
}

/// Every setting of a sample under its full name.
pub fn named(sysctls: &Sysctls) -> Vec<(&'static str, Option<String>)> {
    // Spelled out, so that a new setting cannot be forgotten here.
    let Sysctls {
        somaxconn,
        max_syn_backlog,
        syncookies,
        synack_retries,
        syn_retries,
        retries2,
        orphan_retries,
        fin_timeout,
        max_tw_buckets,
        tw_reuse,
        abort_on_overflow,
        keepalive_time,
        keepalive_interval,
        keepalive_probes,
        port_range,
    } = sysctls;
    let number = |value: &Option<u64>| value.map(|value| value.to_string());
    vec![
        ("net.core.somaxconn", number(somaxconn)),
        ("net.ipv4.tcp_max_syn_backlog", number(max_syn_backlog)),
        ("net.ipv4.tcp_syncookies", number(syncookies)),
        ("net.ipv4.tcp_synack_retries", number(synack_retries)),
        ("net.ipv4.tcp_syn_retries", number(syn_retries)),
        ("net.ipv4.tcp_retries2", number(retries2)),
        ("net.ipv4.tcp_orphan_retries", number(orphan_retries)),
        ("net.ipv4.tcp_fin_timeout", number(fin_timeout)),
        ("net.ipv4.tcp_max_tw_buckets", number(max_tw_buckets)),
        ("net.ipv4.tcp_tw_reuse", number(tw_reuse)),
        ("net.ipv4.tcp_abort_on_overflow", number(abort_on_overflow)),
        ("net.ipv4.tcp_keepalive_time", number(keepalive_time)),
        ("net.ipv4.tcp_keepalive_intvl", number(keepalive_interval)),
        ("net.ipv4.tcp_keepalive_probes", number(keepalive_probes)),
        ("net.ipv4.ip_local_port_range", port_range.map(|(first, last)| format!("{first} {last}"))),
    ]
}

/// A setting as the sample has it, or as it was read for this page.
fn setting(facts: &Facts, name: &str) -> Setting {
    let sampled = facts.namespace().and_then(|namespace| namespace.sysctls.as_deref());
    let sampled = sampled.and_then(|sysctls| named(sysctls).into_iter().find(|(own, _)| *own == name));
    if let Some((_, Some(value))) = sampled {
        return Setting::Value(value);
    }
    if !facts.is_own() {
        return Setting::Unreadable("not read in other network namespaces than tcpwatch's own".into());
    }
    let unread = || Setting::Unreadable(NO_SAMPLE.into());
    facts.settings.get(name).cloned().unwrap_or_else(unread)
}

fn why(setting: &Setting) -> String {
    match setting {
        Setting::Value(value) => format!("{value:?} was not expected"),
        Setting::Absent => "this kernel or this network namespace does not have it".into(),
        Setting::Unreadable(why) => why.clone(),
    }
}

/// A setting as a number, or why there is none.
fn number(facts: &Facts, name: &str) -> Result<u64, Value> {
    let setting = setting(facts, name);
    match &setting {
        Setting::Value(value) => value.parse().map_err(|_| Value::Unknown(why(&setting))),
        other => Err(Value::Unknown(format!("{name}: {}", why(other)))),
    }
}

/// A setting that older kernels lack, and what they do then.
fn number_or(facts: &Facts, name: &str, older: u64) -> Result<u64, Value> {
    match setting(facts, name) {
        Setting::Absent => Ok(older),
        _ => number(facts, name),
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of settings are small")]
fn longest(facts: &Facts) -> Result<f64, Value> {
    Ok(number_or(facts, "net.ipv4.tcp_rto_max_ms", timers::LONGEST_MS)? as f64 / 1000.0)
}

fn value_of(result: Result<String, Value>) -> Value {
    result.map_or_else(|unknown| unknown, Value::Known)
}

fn syn(facts: &Facts, show: impl Fn(&timers::Schedule) -> String) -> Value {
    let compute = || {
        let retries = number(facts, "net.ipv4.tcp_syn_retries")?;
        let linear = number_or(facts, "net.ipv4.tcp_syn_linear_timeouts", 0)?;
        Ok(show(&timers::syn(retries, linear, longest(facts)?)))
    };
    value_of(compute())
}

fn synack(facts: &Facts, show: impl Fn(&timers::Schedule) -> String) -> Value {
    let compute = || {
        let retries = number(facts, "net.ipv4.tcp_synack_retries")?;
        Ok(show(&timers::synack(retries, longest(facts)?)))
    };
    value_of(compute())
}

/// When a segment is sent again, and when its sender gives up.
fn schedule(schedule: &timers::Schedule) -> String {
    let sent: Vec<String> = schedule.sent.iter().map(|seconds| format!("{seconds:.0}")).collect();
    let gives_up = show::seconds(schedule.gives_up);
    match sent.len() {
        0 => format!("never sent again, given up after {gives_up}"),
        1..=12 => format!("sent again after {} s, given up after {gives_up}", sent.join(", ")),
        many => format!("sent again {many} times, given up after {gives_up}"),
    }
}

fn of_retries(facts: &Facts, name: &str, model: fn(u64, f64) -> f64) -> Value {
    // The connection ends at the first timer after that, which is up to twice as late where it is short.
    let compute = || Ok(format!("at least {}", show::seconds(model(number(facts, name)?, longest(facts)?))));
    value_of(compute())
}

#[expect(clippy::cast_precision_loss, reason = "seconds of settings are small")]
fn keepalive(facts: &Facts) -> Value {
    let compute = || {
        let idle = number(facts, "net.ipv4.tcp_keepalive_time")?;
        let interval = number(facts, "net.ipv4.tcp_keepalive_intvl")?;
        let probes = number(facts, "net.ipv4.tcp_keepalive_probes")?;
        Ok(show::seconds((idle + interval * probes) as f64))
    };
    value_of(compute())
}

/// The limits as the sample has them, else as counters and settings tell them.
fn limits(facts: &Facts, show: impl Fn(&HostLimits) -> Option<String>) -> Value {
    let Some(sample) = &facts.sample else { return Value::unknown(NO_SAMPLE) };
    let sampled = sample.limits;
    // What `sockstat` says of memory and orphans is of the whole host, whatever namespace it is read in.
    let counters = sample.namespaces.iter().find_map(|namespace| namespace.counters.as_ref());
    let words = |name| match facts.settings.get(name) {
        Some(Setting::Value(value)) => {
            value.split_ascii_whitespace().map(|word| word.parse().ok()).collect::<Option<Vec<u64>>>()
        }
        _ => None,
    };
    let limits = HostLimits {
        memory_limits: sampled.memory_limits.or_else(|| words("net.ipv4.tcp_mem")?.try_into().ok()),
        memory: sampled.memory.or_else(|| Some(counters?.sock.mem)),
        orphans: sampled.orphans.or_else(|| Some(counters?.sock.orphan)),
        max_orphans: sampled.max_orphans.or_else(|| words("net.ipv4.tcp_max_orphans")?.first().copied()),
    };
    Value::or(show(&limits), "the limits of the whole host were not read")
}

fn memory(limits: &HostLimits) -> Option<String> {
    let [_, pressure, high] = limits.memory_limits?;
    let used = limits.memory?;
    Some(format!("{used} pages used, under pressure above {pressure}, at the limit with {high}"))
}

fn time_wait(facts: &Facts) -> Value {
    let counters = facts.namespace().and_then(|namespace| namespace.counters.as_ref());
    let limit = number(facts, "net.ipv4.tcp_max_tw_buckets");
    match (counters, limit) {
        (Some(counters), Ok(limit)) => Value::known(show::part(counters.sock.tw, limit)),
        (None, _) => Value::unknown("the kernel's counters of this network namespace were not read"),
        (_, Err(unknown)) => unknown,
    }
}

fn ports(facts: &Facts) -> Value {
    let name = "net.ipv4.ip_local_port_range";
    let setting = setting(facts, name);
    let Setting::Value(range) = &setting else { return Value::Unknown(why(&setting)) };
    let mut ends = range.split_ascii_whitespace().map(str::parse::<u64>);
    match (ends.next(), ends.next()) {
        (Some(Ok(first)), Some(Ok(last))) if first <= last => {
            Value::known(format!("{} ports ({first} to {last})", last - first + 1))
        }
        _ => Value::Unknown(format!("{name} is {range:?}, which is no range")),
    }
}
