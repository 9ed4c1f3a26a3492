//! Sockets now, and how they move between states.

use tcpwatch_common::TcpState;

use super::{NO_EBPF, NO_SAMPLE, Value};
use crate::explain::facts::{Facts, Moved};
use crate::explain::show;

pub fn value(name: &str, args: &[&str], facts: &Facts) -> Option<Value> {
    let no_census =
        if facts.sample.is_some() { "not every network namespace could be counted" } else { NO_SAMPLE };
    Some(match (name, args) {
        ("count", [state]) => Value::or(facts.counts[TcpState::parse(state)?.index()], no_census),
        ("half_open", []) => Value::or(facts.half_open, NO_EBPF),
        ("fin_wait2_minis", []) => Value::or(facts.fin_wait2_minis, NO_EBPF),
        ("in", [state]) => {
            let state = TcpState::parse(state)?;
            sum(facts, |moved| moved.to == state && moved.from != state)
        }
        ("out", [state]) => {
            let state = TcpState::parse(state)?;
            // The listener stays where it is when a child is born.
            sum(facts, |moved| moved.from == state && moved.to != state && !is_birth(moved))
        }
        ("rate", [from, to]) => {
            let pair = (TcpState::parse(from)?, TcpState::parse(to)?);
            sum(facts, |moved| (moved.from, moved.to) == pair)
        }
        ("transitions", [from, to]) => {
            let pair = (TcpState::parse(from)?, TcpState::parse(to)?);
            let Some(all) = &facts.transitions else { return Some(Value::unknown(NO_EBPF)) };
            match all.iter().find(|moved| (moved.from, moved.to) == pair) {
                None => Value::known("0 times since tcpwatch runs"),
                Some(Moved { count, rate: Some(rate), .. }) => {
                    Value::known(format!("{count} times since tcpwatch runs ({} now)", show::rate(*rate)))
                }
                Some(Moved { count, .. }) => Value::known(format!("{count} times since tcpwatch runs")),
            }
        }
        _ => return None,
    })
}

fn is_birth(moved: &Moved) -> bool {
    (moved.from, moved.to) == (TcpState::Listen, TcpState::SynRecv)
}

/// The rates of some transitions together; what has not happened yet has a rate of 0.
fn sum(facts: &Facts, wanted: impl Fn(&Moved) -> bool) -> Value {
    let Some(all) = &facts.transitions else { return Value::unknown(NO_EBPF) };
    let rates: Option<Vec<f64>> = all.iter().filter(|moved| wanted(moved)).map(|moved| moved.rate).collect();
    match rates {
        Some(rates) => Value::known(show::rate(rates.iter().sum())),
        None => Value::unknown("a rate needs two looks at the host, and this was the first"),
    }
}
