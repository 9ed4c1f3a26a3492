//! Connections that have ended, by service: how much they moved, how much of it was sent again, how far away the peers
//! were, and what held data back.

use serde::Serialize;

use super::owner::Owner;
use crate::model::Report;
use crate::sample::{Ends, Sample, ServiceSample, Side};

/// `/api/v1/services`.
#[derive(Debug, Serialize)]
pub struct Services {
    pub at: String,
    /// The time that `recent` is of: a minute, or less after the start.
    pub seconds: f64,
    /// By namespace, side and port.
    pub services: Vec<Service>,
    /// Connections of the whole host that are of no service that is told apart; `null` for a single namespace, and where
    /// ends of connections are not seen.
    pub other: Option<Counted>,
}

/// One service.
#[derive(Debug, Serialize)]
pub struct Service {
    /// `here`: connections that a listener accepted. `there`: connections that were opened here. `unknown`: nobody knows who
    /// opened them, as they are older than tcpwatch or had no place in its table of sockets.
    pub side: &'static str,
    /// The local port of a service here, the remote one of a service there; `null` if it is not known which.
    pub port: Option<u16>,
    /// 0 for the namespaces that are counted together.
    pub netns: u64,
    /// Who listens on the port now.
    pub owner: Owner,
    #[serde(flatten)]
    pub counted: Counted,
}

/// Since the service is counted, and of late.
#[derive(Debug, Serialize)]
pub struct Counted {
    pub total: Figures,
    /// `null` if no connection ended in that time.
    pub recent: Option<Recent>,
}

/// What is known of connections that have ended.
#[derive(Debug, Serialize)]
pub struct Figures {
    pub connections: u64,
    /// Bytes of data that peers acknowledged, and that were received.
    pub bytes_out: Option<u64>,
    pub bytes_in: Option<u64>,
    /// Segments with data that were sent, those sent again among them.
    pub segments: Option<u64>,
    /// Segments sent again, SYNs, SYN-ACKs and FINs among them.
    pub retransmitted: Option<u64>,
    /// `retransmitted` for each of `segments`; `null` if there are none.
    pub retransmit_ratio: Option<f64>,
    /// Connections with at least one segment sent again.
    pub retransmitting: Option<u64>,
    /// Seconds with data to be sent: as fast as the network allowed, held back by the peer's window, and by the send buffer.
    pub busy_seconds: Option<f64>,
    pub window_limited_seconds: Option<f64>,
    pub buffer_limited_seconds: Option<f64>,
    /// The lowest round-trip time of half, and of nine tenths, of the connections is below so many seconds. Bounds of a
    /// histogram, each twice the one before.
    pub rtt_median_below: Option<f64>,
    pub rtt_p90_below: Option<f64>,
    /// Connections on which it was never measured.
    pub rtt_unknown: Option<u64>,
}

/// The same within `seconds`, and for each second of it.
#[derive(Debug, Serialize)]
pub struct Recent {
    #[serde(flatten)]
    pub figures: Figures,
    pub connections_per_second: f64,
    pub bytes_out_per_second: Option<f64>,
    pub bytes_in_per_second: Option<f64>,
}

/// The services of all namespaces, or those of one.
pub fn services(report: &Report, netns: Option<u64>) -> Services {
    let seconds = report.services.span.as_secs_f64();
    let sample = &report.sample;
    let shown = sample.services.iter().filter(|one| netns.is_none_or(|netns| one.netns == netns));
    let services = shown.map(|one| Service {
        side: one.side.name(),
        port: (one.side != Side::Unknown).then_some(one.port),
        netns: one.netns,
        owner: owner(sample, one),
        counted: counted(&one.ends, report.services.recent.get(&one.id), seconds),
    });
    let mut services: Vec<Service> = services.collect();
    services.sort_by_key(|one| (one.netns, one.side, one.port));
    let other = sample.other_ends.as_ref().filter(|_| netns.is_none());
    Services {
        at: super::timestamp(sample.at),
        seconds,
        services,
        other: other.map(|other| counted(other, report.services.other.as_ref(), seconds)),
    }
}

