//! The values that pages can name, each with the way to find it.
//!
//! | placeholder | value |
//! |---|---|
//! | `count STATE`, `half_open`, `fin_wait2_minis` | sockets now |
//! | `in STATE`, `out STATE` | transitions per second into and out of a state |
//! | `transitions FROM TO`, `rate FROM TO` | how often since the start, how often per second |
//! | `durations STATE`, `handshakes ROLE`, `lifetimes ROLE` | how long, from the histograms |
//! | `ends CAUSE`, `ends_in STATE`, `retransmits KIND`, `resets DIRECTION`, `reset_reasons`, `trust` | since the start |
//! | `counter NAME` | the kernel's own counter, since the namespace exists |
//! | `sysctl NAME` | a setting |
//! | `syn_schedule`, `syn_giveup_seconds`, `synack_schedule`, `synack_giveup_seconds`, `data_giveup_seconds`, `orphan_giveup_seconds`, `keepalive_giveup_seconds` | computed from settings |
//! | `memory`, `orphans`, `time_wait_use`, `ephemeral_ports` | against their limits |
//! | `owners STATE`, `troubled KIND`, `listeners`, `remotes`, `ports`, `findings [KIND]` | lists, each on a line of its own |
//! | `source` | what tcpwatch sees with |

mod lists;
mod settings;
mod sockets;
mod totals;

#[cfg(test)]
pub use settings::named as named_settings;

use super::facts::Facts;

/// What a placeholder stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Known(String),
    /// For a line of its own.
    List(Vec<String>),
    /// Why it is not known.
    Unknown(String),
}

impl Value {
    fn known(value: impl Into<Shown>) -> Self {
        Self::Known(value.into().0)
    }

    fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown(why.into())
    }

    fn or(value: Option<impl Into<Shown>>, why: &str) -> Self {
        value.map_or_else(|| Self::unknown(why), |value| Self::known(value))
    }
}

/// A number or a text, as pages show it.
struct Shown(String);

impl From<u64> for Shown {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

impl From<&str> for Shown {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Shown {
    fn from(text: String) -> Self {
        Self(text)
    }
}

const NO_SAMPLE: &str = "the host was not looked at";
const NO_EBPF: &str = "only the daemon with its eBPF programs sees it: `tcpwatch run`";
const NO_SURVEY: &str = "only the daemon with its eBPF programs knows owners and ages: `tcpwatch run`";

/// What stands before a list, where pages leave that to it.
pub fn label(name: &str, args: &[&str]) -> Option<String> {
    Some(match (name, args) {
        ("owners", [state]) => format!("Owners in {}", state.to_uppercase()),
        ("listeners", []) => "Listeners, those with the most drops first".into(),
        ("memory_owners", []) => "Memory of sockets by owner, the largest first".into(),
        ("remotes", []) => "Remote ends with the most trouble".into(),
        ("findings", _) => "Findings".into(),
        _ => return None,
    })
}

/// The value of a placeholder; `None` if there is no such placeholder.
pub fn value(name: &str, args: &[&str], facts: &Facts) -> Option<Value> {
    sockets::value(name, args, facts)
        .or_else(|| totals::value(name, args, facts))
        .or_else(|| settings::value(name, args, facts))
        .or_else(|| lists::value(name, args, facts))
}
