//! `time_wait_storm`: more connections end in TIME_WAIT than the host has room for.
//!
//! Whoever closes first keeps the port in TIME_WAIT for a minute. That is healthy until the limit: then connections
//! end without it, and late segments of theirs can disturb new ones.

use std::time::Duration;

use tcpwatch_common::host::Role;
use tcpwatch_common::{TcpState, cell};

use super::tell::{self, number, percent, who, whom};
use crate::finding::{Candidate, Evidence, Kind, Severity, Subject};
use crate::model::Window;
use crate::sample::{Group, NamespaceSample, Sample};

/// `TCP_TIMEWAIT_LEN`: at a steady rate the stock is what enters within this time.
const LENGTH: f64 = 60.0;
/// Overflows of this time count as going on.
const RECENT: Duration = Duration::from_secs(15);
/// Rates are told over at least this time.
const APART: Duration = Duration::from_secs(10);

/// What it is measured by.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Share of `tcp_max_tw_buckets` that is in use.
    pub stock_share: f64,
    /// Share of `tcp_max_tw_buckets` in use from which the rate counts: it warns before the limit is reached.
    pub rising_share: f64,
    /// Connections closed without TIME_WAIT for want of room, within 15 s.
    pub min_overflows: u64,
    /// Below this stock nothing is told but overflows.
    pub min_stock: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { stock_share: 0.8, rising_share: 0.5, min_overflows: 10, min_stock: 1_000 }
    }
}

pub(super) fn detect(window: &Window, limits: &Limits) -> Vec<Candidate> {
    let namespaces = window.now().namespaces.iter().filter(|namespace| namespace.is_alive);
    namespaces.filter_map(|namespace| Storm::new(window, namespace).candidate(limits)).collect()
}

struct Storm<'a> {
    sample: &'a Sample,
    namespace: &'a NamespaceSample,
    stock: Option<u64>,
    most: Option<u64>,
    /// Connections a second that enter TIME_WAIT.
    rate: Option<f64>,
    overflows: u64,
}

impl<'a> Storm<'a> {
    fn new(window: &'a Window, namespace: &'a NamespaceSample) -> Self {
        let sample = window.now();
        let earlier = |age| window.ago(age).and_then(|then| Some((then, tell::same(then, namespace)?)));
        let rate = earlier(APART).and_then(|(then, before)| {
            let seconds = sample.elapsed.saturating_sub(then.elapsed).as_secs_f64();
            let entered = |one: &NamespaceSample| one.cells.map(|cells| cells[cell::TIME_WAIT_ENTERED]);
            Some(number(entered(namespace)?.saturating_sub(entered(before)?)) / seconds)
        });
        let overflow = |one: &NamespaceSample| one.counters.and_then(|counters| counters.ext.tw_overflow);
        let before = window.within(RECENT).and_then(|then| overflow(tell::same(then, namespace)?));
        let overflows = overflow(namespace).zip(before).map_or(0, |(now, before)| now.saturating_sub(before));
        let counted = namespace.kernel.as_ref().map(|(_, after)| after.time_wait);
        Self {
            sample,
            namespace,
            stock: counted.or_else(|| namespace.counters.map(|counters| counters.sock.tw)),
            most: namespace.sysctls.as_ref().and_then(|sysctls| sysctls.max_tw_buckets),
            rate,
            overflows,
        }
    }

    fn share(&self) -> f64 {
        self.stock.zip(self.most).map_or(0.0, |(stock, most)| tell::share(stock, most))
    }

    fn verdict(&self, limits: &Limits) -> Option<(&'static str, Severity)> {
        if self.overflows >= limits.min_overflows.max(1) {
            return Some(("overflow", Severity::Critical));
        }
        let (stock, most) = (self.stock?, self.most?);
        // At this rate the stock would be more than there is room for.
        let rises = self.rate.is_some_and(|rate| rate * LENGTH >= number(most));
        let share = self.share();
        if stock < limits.min_stock {
            None
        } else if share >= limits.stock_share {
            Some(("near_limit", Severity::Warning))
        } else {
            (rises && share >= limits.rising_share).then_some(("rising", Severity::Warning))
        }
    }

    /// The service with most of them.
    fn largest(&self) -> Option<(&'a Group, u64)> {
        let survey = self.namespace.survey.as_deref()?;
        let groups: Vec<&Group> =
            survey.groups.iter().filter(|group| group.state == TcpState::TimeWait).collect();
        let all = tell::sum(groups.iter().copied(), |group| group.count);
        tell::largest(&groups, |group| group.count).map(|largest| (largest, all))
    }

    /// Which side of the connection this host is; a listener on the local port tells where nothing else does.
    fn role(&self, group: &Group) -> Role {
        let has_listener =
            || tell::listener(self.sample, self.namespace.inode, group.example.local.port()).is_some();
        group.role.unwrap_or_else(|| if has_listener() { Role::Passive } else { Role::Active })
    }