fn owner(sample: &Sample, service: &ServiceSample) -> Owner {
    let is_it = |port: u16, netns: u64| (port, netns) == (service.port, service.netns);
    let mut listeners = sample.listeners.iter().filter(|_| service.side == Side::Here);
    let pid = listeners.find(|one| is_it(one.local.port(), one.netns)).and_then(|one| one.pid);
    Owner::of(pid.and_then(|pid| sample.processes.get(&pid)))
}

fn counted(total: &Ends, recent: Option<&Ends>, seconds: f64) -> Counted {
    let recent = recent.filter(|recent| recent.connections > 0 && seconds > 0.0);
    Counted { total: figures(total), recent: recent.map(|recent| of_late(recent, seconds)) }
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn of_late(recent: &Ends, seconds: f64) -> Recent {
    let rate = |count: u64| count as f64 / seconds;
    Recent {
        figures: figures(recent),
        connections_per_second: rate(recent.connections),
        bytes_out_per_second: recent.bytes_out.map(rate),
        bytes_in_per_second: recent.bytes_in.map(rate),
    }
}

fn figures(ends: &Ends) -> Figures {
    let rtt = ends.rtt.as_ref();
    Figures {
        connections: ends.connections,
        bytes_out: ends.bytes_out,
        bytes_in: ends.bytes_in,
        segments: ends.segments,
        retransmitted: ends.retransmitted,
        retransmit_ratio: ends.retransmit_ratio(),
        retransmitting: ends.retransmitting,
        busy_seconds: ends.limits.map(|limits| limits.busy.as_secs_f64()),
        window_limited_seconds: ends.limits.map(|limits| limits.window.as_secs_f64()),
        buffer_limited_seconds: ends.limits.map(|limits| limits.buffer.as_secs_f64()),
        rtt_median_below: rtt.and_then(|rtt| rtt.below(0.5)),
        rtt_p90_below: rtt.and_then(|rtt| rtt.below(0.9)),
        rtt_unknown: rtt.map(|rtt| rtt.unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use crate::model::testing::{listener_at, sample_at};
    use crate::process::Process;

    #[test]
    fn totals_and_the_last_minute_are_shown_and_unknown_is_null() {
        let mut model = Model::default();
        let mut first = sample_at(1.0, 7);
        first.other_ends = Some(Ends::default());
        let mut second = first.clone();
        second.elapsed *= 5;
        let ends = Ends {
            connections: 8,
            bytes_out: Some(4000),
            segments: Some(100),
            retransmitted: Some(5),
            ..Ends::default()
        };
        let service =
            |id, side, port, ends: &Ends| ServiceSample { id, netns: 7, side, port, ends: ends.clone() };
        second.services =
            vec![service(1, Side::Here, 80, &ends), service(2, Side::Unknown, 0, &Ends::default())];
        let mut listener = listener_at(7, 80);
        listener.pid = Some(42);
        second.listeners = vec![listener];
        second.processes =
            [(42, Process { pid: 42, command: Some("web".into()), ..Process::default() }.into())].into();
        model.apply(first);
        let report = model.apply(second);
        let shown = serde_json::to_value(services(&report, Some(7))).expect("JSON");
        let one = &shown["services"][0];
        assert_eq!(
            (&one["side"], &one["port"], &one["owner"]["process"]),
            (&"here".into(), &80.into(), &"web".into())
        );
        assert_eq!(one["total"]["retransmit_ratio"], 0.05);
        assert_eq!(
            (&one["recent"]["connections"], &one["recent"]["bytes_out_per_second"]),
            (&8.into(), &1000.0.into())
        );
        assert!(one["total"]["bytes_in"].is_null() && one["total"]["rtt_median_below"].is_null());
        let unknown = &shown["services"][1];
        assert_eq!(
            (&unknown["side"], unknown["port"].is_null(), unknown["recent"].is_null()),
            (&"unknown".into(), true, true)
        );
        assert!(shown["other"].is_null(), "of the whole host only");
        let all = serde_json::to_value(services(&report, None)).expect("JSON");
        assert_eq!(all["other"]["total"]["connections"], 0);
        assert_eq!(
            serde_json::to_value(services(&report, Some(8))).expect("JSON")["services"],
            serde_json::json!([])
        );
    }
}