    fn summary(&self, verdict: &str, place: &str) -> String {
        let number_of =
            |count: Option<u64>| count.map_or_else(|| String::from("?"), |count| count.to_string());
        let (stock, most) = (number_of(self.stock), number_of(self.most));
        let stock = format!("{stock} connections are in TIME_WAIT of {most} allowed");
        let rate = self.rate.map_or_else(String::new, |rate| format!(", {rate:.0} more each second"));
        if verdict == "overflow" {
            let lost = self.overflows;
            format!("{stock}{rate}; for want of room {lost} were closed without it in the last 15 s{place}")
        } else {
            format!("{stock}{rate}{place}")
        }
    }

    fn candidate(self, limits: &Limits) -> Option<Candidate> {
        let (verdict, severity) = self.verdict(limits)?;
        let (sample, namespace) = (self.sample, self.namespace);
        let largest = self.largest();
        let role = largest.map(|(group, _)| self.role(group));
        let group = largest.map(|(group, _)| group);
        let listener = group
            .filter(|_| role == Some(Role::Passive))
            .and_then(|group| tell::listener(sample, namespace.inode, group.example.local.port()));
        let destination = group.filter(|_| role == Some(Role::Active)).map(|group| group.example.remote);
        let pid = group.and_then(|group| group.pid).or_else(|| listener.and_then(|listener| listener.pid));
        let owner = tell::process(sample, pid);
        let place = match (listener, destination) {
            (Some(listener), _) => format!("; most are of {} on {}", who(owner.as_deref()), listener.local),
            (None, Some(to)) => format!("; most lead to port {}, such as {to}", to.port()),
            (None, None) => String::new(),
        };
        let mut evidence = vec![("overflows", Evidence::Count(self.overflows))];
        evidence.extend(self.stock.map(|stock| ("time_wait", Evidence::Count(stock))));
        evidence.extend(self.most.map(|most| ("max_tw_buckets", Evidence::Count(most))));
        evidence.extend(self.rate.map(|rate| ("entered_per_second", Evidence::Number(rate))));
        if let (Some((group, all)), Some(role)) = (largest, role) {
            evidence.push(("closes_first", Evidence::Text(closes_first(role).into())));
            evidence.push(("largest_share", Evidence::Number(tell::share(group.count, all))));
        }
        Some(Candidate {
            kind: Kind::TimeWaitStorm,
            key: namespace.inode.to_string(),
            earlier: Vec::new(),
            severity,
            verdict: Some(verdict),
            subject: Subject {
                netns: Some(namespace.inode),
                listener: listener.map(|listener| listener.local),
                destination,
                owner: owner.clone(),
                ..Subject::default()
            },
            confidence: 0.95,
            evidence,
            summary: self.summary(verdict, &place),
            meaning: meaning(verdict, role, self.share()),
            advice: advice(role, &whom(owner.as_deref()), self.most),
            verify: ["ss -Htan state time-wait | wc -l", "nstat -az TcpExtTCPTimeWaitOverflow TcpExtTW"]
                .map(|command| tell::inside(sample, namespace, pid, command))
                .into(),
        })
    }
}

/// TIME_WAIT stays with the side that closes first, so that is the process here.
fn closes_first(role: Role) -> &'static str {
    match role {
        Role::Passive => "server_here",
        Role::Active => "client_here",
    }
}

fn meaning(verdict: &str, role: Option<Role>, share: f64) -> String {
    let side = match role {
        Some(Role::Passive) => "Here it is the server",
        Some(Role::Active) => "Here it is this host as the client",
        None => "Here it is this host",
    };
    let state = match verdict {
        "overflow" => String::from(
            "The room is used up, so connections are dropped from it at once: a late segment of an old connection \
             can then hit a new one with the same ports.",
        ),
        "near_limit" => {
            format!("{} of the room is used; beyond it connections end without protection.", percent(share))
        }
        _ => String::from("At the present rate more would be in TIME_WAIT than there is room for."),
    };
    format!(
        "{state} TIME_WAIT stays for 60 s with the side that closes first. {side}, so connections are short."
    )
}

fn advice(role: Option<Role>, who: &str, most: Option<u64>) -> Vec<String> {
    let mut advice = match role {
        Some(Role::Passive) => vec![
            format!("Let {who} keep connections open (HTTP keep-alive), or let the clients close first"),
            String::from(
                "TIME_WAIT on the server's side costs memory only, no ports: the limit can be raised",
            ),
        ],
        Some(Role::Active) => vec![
            format!("Let {who} use a connection pool: one connection for many requests"),
            String::from("net.ipv4.tcp_tw_reuse=1 lets new connections take over such ports after a second"),
        ],
        None => vec![String::from("Find who opens so many short connections, and let them be kept open")],
    };
    if let Some(most) = most {
        advice.push(format!("Raise net.ipv4.tcp_max_tw_buckets (now {most}); each takes about 250 bytes"));
    }
    advice
}

#[cfg(test)]
mod tests;
